package rtse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/session"
)

// line is a connection of TSDUs between two sessions, which may break after some.
type line struct {
	a, b chan []byte
	mu   sync.Mutex
	left int // TSDUs until it breaks; negative: never
	cut  chan struct{}
}

func newLine(breakAfter int) *line {
	return &line{a: make(chan []byte, 10000), b: make(chan []byte, 10000), left: breakAfter, cut: make(chan struct{})}
}

func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.cut:
	default:
		close(l.cut)
	}
}

type side struct {
	l       *line
	in, out chan []byte
}

func (l *line) sides() (*session.Conn, *session.Conn) {
	return session.New(&side{l, l.a, l.b}), session.New(&side{l, l.b, l.a})
}

// ReadTSDU gives what was sent before the line broke.
func (s *side) ReadTSDU() ([]byte, error) {
	select {
	case b := <-s.in:
		return b, nil
	default:
	}
	select {
	case b := <-s.in:
		return b, nil
	case <-s.l.cut:
		select {
		case b := <-s.in:
			return b, nil
		default:
			return nil, io.EOF
		}
	}
}

func (s *side) WriteTSDU(parts ...[]byte) error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	select {
	case <-s.l.cut:
		return io.ErrClosedPipe
	default:
	}
	if s.l.left == 0 {
		close(s.l.cut)
		return io.ErrClosedPipe
	}
	s.l.left--
	s.out <- bytes.Join(parts, nil)
	return nil
}

func (s *side) WriteFrom(head []byte, r io.Reader, n int64) error {
	b, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return err
	}
	return s.WriteTSDU(head, b)
}

// memory is a Sink.
type memory struct {
	bytes.Buffer
	failWrite, failCommit error
	committed             bool
	discarded             bool
	on                    *store
}

func (m *memory) Write(b []byte) (int, error) {
	if m.failWrite != nil {
		return 0, m.failWrite
	}
	return m.Buffer.Write(b)
}
func (m *memory) Truncate(n int64) error { m.Buffer.Truncate(int(n)); return nil }
func (m *memory) Commit() error {
	if m.failCommit != nil {
		return m.failCommit
	}
	m.committed = true
	m.on.mu.Lock()
	defer m.on.mu.Unlock()
	m.on.taken = append(m.on.taken, bytes.Clone(m.Bytes()))
	return nil
}
func (m *memory) Discard() { m.discarded = true }

// store opens Sinks and keeps what they commit.
type store struct {
	mu      sync.Mutex
	taken   [][]byte
	prepare func(*memory) error
}

