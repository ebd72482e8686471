package pgqueue

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backbone/queue"
)

// wire is the connections to the server of one gateway. They can be cut after certain octets have gone one way, and stopped.
type wire struct {
	mu     sync.Mutex
	after  string // cut once this has been sent to the server and been answered
	before string // cut instead of sending this
	cuts   int
	gate   sync.RWMutex // locked: nothing passes, either way
	all    []net.Conn
	down   atomic.Bool // no connection is made
}

// severAll closes all connections that there are.
func (w *wire) severAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		c.Close()
	}
	w.all = nil
}

// write passes octets on, when anything passes.
func (w *wire) write(to net.Conn, b []byte) error {
	w.gate.RLock()
	defer w.gate.RUnlock()
	_, err := to.Write(b)
	return err
}

// through starts a proxy and answers its DSN.
func (w *wire) through(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	server := u.Host
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if w.down.Load() {
				c.Close()
				continue
			}
			s, err := net.Dial("tcp", server)
			if err != nil {
				c.Close()
				continue
			}
			w.mu.Lock()
			w.all = append(w.all, c, s)
			w.mu.Unlock()
			cut := false
			var mu sync.Mutex
			wg.Go(func() {
				defer s.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					if w.lose(string(buf[:n])) {
						return
					}
					if w.cut(string(buf[:n])) {
						mu.Lock()
						cut = true
						mu.Unlock()
					}
					if n > 0 {
						if err := w.write(s, buf[:n]); err != nil {
							return
						}
					}
					if err != nil {
						return
					}
				}
			})
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := s.Read(buf)
					mu.Lock()
					gone := cut
					mu.Unlock()
					if gone || err != nil { // the server has answered: nobody hears it
						return
					}
					if err := w.write(c, buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	u.Host = l.Addr().String()
	return u.String()
}

func (w *wire) cut(sent string) bool  { return w.found(&w.after, sent) }
func (w *wire) lose(sent string) bool { return w.found(&w.before, sent) }

func (w *wire) found(what *string, sent string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if *what == "" || !strings.Contains(sent, *what) {
		return false
	}
	*what = ""
	w.cuts++
	return true
}

func (w *wire) arm(after string)      { w.mu.Lock(); w.after = after; w.mu.Unlock() }
func (w *wire) armBefore(what string) { w.mu.Lock(); w.before = what; w.mu.Unlock() }
func (w *wire) wantCuts(t *testing.T, n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cuts != n {
		t.Errorf("the connection was cut %d times, want %d", w.cuts, n)
	}
}

// TestAnAnswerThatIsLostIsAskedFor cuts the connection between a commit and its answer.
func TestAnAnswerThatIsLostIsAskedFor(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	s := member(t, w.through(t, dsn), "cut")
	watch := member(t, dsn, "watch")
	put(t, s, "", "elsewhere.example") // its statements are prepared
	count := func(want int) {
		t.Helper()
		if items, _, err := watch.List(t.Context(), queue.Filter{Host: far.Host}, "", 100); err != nil || len(items) != want {
			t.Errorf("%d items, %v, want %d", len(items), err, want)
		}
	}
	// What only this transaction sends: the text of its message.
	w.arm("bob@" + far.Host)
	put(t, s, "", far.Host)
	count(1)
	w.arm("key/2")
	w.arm(string(hashOf("key/2")))
	put(t, s, "key/2", far.Host)
	count(2)

	ls := leaseFar(t, s, 2)
	if len(ls) != 2 {
		t.Fatalf("leased %d", len(ls))
	}
	for i, l := range ls {
		st := queue.Settlement{}
		w.arm("done")
		if i == 1 {
			w.arm("commit")
			k := l.Item
			k.State, k.Attempts = queue.Ready, 7
			st.Keep = []queue.Item{k}
		}
		if err := s.Settle(t.Context(), l, st); err != nil {
			t.Errorf("settle %d: %v", i, err)
		}
	}
	count(1)
	w.wantCuts(t, 4)
	if bad, err := watch.Check(t.Context()); err != nil || bad != nil {
		t.Errorf("check: %v, %v", bad, err)
	}
}

// TestAGatewayThatIsCutOffCannotSettleWhatItLost stops all its connections without closing them, and lets them go on when
// another gateway has carried its message.
func TestAGatewayThatIsCutOffCannotSettleWhatItLost(t *testing.T) {
	dsn := schema(t)
	w := &wire{}
	short := func(o *Options) { o.Silence = 2 * time.Second }
	off, other := member(t, w.through(t, dsn), "off", short), member(t, dsn, "other", short)
	put(t, off, "", far.Host)
	was := leaseFar(t, off, 1)[0]
	w.gate.Lock()
	settled := make(chan error)
	go func() { settled <- off.Settle(context.Background(), was, queue.Settlement{}) }()
	var now []queue.Lease
	eventually(t, "the lease to be free", func() bool { now = leaseFar(t, other, 1); return len(now) == 1 })
	err := other.Settle(t.Context(), now[0], queue.Settlement{})
	w.gate.Unlock()
	if err != nil {
		t.Error(err)
	}
	if err := <-settled; !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("the gateway that was cut off settled: %v", err)
	}
	put(t, off, "", far.Host) // it goes on
	if ls := leaseFar(t, off, 1); len(ls) != 1 {
		t.Errorf("leased %d afterwards", len(ls))
	}
}
