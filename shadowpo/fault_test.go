package shadowpo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"backbone/gateway/mail"
)

// Every step of either direction, failing in every way a disk does: the error is never final, nothing is lost or
// doubled, and once the cause is gone the drop goes on by itself.
func TestDiskErrorsAreNeverFinalAndPass(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ESTALE, fs.ErrPermission} {
		for at := 1; ; at++ {
			failed := false
			m := newModel()
			n := 0
			m.fail = func(string) error {
				if n++; n == at {
					failed = true
					return cause
				}
				return nil
			}
			m.write(submitDir, "ONE.MSG", message("one"))
			m.write(submitDir, "TWO.MSG", message("two")+bad("bad two"))
			s := &store{keys: map[string]bool{}}
			d := onModel(m)
			w := &watch{drop: d, handle: s.take(m), leave: map[string]fs.FileInfo{}}
			got := map[string]int{}
			for range 8 {
				if _, err := w.cycle(context.Background()); err != nil {
					if f := mail.AsFailure(fault(err)); f.Final() {
						t.Fatalf("%v at step %d is final: %v", cause, at, f)
					}
					w.close()
				}
				for _, c := range w.open {
					c.next = time.Time{}
				}
				for _, k := range []string{"k1", "k2"} {
					_, err := d.Deliver(context.Background(), Outbound{Key: k, Write: content(message(k))})
					if f := mail.AsFailure(err); err != nil && f.Final() {
						t.Fatalf("%v at step %d is final: %v", cause, at, f)
					}
				}
				m.collect(func(_, text string) { got[text]++ })
			}
			w.close()
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			slices.Sort(s.messages)
			want := map[string]int{message("k1"): 1, message("k2"): 1}
			if !slices.Equal(s.messages, []string{"one", "two"}) || !maps.Equal(got, want) || len(sortedNames(m.folders[badmailDir])) != 2 || len(sortedNames(m.folders[submitDir])) != 0 {
				t.Fatalf("%v at step %d: took %q, delivered %v, badmail %v, left %v\n%s", cause, at, s.messages, got,
					sortedNames(m.folders[badmailDir]), sortedNames(m.folders[submitDir]), strings.Join(m.trace, "\n"))
			}
			if !failed {
				break
			}
		}
	}
}

// inModel runs a drop on a model disk in virtual time. No file of it is real, so that waits cost nothing.
func inModel(t *testing.T, m *model, opt Options, run func(t *testing.T, d *Drop)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opt.PostOffice = po1
		d, err := openWith("model", opt, func(string) (tree, identity, error) {
			if err := m.Valid(); err != nil {
				return nil, identity{}, err
			}
			return m, identity{po1.String(), "model"}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		run(t, d)
	})
}

// pause lets virtual time pass and everybody finish, so that what they did can be looked at. The lock tells the race
// detector that what was looked at before may change now.
func (m *model) pause(d time.Duration) {
	m.hold()()
	time.Sleep(d)
	synctest.Wait()
}

