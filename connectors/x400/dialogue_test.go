package x400

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"backbone/connectors/x400/rtse"
	"backbone/connectors/x400/session"
)

// TestATwoWayCallerIsServedAndGetsItsTurnBack: where the dialogue is agreed; else the bind is refused.
func TestATwoWayCallerIsServedAndGetsItsTurnBack(t *testing.T) {
	for _, dialogue := range []string{"twa", "monologue"} {
		t.Run(dialogue, func(t *testing.T) {
			s := guarded(t, func(c *Config) { c.Dialogue = dialogue })
			conn, c := call(t, s.addr())
			a, err := rtse.Open(session.New(c), rtse.Terms{Mode: rtse.Normal, Checkpoint: 1, Window: 3, TWA: true, User: simple(t), Name: "SITEA", Time: time.Now()})
			switch {
			case dialogue == "monologue":
				var refused *rtse.Refused
				if !errors.As(err, &refused) || refusal(refused) != "unacceptable-dialogue-mode" {
					t.Errorf("got %v", err)
				}
			case err != nil:
				t.Error(err)
			default:
				twoWay(t, s, a)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			if n := len(s.gw.Taken()); dialogue == "twa" && n != 2 {
				t.Errorf("%d messages were taken, want one before the turn was given and one after", n)
			}
		})
	}
}

// twoWay sends a message, gives the turn, waits for it and sends another.
func twoWay(t *testing.T, s *site, a *rtse.Association) {
	p := s.opened.Sources[0].(*listener).peers[0]
	for i, id := range []string{"m1", "m2"} {
		apdu, err := p.render(message(id, 3000))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(&apdu.joined)
		if err != nil {
			t.Fatal(err)
		}
		apdu.done()
		if err := a.Send(&rtse.Transfer{Content: bytes.NewReader(b), Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			break
		}
		if err := a.GiveTurn(); err != nil {
			t.Fatal(err)
		}
		if a.MayTransfer() {
			t.Error("the turn was given and is still ours")
		}
		ev, err := a.Receive(func() (rtse.Sink, error) { return nil, errors.New("nothing was asked for") }, nil)
		if ev != rtse.Turn || err != nil || !a.MayTransfer() {
			t.Fatalf("event %d, %v, where the turn was due", ev, err)
		}
	}
	if err := a.Release(); err != nil {
		t.Error(err)
	}
}

// TestARestartForgetsAHalfTransferAndStoresTheWholeOnce: what was interrupted is resumed by nobody, the sender begins anew; what
// had been taken before the end of the process comes again and is not stored again.
func TestARestartForgetsAHalfTransferAndStoresTheWholeOnce(t *testing.T) {
	s := guarded(t, nil)
	addr, gw := s.addr(), s.gw
	send := func(recover *session.Ref) (*rtse.Association, error) {
		_, c := call(t, addr)
		return rtse.Open(session.New(c), rtse.Terms{Mode: rtse.Normal, Checkpoint: 1, Window: 3, User: simple(t), Name: "SITEA", Time: time.Unix(9e8, 0), Recover: recover})
	}
	apdu, err := s.opened.Sources[0].(*listener).peers[0].render(message("m1", 3000))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(&apdu.joined)
	if err != nil {
		t.Fatal(err)
	}
	apdu.done()
	hand := func(a *rtse.Association) {
		t.Helper()
		if err := a.Send(&rtse.Transfer{Content: bytes.NewReader(b), Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := send(nil)
	if err != nil {
		t.Fatal(err)
	}
	hand(first)
	if err := s.stop(); err != nil { // the answer may not have come through: the sender does not know
		t.Error(err)
	}
	c := section("SITEB", "SITEA")
	c.Transport, c.Listen = "rfc1006", "127.0.0.1:0"
	again := openFor(t, "SITEB", c, gw)
	addr = again.addr()
	ref := first.Ref()
	var refused *rtse.Refused
	if _, err := send(&ref); !errors.As(err, &refused) || refused.Reason != rtse.CannotRecover {
		t.Errorf("a recovery after the restart: %v", err)
	}
	second, err := send(nil)
	if err != nil {
		t.Fatal(err)
	}
	hand(second)
	if err := again.stop(); err != nil {
		t.Error(err)
	}
	if n := len(gw.Taken()); n != 1 {
		t.Errorf("stored %d times", n)
	}
}