func (s *store) begin() (Sink, error) {
	m := &memory{on: s}
	if s.prepare != nil {
		if err := s.prepare(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

var bind = []byte{4, 1, 'b'}

func terms(mode Mode, checkpoint, window int) Terms {
	return Terms{Mode: mode, Checkpoint: checkpoint, Window: window, User: bind, Name: "SITEA", Time: time.Unix(9e8, 0)}
}

// answer accepts a call on s and serves it until the association ends.
func answer(s Session, t Terms, st *store, u *Unfinished) error {
	call, err := Accept(s)
	if err != nil {
		return err
	}
	if call.Recover != nil && !u.Known(*call.Recover) {
		return call.Refuse(CannotRecover, nil)
	}
	a, err := call.Accept(t)
	if err != nil {
		return err
	}
	for {
		ev, err := a.Receive(st.begin, u)
		if err != nil || ev == Released {
			return err
		}
	}
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return append(ber.AppendHeader(nil, ber.Context(0), true, n), b...)
}

func TestATransferArrivesInEachMode(t *testing.T) {
	for _, mode := range []Mode{Normal, X410, P1984} {
		for _, checkpoint := range []int{0, 1, 3} {
			for _, window := range []int{1, 3} {
				for _, size := range []int{0, 1, 1020, 1021, 5000, 100_000} {
					t.Run(fmt.Sprintf("%s, checkpoints of %d KB, window %d, %d octets", mode, checkpoint, window, size), func(t *testing.T) {
						l := newLine(-1)
						caller, called := l.sides()
						st := &store{}
						var served sync.WaitGroup
						var answerErr error
						served.Go(func() { answerErr = answer(called, terms(mode, 3, 5), st, nil) })
						a, err := Open(caller, terms(mode, checkpoint, window))
						if err != nil {
							t.Fatal(err)
						}
						if cp, w, _ := a.Terms(); cp != checkpoint || w != window || !bytes.Equal(a.User(), bind) {
							t.Errorf("agreed on %d KB, window %d, user data %x", cp, w, a.User())
						}
						b := content(size)
						for range 2 {
							if err := a.Send(&Transfer{Content: bytes.NewReader(b), Size: int64(len(b))}); err != nil {
								t.Fatal(err)
							}
						}
						if err := a.Release(); err != nil {
							t.Error(err)
						}
						served.Wait()
						if answerErr != nil || len(st.taken) != 2 {
							t.Fatalf("%d taken, %v", len(st.taken), answerErr)
						}
						for _, got := range st.taken {
							if v, err := Value(got); err != nil || !bytes.Equal(v, b) {
								t.Errorf("got %d octets, %v, want %d", len(v), err, len(b))
							}
						}
					})
				}
			}
		}
	}
}

func TestARefusalSaysWhy(t *testing.T) {
	bindError := []byte{0xb2, 3, 2, 1, 2}
	for _, tt := range []struct {
		mode   Mode
		reason RefuseReason
		user   []byte
		want   Refused
	}{
		{Normal, ValidationFailure, bindError, Refused{Reason: refuseNotSaid, User: bindError}},
		{Normal, CannotRecover, nil, Refused{Reason: CannotRecover}},
		{X410, ValidationFailure, nil, Refused{Reason: ValidationFailure}},
		{P1984, Busy, nil, Refused{Reason: Busy}},
		{X410, UnacceptableDialogue, nil, Refused{Reason: UnacceptableDialogue}},
	} {
		l := newLine(-1)
		caller, called := l.sides()
		var served sync.WaitGroup
		served.Go(func() {
			call, err := Accept(called)
			if err != nil {
				t.Error(err)
				return
			}
			if call.Mode != tt.mode || call.Odd || !bytes.Equal(call.User, bind) {
				t.Errorf("%+v", call)
			}
			if err := call.Refuse(tt.reason, tt.user); err != nil {
				t.Error(err)
			}
		})
		_, err := Open(caller, terms(tt.mode, 3, 3))
		served.Wait()
		var got *Refused
		if !errors.As(err, &got) || got.Reason != tt.want.Reason || !bytes.Equal(got.User, tt.want.User) {
			t.Errorf("%s: got %v, want %v", tt.mode, err, &tt.want)
		}
	}
}

func TestAnExceptionLeavesTheAssociationUsable(t *testing.T) {
	full := errors.New("disk full")
	for _, tt := range []struct {
		name    string
		prepare func(*memory) error
	}{
		{"the sink can't be opened", func(*memory) error { return full }},
		{"a segment can't be written", func(m *memory) error { m.failWrite = full; return nil }},
		{"the whole can't be committed", func(m *memory) error { m.failCommit = full; return nil }},
	} {
		for _, mode := range []Mode{Normal, X410} {
			for _, checkpoint := range []int{0, 1} {
				t.Run(fmt.Sprintf("%s, %s, checkpoint %d", tt.name, mode, checkpoint), func(t *testing.T) {
					l := newLine(-1)
					caller, called := l.sides()
					st := &store{}
					var sinks []*memory
					first := true
					st.prepare = func(m *memory) error {
						sinks = append(sinks, m)
						if first {
							first = false
							return tt.prepare(m)
						}
						return nil
					}
					var served sync.WaitGroup
					var answerErr error
					served.Go(func() { answerErr = answer(called, terms(mode, 3, 3), st, nil) })
					a, err := Open(caller, terms(mode, checkpoint, 3))
					if err != nil {
						t.Fatal(err)
					}
					b := content(10000)
					tr := &Transfer{Content: bytes.NewReader(b), Size: int64(len(b))}
					var ex *Exception
					if err := a.Send(tr); !errors.As(err, &ex) || ex.Reason != ReceiverJeopardized {
						t.Fatalf("got %v, want an exception", err)
					}
					if tr.Ended() || tr.Resumable() {
						t.Error("a discarded transfer is said to be resumable")
					}
					if err := a.Send(tr); err != nil {
						t.Error(err)
					}
					if err := a.Release(); err != nil {
						t.Error(err)
					}
					served.Wait()
					if answerErr != nil || len(st.taken) != 1 {
						t.Errorf("%d taken, %v", len(st.taken), answerErr)
					}
				})
			}
		}
	}
}

// TestACutAtEachPointLosesAndDoublesNothing breaks the line after each TSDU of a transfer and resumes it on a new one.
func TestACutAtEachPointLosesAndDoublesNothing(t *testing.T) {
	b := content(7000)
	for _, mode := range []Mode{Normal, X410} {
		resumed, atEnd := 0, 0
		for cut := 0; ; cut++ {
			st, u := &store{}, NewUnfinished(time.Minute)
			tr := &Transfer{Content: bytes.NewReader(b), Size: int64(len(b))}
			l := newLine(cut)
			whole := session0(t, l, terms(mode, 1, 3), st, u, func(a *Association) error {
				if err := a.Send(tr); err != nil {
					return err
				}
				return a.Release()
			}) == nil
			if whole {
				if len(st.taken) != 1 {
					t.Fatalf("%d taken", len(st.taken))
				}
				u.Close()
				break
			}
			ended := tr.Ended()
			if tr.Resumable() {
				again := terms(mode, 1, 3)
				ref := tr.Ref()
				again.Recover, again.User, again.Unique = &ref, nil, 1
				err := session0(t, newLine(-1), again, st, u, func(a *Association) error {
					if err := a.Resume(tr); err != nil {
						return err
					}
					return a.Release()
				})
				var refused *Refused
				switch {
				case err == nil:
					resumed++
				case errors.As(err, &refused) && refused.Reason == CannotRecover && len(st.taken) == 1 && ended:
				default:
					t.Fatalf("%s: cut after %d: resuming: %v", mode, cut, err)
				}
			} else if !ended || len(st.taken) == 0 {
				// Nothing to resume: it is begun anew.
				if err := session0(t, newLine(-1), terms(mode, 1, 3), st, u, func(a *Association) error { return a.Send(tr) }); err != nil {
					t.Fatal(err)
				}
			} else {
				t.Fatalf("%s: cut after %d: taken, but the sender has nothing to ask by", mode, cut)
			}
			if ended {
				atEnd++
			}
			u.Close()
			if len(st.taken) != 1 {
				t.Fatalf("%s: cut after %d: taken %d times", mode, cut, len(st.taken))
			}
			if v, err := Value(st.taken[0]); err != nil || !bytes.Equal(v, b) {
				t.Fatalf("%s: cut after %d: %d octets, %v", mode, cut, len(v), err)
			}
		}
		if resumed < 15 || atEnd < 1 {
			t.Errorf("%s: %d resumed, %d cut after the end was sent: the test does not test", mode, resumed, atEnd)
		}
	}
}

// session0 runs one association on l: the caller does do, the answerer serves into st.
func session0(t *testing.T, l *line, want Terms, st *store, u *Unfinished, do func(*Association) error) error {
	t.Helper()
	caller, called := l.sides()
	var served sync.WaitGroup
	served.Go(func() {
		// the line may break anywhere; what counts is what was taken
		answer(called, terms(want.Mode, 3, 5), st, u)
	})
	a, err := Open(caller, want)
	if err == nil {
		err = do(a)
	}
	l.hangUp()
	served.Wait()
	return err
}

func TestAnInterruptedActivityIsResumedOnTheSameAssociation(t *testing.T) {
	l := newLine(-1)
	caller, called := l.sides()
	st := &store{}
	var served sync.WaitGroup
	var answerErr error
	served.Go(func() { answerErr = answer(called, terms(X410, 1, 3), st, nil) })
	a, err := Open(caller, terms(X410, 1, 3))
	if err != nil {
		t.Fatal(err)
	}
	say := func(s *session.SPDU, want session.Type) {
		t.Helper()
		if err := caller.Send(s); err != nil {
			t.Fatal(err)
		}
		if want == 0 {
			return
		}
		if got, err := caller.Receive(); err != nil || got.Type != want {
			t.Fatalf("%s was answered with %v, %v", s, got, err)
		}
	}
	say(&session.SPDU{Type: session.AS, ActivityID: []byte{2, 1, 1}}, 0)
	say(&session.SPDU{Type: session.DT, UserData: []byte("one ")}, 0)
	say(&session.SPDU{Type: session.MIP, Serial: 1}, session.MIA)
	say(&session.SPDU{Type: session.DT, UserData: []byte("lost")}, 0)
	say(&session.SPDU{Type: session.AI, Reason: []byte{1}}, session.AIA)
	say(&session.SPDU{Type: session.AR, OldActivity: []byte{2, 1, 1}, Serial: 1, ActivityID: []byte{2, 1, 2}}, 0)
	say(&session.SPDU{Type: session.DT, UserData: []byte("two")}, 0)
	say(&session.SPDU{Type: session.AE, Serial: 2}, session.AEA)
	if err := a.Release(); err != nil {
		t.Error(err)
	}
	served.Wait()
	if answerErr != nil || len(st.taken) != 1 || string(st.taken[0]) != "one two" {
		t.Errorf("took %q, %v", st.taken, answerErr)
	}
}