func watching(t *testing.T, d *Drop, h Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.Watch(ctx, h); err != nil {
			t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

func TestFilesAreClaimedOnlyWhenWholeAndStable(t *testing.T) {
	text := message("slow copy")
	m := newModel()
	inModel(t, m, Options{}, func(t *testing.T, d *Drop) {
		var s sink
		var took time.Time
		defer watching(t, d, func(ctx context.Context, in *Inbound) error {
			took = time.Now()
			return s.take(ctx, in)
		})()
		began := time.Now()
		// A writer that copies in place, a piece every 1.5 seconds, and pauses for 40 in the middle of it.
		for i := range 10 {
			m.write(submitDir, "SLOW.MSG", text[:len(text)*(i+1)/10])
			if i == 5 {
				m.pause(40 * time.Second)
			}
			m.pause(1500 * time.Millisecond)
			if len(s.got()) != 0 {
				t.Fatalf("claimed after %v, piece %d of 10", took.Sub(began), i+1)
			}
		}
		written := began.Add(53500 * time.Millisecond) // the last piece
		m.pause(10 * time.Second)
		if got := s.got(); !slices.Equal(got, []string{"slow copy"}) {
			t.Fatalf("got %v", got)
		}
		if wait := took.Sub(written); wait < 2*time.Second || wait > 8*time.Second {
			t.Errorf("claimed %v after the last write", wait)
		}
	})
}

func TestFileThatNeverBecomesWholeGoesToBadmail(t *testing.T) {
	m := newModel()
	text := message("cut")
	m.write(submitDir, "CUT.MSG", text[:len(text)-3])
	m.write(submitDir, "GOOD.MSG", message("good"))
	inModel(t, m, Options{Incomplete: time.Minute}, func(t *testing.T, d *Drop) {
		var s sink
		defer watching(t, d, s.take)()
		m.pause(30 * time.Second)
		if got := s.got(); !slices.Equal(got, []string{"good"}) {
			t.Errorf("got %v", got)
		}
		if got := sortedNames(m.folders[badmailDir]); len(got) != 0 {
			t.Errorf("put aside after 30 s: %v", got)
		}
		m.pause(40 * time.Second)
		list, err := d.Quarantine(context.Background())
		if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Reasons[0], "143-001-000 the sizes") {
			t.Errorf("got %v, %v", list, err)
		}
	})
}

func TestRefusedMessagesWaitAndAreOfferedAgainUnderTheSameKey(t *testing.T) {
	m := newModel()
	m.write(submitDir, "TWO.MSG", message("first")+message("second"))
	inModel(t, m, Options{Stable: -1}, func(t *testing.T, d *Drop) {
		var s sink
		keys := map[string][]string{}
		repeated := 0
		var full atomic.Bool
		full.Store(true)
		s.err = func(in *Inbound) error {
			keys[in.Message.Subject] = append(keys[in.Message.Subject], in.Key)
			if in.Repeated {
				repeated++
			}
			if full.Load() && in.Message.Subject == "first" {
				return mail.LocalFault("disk full", syscall.ENOSPC)
			}
			return nil
		}
		defer watching(t, d, s.take)()
		m.pause(10 * time.Minute)
		if got := s.got(); !slices.Equal(got, []string{"second"}) {
			t.Errorf("got %v", got)
		}
		if n := len(keys["first"]); n < 10 || n > 30 || repeated != n-1 {
			t.Errorf("offered %d times in ten minutes, %d of them marked as repeated", n, repeated)
		}
		full.Store(false)
		m.pause(2 * time.Minute)
		if got := s.got(); !slices.Equal(got, []string{"first", "second"}) || len(sortedNames(m.folders[submitDir])) != 0 {
			t.Errorf("got %v, left %v", got, sortedNames(m.folders[submitDir]))
		}
		if len(keys["second"]) != 1 || len(slices.Compact(keys["first"])) != 1 {
			t.Errorf("keys %v", keys)
		}
	})
}

func TestManyWaitingMessagesOfOneFileAreOfferedLittleByLittle(t *testing.T) {
	m := newModel()
	var b strings.Builder
	for i := range 500 {
		b.WriteString(message(fmt.Sprintf("%03d", i)))
	}
	m.write(submitDir, "MANY.MSG", b.String())
	inModel(t, m, Options{Stable: -1}, func(t *testing.T, d *Drop) {
		var s sink
		var full atomic.Bool
		offered := 0
		full.Store(true)
		s.err = func(in *Inbound) error {
			offered++
			if full.Load() && in.Message.Subject != "000" {
				return mail.LocalFault("disk full", syscall.ENOSPC)
			}
			return nil
		}
		defer watching(t, d, s.take)()
		m.pause(time.Second)
		if offered != maxLeft+1 || !slices.Equal(s.got(), []string{"000"}) {
			t.Errorf("offered %d, took %v", offered, s.got())
		}
		full.Store(false)
		m.pause(time.Minute)
		if got := s.got(); len(got) != 500 || offered != maxLeft+1+499 {
			t.Errorf("took %d of 500, offered %d", len(got), offered)
		}
	})
}

func TestAFileThatAlwaysFailsDoesNotStopTheOthers(t *testing.T) {
	m := newModel()
	for i := range 40 {
		m.write(submitDir, fmt.Sprintf("STUCK%d.MSG", i), message("stuck"))
	}
	m.write(submitDir, "ZGOOD.MSG", message("good"))
	inModel(t, m, Options{Stable: -1, Batch: 50}, func(t *testing.T, d *Drop) {
		var s sink
		s.err = func(in *Inbound) error {
			if in.Message.Subject == "stuck" {
				return errors.New("nobody classified this")
			}
			return nil
		}
		defer watching(t, d, s.take)()
		m.pause(time.Second)
		m.write(submitDir, "LATER.MSG", message("later"))
		m.pause(10 * time.Second)
		if got := s.got(); !slices.Equal(got, []string{"good", "later"}) {
			t.Errorf("got %v", got)
		}
	})
}

// When nothing is taken any more, claiming on would only make more to take up again after a crash.
func TestNoMoreIsClaimedThanTwoBatchesWhileNothingIsTaken(t *testing.T) {
	m := newModel()
	for i := range 30 {
		m.write(submitDir, fmt.Sprintf("A%d.MSG", i), message(fmt.Sprint(i)))
	}
	inModel(t, m, Options{Stable: -1, Batch: 10}, func(t *testing.T, d *Drop) {
		var s sink
		var full atomic.Bool
		full.Store(true)
		s.err = func(*Inbound) error {
			if full.Load() {
				return mail.LocalFault("disk full", syscall.ENOSPC)
			}
			return nil
		}
		defer watching(t, d, s.take)()
		m.pause(10 * time.Minute)
		claimed := 0
		for _, n := range sortedNames(m.folders[submitDir]) {
			if strings.HasSuffix(n, extClaimed) {
				claimed++
			}
		}
		if claimed < 10 || claimed > 20 {
			t.Errorf("%d claimed", claimed)
		}
		full.Store(false)
		m.pause(2 * time.Minute)
		if got := s.got(); len(got) != 30 {
			t.Errorf("took %d", len(got))
		}
	})
}

func TestAMessageThatCrashesItsHandlerIsPutAside(t *testing.T) {
	m := newModel()
	m.write(submitDir, "BOMB.MSG", message("bomb")+message("good"))
	inModel(t, m, Options{Stable: -1}, func(t *testing.T, d *Drop) {
		var s sink
		s.err = func(in *Inbound) error {
			if in.Message.Subject == "bomb" {
				panic("index out of range")
			}
			return nil
		}
		defer watching(t, d, s.take)()
		m.pause(5 * time.Minute)
		list, err := d.Quarantine(context.Background())
		if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Reasons[0], "201-001-000 554 5.6.0 internal error, 3 times") {
			t.Errorf("got %+v, %v", list, err)
		}
		if got := s.got(); !slices.Equal(got, []string{"good"}) || len(sortedNames(m.folders[submitDir])) != 0 {
			t.Errorf("got %v, left %v", got, sortedNames(m.folders[submitDir]))
		}
	})
}

