package rtse

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"backbone/connectors/x400/golden"
	"backbone/connectors/x400/session"
)

// said is a session that only listens to what a capture says.
type said struct {
	in   []*session.SPDU
	sent []*session.SPDU
}

func (s *said) Send(p *session.SPDU) error { s.sent = append(s.sent, p); return nil }
func (s *said) Limit(uint16)               {}
func (s *said) Receive() (*session.SPDU, error) {
	if len(s.in) == 0 {
		return nil, io.EOF
	}
	p := s.in[0]
	s.in = s.in[1:]
	return p, nil
}

// TestTheCapturesAssociations reads another MTA's connects as its answerer and its answers as its caller, and compares
// what is answered with what that MTA answered.
func TestTheCapturesAssociations(t *testing.T) {
	modes := map[string]Mode{"pp-ping88.pcap": Normal, "pp-ping88o.pcap": X410, "pp-ping84.pcap": P1984, "pp-badpw88.pcap": Normal, "pp-badpw-x410.pcap": X410,
		"pp-e2e.pcap": Normal, "public-sample-x400-ping-success-rebuilt.pcap": Normal}
	var connect golden.Said
	n := 0
	for _, s := range golden.P1(t) {
		mode := modes[s.File]
		switch s.Type {
		case session.CN:
			connect = s
		case session.AC:
			n++
			a, err := Open(&said{in: []*session.SPDU{s.SPDU}}, terms(mode, 63, 3))
			if err != nil {
				t.Fatal(s.File, err)
			}
			checkpoint, window, _ := a.Terms()
			wire := &said{in: []*session.SPDU{connect.SPDU}}
			call, err := Accept(wire)
			if err != nil {
				t.Fatal(s.File, err)
			}
			if call.Mode != mode || call.Odd != (mode == X410) || call.TWA || call.Checkpoint != 63 || call.Window != 3 {
				t.Errorf("%s: %+v", s.File, call)
			}
			if _, err := call.Accept(Terms{Mode: mode, Checkpoint: checkpoint, Window: window, User: a.User()}); err != nil {
				t.Fatal(s.File, err)
			}
			if s.File == "public-sample-x400-ping-success-rebuilt.pcap" {
				continue // leaves the window out
			}
			if got, want := wire.sent[0].Append(nil), s.SPDU.Append(nil); !bytes.Equal(got, want) {
				t.Errorf("%s: answered with\n%x, want\n%x", s.File, got, want)
			}
		case session.RF:
			n++
			_, err := Open(&said{in: []*session.SPDU{s.SPDU}}, terms(mode, 63, 3))
			var refused *Refused
			if !errors.As(err, &refused) || (mode == X410 && refused.Reason != ValidationFailure) || (mode == Normal && !bytes.Equal(refused.User, []byte{2, 1, 2})) {
				t.Errorf("%s: %v %+v", s.File, err, refused)
			}
		}
	}
	if n != 7 {
		t.Errorf("%d answers, want 7", n)
	}
}

func TestWhatWasInterruptedIsForgottenInTime(t *testing.T) {
	u := NewUnfinished(time.Millisecond)
	m := &memory{on: &store{}}
	ref := session.Ref{Calling: []byte("a"), Common: []byte("b")}
	u.keep(ref, &incoming{id: []byte{1}, sink: m})
	for deadline := time.Now().Add(5 * time.Second); u.Known(ref); {
		if time.Now().After(deadline) {
			t.Fatal("still known")
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !m.discarded {
		t.Error("its sink was not discarded")
	}
}

func FuzzAnswerer(f *testing.F) {
	for _, s := range golden.P1(f) {
		if s.FromCaller {
			f.Add(s.SPDU.Append(nil))
		}
	}
	cn := func() []byte {
		w := &said{}
		_, _ = Open(w, terms(X410, 1, 3)) // nobody answers; the connect was sent
		return w.sent[0].Append(nil)
	}()
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, tsdus := range [][][]byte{{b}, {cn, b}, {cn, (&session.SPDU{Type: session.AS, ActivityID: []byte{1}}).Append(nil), b, b}} {
			l := newLine(-1)
			_, called := l.sides()
			for _, u := range tsdus {
				l.b <- u
			}
			l.hangUp()
			_ = answer(called, terms(Normal, 1, 3), &store{}, nil) // must end, whatever it says
		}
	})
}
