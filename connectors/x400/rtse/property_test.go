package rtse

import (
	"fmt"
	"testing"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/golden/beginnings"
	"backbone/connectors/x400/session"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyOpen makes the members of an RTORQ, or of an RTOAC.
func anyOpen(t *rapid.T, request bool) open {
	o := open{checkpoint: rapid.Int64Range(0, 1<<20).Draw(t, "checkpoint"), window: rapid.Int64Range(1, 100).Draw(t, "window"), protocol: -1}
	if request {
		o.twa, o.protocol = rapid.Bool().Draw(t, "twa"), rapid.SampledFrom([]int64{-1, protocol1984, protocol1988}).Draw(t, "protocol")
	}
	if rapid.Bool().Draw(t, "recover") {
		ref := Terms{Name: rapid.StringMatching(`[A-Z]{1,32}`).Draw(t, "name"), Time: time.Unix(rapid.Int64Range(0, 2e9).Draw(t, "time"), 0), Unique: rapid.Uint16().Draw(t, "unique")}.reference()
		o.recover = &ref
	} else {
		o.user = []byte{4, 1, rapid.Byte().Draw(t, "user")}
	}
	return o
}

func TestEveryOpenSurvivesWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		request := rapid.Bool().Draw(t, "request")
		want := anyOpen(t, request)
		var w ber.Writer
		want.members(&w, request)
		b, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got, err := bare(b, request)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(open{})); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
}

// TestEveryRefusalAndAbortIsReadAsItWasSaid sends RTORJ and RTAB in each mode through the whole of an association.
func TestEveryRefusalAndAbortIsReadAsItWasSaid(t *testing.T) {
	for _, mode := range []Mode{Normal, X410, P1984} {
		for reason := Busy; reason <= UnacceptableDialogue; reason++ {
			t.Run(fmt.Sprintf("%s: %s", mode, reason), func(t *testing.T) {
				caller, called := newLine(-1).sides()
				done := make(chan error, 1)
				go func() {
					call, err := Accept(called)
					if err == nil {
						err = call.Refuse(reason, nil)
					}
					done <- err
				}()
				_, err := Open(caller, terms(mode, 1, 3))
				if diff := cmp.Diff(error(&Refused{Reason: reason}), err); diff != "" {
					t.Error(diff)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		}
		for reason := range AbortReason(len(abortNames)) {
			var w said
			a := &Association{s: &w, mode: mode, version: session.Version2}
			a.contexts.acse, a.contexts.rtse = 1, 3
			if err := a.Abort(reason); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(error(&Aborted{Reason: reason}), a.aborted(w.sent[0])); diff != "" {
				t.Errorf("%s: %s: %s", mode, reason, diff)
			}
		}
	}
}

func TestTruncationAnywhereIsNamed(t *testing.T) {
	w := &said{}
	if _, err := Open(w, terms(X410, 1, 3)); err == nil {
		t.Fatal("nobody answered")
	}
	for _, request := range []bool{true, false} {
		o := open{checkpoint: 30, window: 5, protocol: -1, user: bind}
		var m ber.Writer
		o.members(&m, request)
		b, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		wrapped := append(ber.AppendHeader(nil, ber.Context(tagRTORQ), true, len(b)), b...)
		beginnings.Fail(t, "RTORQ", wrapped, func(b []byte) error {
			d := ber.NewDecoder(b, ber.DefaultLimits)
			parseOpen(d.Root(), request)
			if d.Err() != nil {
				return fmt.Errorf("rtse: RTORQ: %w", d.Err())
			}
			return nil
		})
	}
	beginnings.Fail(t, "EXTERNAL", []byte{0x28, 0x80, 2, 1, 5, 0xa0, 0x80, 0xa0, 2, 5, 0, 0, 0, 0, 0}, func(b []byte) error {
		_, err := Value(b)
		return err
	})
	a := &Association{mode: Normal}
	a.contexts.rtse = 3
	beginnings.Fail(t, "RTTR", []byte{0x61, 0x80, 0x30, 0x80, 2, 1, 3, 0xa0, 0x80, 0x24, 0x80, 4, 2, 'A', 'B', 0, 0, 0, 0, 0, 0, 0, 0}, func(b []byte) error {
		return a.unpack(b, func([]byte) error { return nil })
	})
}

// TestAConnectThatBreaksOffIsRefused cuts the user data of a connect at each octet: the caller gets a refusal, and nobody an
// association.
func TestAConnectThatBreaksOffIsRefused(t *testing.T) {
	for _, mode := range []Mode{Normal, X410, P1984} {
		w := &said{}
		if _, err := Open(w, terms(mode, 1, 3)); err == nil {
			t.Fatal("nobody answered")
		}
		cn := w.sent[0]
		for n := range cn.UserData {
			half := *cn
			half.UserData = cn.UserData[:n]
			answers := &said{in: []*session.SPDU{&half}}
			if call, err := Accept(answers); err == nil {
				t.Errorf("%s: %d of %d octets: %+v", mode, n, len(cn.UserData), call)
			}
			if len(answers.sent) != 1 || answers.sent[0].Type != session.RF {
				t.Errorf("%s: %d of %d octets were answered with %v", mode, n, len(cn.UserData), answers.sent)
			}
		}
	}
}
