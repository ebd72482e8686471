package connectortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func TestAcceptorRemembersDedup(t *testing.T) {
	var a Acceptor
	submit := func(dedup string) (connectors.Receipt, error) {
		return a.Accept(t.Context(), connectors.Submission{Dedup: dedup, Content: bytes.NewReader([]byte("body"))})
	}
	busy := mail.LinkDown("busy", nil)
	a.Script(busy)
	if _, err := submit("k"); !errors.Is(err, busy) {
		t.Fatalf("scripted answer: got %v", err)
	}
	if known, _ := a.Known(t.Context(), "k"); known {
		t.Error("a refused message is known")
	}
	lost := errors.New("lost")
	a.OnTaken(func(context.Context, Accepted) error { return lost })
	if _, err := submit("k"); !errors.Is(err, lost) {
		t.Fatalf("lost acknowledgement: got %v", err)
	}
	r, err := submit("k")
	if err != nil || !r.Duplicate || len(a.Taken()) != 1 || a.Duplicates() != 1 {
		t.Errorf("second offer: %+v, %v, %d taken, %d duplicates", r, err, len(a.Taken()), a.Duplicates())
	}
	if r.ID != a.Taken()[0].Envelope.ID {
		t.Errorf("second receipt names %s, first %s", r.ID, a.Taken()[0].Envelope.ID)
	}
}

func TestContentsAreWhatTheySay(t *testing.T) {
	for n := range 300 {
		if got := len(Body(Message(n, 3))); got != n {
			t.Fatalf("Message(%d) has a body of %d octets", n, got)
		}
		if m := bytes.ReplaceAll(Message(n, uint64(n)), []byte("\r\n"), nil); bytes.ContainsAny(m, "\r\n") {
			t.Fatalf("Message(%d) has a bare CR or LF", n)
		}
	}
	s := &Synthetic{Length: 1000, Seed: 5}
	r, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Seek(333, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, Octets(1000, 5)[333:]) {
		t.Errorf("reading from 333 gave other octets than reading through (%v)", err)
	}
}

func TestBookGoesBothWays(t *testing.T) {
	var b Book
	jo := address.Address{Type: address.MS, Value: "NORTHWIND/PO1/JO"}
	proxy := address.Address{Type: address.SMTP, Value: "jo@sitea.example"}
	b.Add(jo, "Jo Berg", proxy)
	for _, a := range []address.Address{jo, {Type: address.MS, Value: "NORTHWIND/PO2/$SYSTEM"}} {
		for _, world := range []address.Type{address.SMTP, address.X400} {
			if got := b.Native(b.As(a, world)); got != a {
				t.Errorf("%s came back as %s (over %s)", a, got, b.As(a, world))
			}
		}
	}
	if got := b.As(jo, address.SMTP); got != proxy {
		t.Errorf("As = %s, want the proxy %s", got, proxy)
	}
	if b.Name(proxy) != "Jo Berg" {
		t.Errorf("Name(%s) = %q", proxy, b.Name(proxy))
	}
}