func TestUnmountedShareIsTroubleNotEmptiness(t *testing.T) {
	m := newModel()
	inModel(t, m, Options{Stable: -1}, func(t *testing.T, d *Drop) {
		var s sink
		defer watching(t, d, s.take)()
		m.pause(time.Second)
		if _, err := d.Deliver(context.Background(), Outbound{Key: "before", Write: content("x")}); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		m.valid = &UnavailableError{"model", errors.New("no sentinel")}
		m.mu.Unlock()
		m.write(submitDir, "ONE.MSG", message("one"))
		m.pause(time.Minute)
		if _, err := d.Check(context.Background()); err == nil {
			t.Error("an unmounted drop is fine")
		}
		_, err := d.Deliver(context.Background(), Outbound{Key: "during", Write: content("x")})
		if f := mail.AsFailure(err); err == nil || f.Class != mail.Transient || f.Scope != mail.ScopeLink {
			t.Errorf("got %v", err)
		}
		if got := s.got(); len(got) != 0 {
			t.Errorf("got %v", got)
		}
		m.mu.Lock()
		m.valid = nil
		m.mu.Unlock()
		m.pause(10 * time.Second)
		if got := s.got(); !slices.Equal(got, []string{"one"}) {
			t.Errorf("got %v", got)
		}
		if _, err := d.Deliver(context.Background(), Outbound{Key: "during", Write: content("x")}); err != nil {
			t.Error(err)
		}
	})
}

func TestOneGatewayServesADropAndAnotherTakesOver(t *testing.T) {
	m := newModel()
	inModel(t, m, Options{Stable: -1}, func(t *testing.T, first *Drop) {
		second, err := openWith("model", Options{PostOffice: po1, Stable: -1}, first.open)
		if err != nil {
			t.Fatal(err)
		}
		var a, b sink
		stopFirst := watching(t, first, a.take)
		m.pause(time.Second)
		stopSecond := watching(t, second, b.take)
		for i := range 20 {
			m.write(submitDir, fmt.Sprintf("M%d.MSG", i), message(fmt.Sprint(i)))
			m.pause(time.Second)
		}
		if len(a.got()) != 20-5 && len(a.got()) < 10 || len(b.got()) != 0 {
			t.Errorf("first took %d, second %d", len(a.got()), len(b.got()))
		}
		_, err = first.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := second.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")}); mail.AsFailure(err).Class != mail.Transient {
			t.Errorf("second delivered beside the first: %v", err)
		}
		stopFirst()
		if err := first.out.close(); err != nil {
			t.Fatal(err)
		}
		first.out = newOutbound(first)
		m.write(submitDir, "LAST.MSG", message("last"))
		m.pause(11 * time.Second)
		if !slices.Contains(b.got(), "last") || len(a.got())+len(b.got()) != 21 {
			t.Errorf("first took %v, second %v", a.got(), b.got())
		}
		if got, err := second.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")}); err != nil || !got.Duplicate {
			t.Errorf("the second does not know what the first delivered: %+v, %v", got, err)
		}
		stopSecond()
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOddEntryThatCannotBeMovedIsToldOnceAndForgottenWhenItIsGone(t *testing.T) {
	m := newModel()
	m.write(submitDir, "ODD.MSG", "")
	m.folders[submitDir].names["ODD.MSG"].mode = fs.ModeSymlink
	tried := 0
	m.fail = func(step string) error {
		if strings.HasPrefix(step, "rename submit ODD.MSG badmail") {
			tried++
			return fs.ErrPermission
		}
		return nil
	}
	inModel(t, m, Options{Stable: -1}, func(t *testing.T, d *Drop) {
		var s sink
		defer watching(t, d, s.take)()
		m.pause(time.Minute)
		if tried != 1 || len(sortedNames(m.folders[badmailDir])) != 0 {
			t.Errorf("tried %d times, badmail has %v", tried, sortedNames(m.folders[badmailDir]))
		}
		m.write(submitDir, "ODD.MSG", message("good"))
		m.pause(time.Minute)
		if got := s.got(); !slices.Equal(got, []string{"good"}) {
			t.Errorf("got %v", got)
		}
	})
}
