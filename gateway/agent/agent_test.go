package agent

import (
	"testing"

	"backbone/gateway/address"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ms(s string) address.Address { return address.Address{Type: address.MS, Value: s} }
