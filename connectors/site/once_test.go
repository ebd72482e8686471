package site

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"backbone/connectors/connectortest"
	"backbone/gateway/mail"
)

// TestExactlyOnceWhereverTheConnectionIsCut cuts the line after every so many octets, in either direction, from the
// first of the handshake to beyond the last of the answer. Each message must have arrived once after a second attempt.
func TestExactlyOnceWhereverTheConnectionIsCut(t *testing.T) {
	for _, tt := range []struct {
		name     string
		size     int
		up       bool
		to, step int64
	}{
		{"a small message, the sender's octets", 700, true, 4200, 173},
		{"a small message, the receiver's octets", 700, false, 3000, 127},
		{"a message in chunks, the sender's octets", 150 << 10, true, 160 << 10, 8191},
		{"a message in chunks, the receiver's octets", 150 << 10, false, 5000, 251},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w *world) { w.cfgA.Chunk = 8 << 10 })
			w.stopA()
			content := connectortest.Octets(tt.size, 1)
			cuts, whole := 0, 0
			for at := int64(0); at <= tt.to; at += tt.step {
				w.startA() // a new link, so that the handshake is cut too
				w.proxy.mend()
				if tt.up {
					w.proxy.cutUp.Store(at)
				} else {
					w.proxy.cutDown.Store(at)
				}
				tr := transfer(key("cut-%d", at), connectortest.Bytes(content))
				switch o := w.deliver(tr); {
				case o.State == mail.Delivered:
					whole++
				case o.State == mail.Deferred && o.Failure.Scope == mail.ScopeLink && o.Failure.Class == mail.Transient:
					cuts++
				default:
					t.Errorf("cut after %d octets: got %s (%+v), want deferred, transient, link scope", at, o.State, o.Failure)
				}
				w.stopA()
				w.proxy.mend()
				w.startA()
				tr.Attempt, tr.Repeated = 2, true
				w.mustDeliver(tr)
				w.stopA()
			}
			if cuts < 10 || whole == 0 {
				t.Errorf("%d attempts were cut and %d were not: the cuts don't cover the transfer from end to end", cuts, whole)
			}
			seen := map[string]int{}
			for _, m := range w.gw.Taken() {
				seen[m.Dedup]++
				if string(m.Content) != string(content) {
					t.Errorf("%s arrived with %d other octets", m.Dedup, len(m.Content))
				}
			}
			for dedup, n := range seen {
				if n != 1 {
					t.Errorf("%s arrived %d times", dedup, n)
				}
			}
			if len(seen) != cuts+whole {
				t.Errorf("%d messages arrived, want %d", len(seen), cuts+whole)
			}
		})
	}
}

// parts are the files in SITEB's spool.
func (w *world) parts() (names []string, octets int64) {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, "SITEB-sitea", "partial"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			w.t.Fatal(err)
		}
		names, octets = append(names, e.Name()), octets+fi.Size()
	}
	return names, octets
}

func TestABrokenTransferGoesOnWhereItStopped(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(key("receiver restarted: %v", restart), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			const size = 6 << 20
			tr := transfer("resumed", &connectortest.Synthetic{Length: size, Seed: 1})
			w.proxy.cutUp.Store(4 << 20)
			if o := w.deliver(tr); o.State != mail.Deferred {
				t.Fatalf("got %s, want deferred by the cut", o.State)
			}
			var kept int64
			connectortest.Until(t, "the part is put aside", func() bool { // the receiver is still taking in what was under way
				before := kept
				_, kept = w.parts()
				return kept > 0 && kept == before
			})
			if restart {
				w.stopServer()
				w.startB()
				_, kept = w.parts()
			}
			if kept < 2<<20 {
				t.Fatalf("only %d octets were kept of 4 MB sent", kept)
			}
			w.proxy.mend()
			tr.Attempt, tr.Repeated = 2, true
			w.mustDeliver(tr)
			if sent, most := w.proxy.up.Load(), size-kept+64<<10; sent > most {
				t.Errorf("the second attempt sent %d octets, though %d of %d were there: at most %d wanted", sent, kept, size, most)
			}
			got := w.gw.Taken()
			if len(got) != 1 || string(got[0].Content) != string(connectortest.Octets(size, 1)) {
				t.Errorf("%d messages arrived, or not as sent", len(got))
			}
			if names, _ := w.parts(); len(names) != 0 {
				t.Errorf("the spool still has %v", names)
			}
		})
	}
}

