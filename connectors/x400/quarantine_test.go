package x400

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"backbone/connectors"
	"backbone/gateway/mail"
)

func TestATransferThatIsNoAPDUIsKeptAsideAndReplayed(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) { caller.Transport, answerer.Transport = "rfc1006", "rfc1006" })
	ctx := context.Background()
	sender, receiver := a.opened.Connectors[0].(*Connector), b.opened.Connectors[0].(*Connector)
	association, err := sender.peer.transport.dial(ctx, sender.peer)
	if err != nil {
		t.Fatal(err)
	}
	bad := []byte{0x30, 3, 2, 1, 5}
	if err := association.(*p1Association).send(ctx, &octets{joined{head: bad, size: int64(len(bad))}, func() {}}); err != nil {
		t.Fatal("the peer was not told that it was taken:", err)
	}
	if err := association.release(ctx); err != nil {
		t.Error(err)
	}
	all, err := receiver.Quarantined(ctx)
	if err != nil || len(all) != 1 || !strings.Contains(all[0].Reason, "no MTS-APDU") || all[0].Place != "SITEA" {
		t.Fatalf("%+v, %v", all, err)
	}
	id := all[0].ID
	got, err := receiver.QuarantinedBytes(ctx, id, 1000)
	if err != nil || !bytes.Contains(got, bad) {
		t.Errorf("%x, %v", got, err)
	}
	if err := receiver.ReplayQuarantined(ctx, id, nil); err == nil {
		t.Error("it was replayed as it is")
	}
	good, err := os.ReadFile("p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.ReplayQuarantined(ctx, id, good); err != nil {
		t.Error(err)
	}
	if _, err := receiver.QuarantinedBytes(ctx, id, 1); !errors.Is(err, connectors.ErrNoQuarantine) {
		t.Errorf("after the replay: %v", err)
	}
	if _, err := receiver.QuarantinedBytes(ctx, receiver.Name()+"/../../etc/passwd", 1); !errors.Is(err, connectors.ErrNoQuarantine) {
		t.Errorf("a path: %v", err)
	}
	if err := receiver.DiscardQuarantined(ctx, id); !errors.Is(err, connectors.ErrNoQuarantine) {
		t.Errorf("twice: %v", err)
	}
	if got := sender.Deliver(ctx, message("1", 10))[0]; got.State != mail.Delivered {
		t.Error(got.Failure)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
	if taken := b.gw.Taken(); len(taken) != 2 || taken[0].Envelope.Subject != "Hello over P1" {
		t.Errorf("%d taken", len(taken))
	}
}
