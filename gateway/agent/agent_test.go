package agent

import (
	"flag"
	"testing"

	"backbone/gateway/address"

	"go.uber.org/goleak"
)

// TestMain bounds the property test, whose checks are long; -rapid.checks asks for more.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "40"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func ms(s string) address.Address { return address.Address{Type: address.MS, Value: s} }
