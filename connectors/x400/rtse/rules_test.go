package rtse

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/connectors/x400/session"
)

func TestTheTurnGoesBackAndForth(t *testing.T) {
	for _, mode := range []Mode{Normal, X410} {
		l := newLine(-1)
		caller, called := l.sides()
		want := terms(mode, 1, 3)
		want.TWA = true
		here, there := &store{}, &store{}
		var served sync.WaitGroup
		served.Go(func() {
			call, err := Accept(called)
			if err != nil || !call.TWA {
				t.Error(call, err)
				return
			}
			a, err := call.Accept(want)
			if err != nil {
				t.Error(err)
				return
			}
			if err := a.Send(&Transfer{}); err == nil {
				t.Error("sent without the turn")
			}
			if err := a.RequestTurn(2); err != nil {
				t.Error(err)
			}
			for {
				ev, err := a.Receive(there.begin, nil)
				if err != nil {
					t.Error(err)
					return
				}
				switch ev {
				case Turn:
					b := content(3000)
					if err := a.Send(&Transfer{Content: bytes.NewReader(b), Size: int64(len(b))}); err != nil {
						t.Error(err)
					}
					if err := a.GiveTurn(); err != nil {
						t.Error(err)
					}
				case Released:
					return
				}
			}
		})
		a, err := Open(caller, want)
		if err != nil {
			t.Fatal(err)
		}
		b := content(5000)
		if err := a.Send(&Transfer{Content: bytes.NewReader(b), Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
		if p, ok := a.TurnWanted(); !ok || p != 2 {
			t.Errorf("%s: the wish for the turn came as %d, %v", mode, p, ok)
		}
		if err := a.GiveTurn(); err != nil {
			t.Fatal(err)
		}
		for ev := Event(0); ev != Turn; {
			if ev, err = a.Receive(here.begin, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Release(); err != nil {
			t.Error(err)
		}
		served.Wait()
		if len(here.taken) != 1 || len(there.taken) != 1 {
			t.Errorf("%s: %d came, %d went", mode, len(here.taken), len(there.taken))
		}
	}
}

func TestAnAbortSaysWhy(t *testing.T) {
	for _, mode := range []Mode{Normal, X410, P1984} {
		l := newLine(-1)
		caller, called := l.sides()
		var served sync.WaitGroup
		var got error
		served.Go(func() { got = answer(called, terms(mode, 1, 3), &store{}, nil) })
		a, err := Open(caller, terms(mode, 1, 3))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Abort(AbortTemporary); err != nil {
			t.Error(err)
		}
		served.Wait()
		var aborted *Aborted
		if !errors.As(got, &aborted) || aborted.Reason != AbortTemporary || aborted.Provider {
			t.Errorf("%s: got %v", mode, got)
		}
	}
}

func TestAPeerThatBreaksTheRulesIsCutOff(t *testing.T) {
	data := func(s string) *session.SPDU { return &session.SPDU{Type: session.DT, UserData: []byte(s)} }
	start := &session.SPDU{Type: session.AS, ActivityID: []byte{2, 1, 1}}
	for _, tt := range []struct {
		name       string
		checkpoint int
		say        []*session.SPDU
		want       string
	}{
		{"a sync point where none were agreed", 0, []*session.SPDU{start, data("a"), {Type: session.MIP, Serial: 1}}, "no checkpoints were agreed"},
		{"a confirmation of nothing", 1, []*session.SPDU{{Type: session.MIA, Serial: 1}}, "no place here"},
		{"the end twice", 1, []*session.SPDU{start, data("a"), {Type: session.AE, Serial: 1}, {Type: session.AE, Serial: 2}}, "outside an activity"},
		{"a resume of nothing", 1, []*session.SPDU{{Type: session.AR, OldActivity: []byte{9}, ActivityID: []byte{1}, Serial: 3}}, "nothing is known"},
		{"a second connect", 1, []*session.SPDU{{Type: session.CN}}, "no place here"},
		{"the turn taken in a monologue", 1, []*session.SPDU{{Type: session.GTA}}, "no place here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLine(-1)
			caller, called := l.sides()
			var served sync.WaitGroup
			var got error
			served.Go(func() { got = answer(called, terms(X410, 1, 3), &store{}, NewUnfinished(time.Minute)) })
			if _, err := Open(caller, terms(X410, tt.checkpoint, 3)); err != nil {
				t.Fatal(err)
			}
			for _, s := range tt.say {
				if err := caller.Send(s); err != nil {
					t.Fatal(err)
				}
			}
			served.Wait()
			if got == nil || !strings.Contains(got.Error(), tt.want) {
				t.Errorf("got %v, want %q", got, tt.want)
			}
		})
	}
}