func TestAReceiverThatCrashesBeforeItAnswersHasTheMessageOnce(t *testing.T) {
	for _, size := range []int{1000, 3 << 20} {
		t.Run(key("%d octets", size), func(t *testing.T) {
			w := newWorld(t, nil)
			tr := transfer("crash", connectortest.Bytes(connectortest.Octets(size, 2)))
			var once sync.Once
			w.gw.OnTaken(func(context.Context, connectortest.Accepted) error {
				var err error
				once.Do(func() {
					w.proxy.cut() // nothing of what is answered now gets out
					err = errors.New("crashed")
				})
				return err
			})
			if o := w.deliver(tr); o.State != mail.Deferred || o.Failure.Scope != mail.ScopeLink {
				t.Fatalf("got %s (%v), want deferred at link scope", o.State, o.Failure)
			}
			w.stopServer()
			before, _ := w.parts()
			if size > inlineLimit && len(before) != 1 {
				t.Fatalf("the crash left parts %v, want the one", before)
			}
			w.startB()
			w.proxy.mend()
			tr.Attempt, tr.Repeated = 2, true
			if o := w.mustDeliver(tr); o.Peer != "site SITEB already had it as SITEA-crash" {
				t.Errorf("the peer's words: %q", o.Peer)
			}
			if n := len(w.gw.Taken()); n != 1 {
				t.Errorf("%d messages arrived, want 1", n)
			}
			if sent := w.proxy.up.Load(); size > inlineLimit && sent > 32<<10 {
				t.Errorf("%d octets were sent for a message that the peer had", sent)
			}
			if after, _ := w.parts(); len(after) != 0 {
				t.Errorf("the spool still has %v", after)
			}
		})
	}
}

func TestASenderThatCrashesBeforeItNotesTheAnswerSendsAgainInVain(t *testing.T) {
	w := newWorld(t, nil)
	tr := transfer("settle", connectortest.Bytes(connectortest.Octets(200<<10, 3)))
	w.mustDeliver(tr)
	w.stopA()
	w.startA()
	w.proxy.mend()
	tr.Attempt, tr.Repeated = 2, true
	w.mustDeliver(tr)
	if n := len(w.gw.Taken()); n != 1 {
		t.Errorf("%d messages arrived, want 1", n)
	}
	if sent := w.proxy.up.Load(); sent > 32<<10 {
		t.Errorf("%d octets were sent for a message that the peer had", sent)
	}
}

func TestTwoAttemptsAtOnceWithOneKeyMakeOneMessage(t *testing.T) {
	for _, size := range []int{500, 1 << 20} {
		w := newWorld(t, nil)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if o := w.link.Deliver(context.Background(), transfer("twin", connectortest.Bytes(connectortest.Octets(size, 4)))); o[0].State != mail.Delivered {
					t.Errorf("%d octets: got %s (%v), want delivered", size, o[0].State, o[0].Failure)
				}
			})
		}
		wg.Wait()
		if n := len(w.gw.Taken()); n != 1 {
			t.Errorf("%d octets: %d messages arrived, want 1", size, n)
		}
	}
}

func TestACallerThatGoesAwayDuringAcceptFindsItDone(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gone := make(chan struct{})
	w.gw.OnTaken(func(ctx context.Context, _ connectortest.Accepted) error {
		cancel()
		<-gone
		select {
		case <-ctx.Done():
			t.Error("the gateway was told to stop, though all was there")
		case <-time.After(300 * time.Millisecond):
		}
		return nil
	})
	tr := transfer("gone", connectortest.Bytes(connectortest.Octets(200<<10, 5)))
	o := w.link.Deliver(ctx, tr)[0]
	close(gone)
	if o.State != mail.Deferred || o.Failure.Scope != mail.ScopeMessage {
		t.Fatalf("got %s (%v), want deferred: the attempt was cancelled, the link is not to blame", o.State, o.Failure)
	}
	tr.Attempt, tr.Repeated = 2, true
	w.mustDeliver(tr)
	if n := len(w.gw.Taken()); n != 1 {
		t.Errorf("%d messages arrived, want 1", n)
	}
}
