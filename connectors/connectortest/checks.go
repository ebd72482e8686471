package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func checkPure(t testing.TB, h Harness, l Link) {
	c := l.Connector
	name := c.Name()
	if name == "" {
		t.Error("Name is empty")
	}
	spaces := append([]address.Space(nil), c.Spaces()...)
	for i := range c.Spaces() {
		c.Spaces()[i] = address.Space{Type: "SPOILT"}
	}
	hops := make([]string, len(h.Recipients))
	for i, r := range h.Recipients {
		var err error
		if hops[i], err = c.NextHop(r); err != nil {
			t.Fatalf("NextHop(%s): %v", r, err)
		}
		if hops[i] != hops[0] {
			t.Fatalf("NextHop(%s) = %q, but the harness promised one next hop: %q", r, hops[i], hops[0])
		}
	}
	wantTaken(t, deliver(t, l, h.transfer(t, l, "pure", 1, Bytes(h.content(100, 1)))))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for i, r := range h.Recipients {
					if got, err := c.NextHop(r); err != nil || got != hops[i] {
						t.Errorf("NextHop(%s) = %q, %v; before it was %q", r, got, err, hops[i])
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if got := c.Name(); got != name {
		t.Errorf("Name = %q, before it was %q", got, name)
	}
	now := c.Spaces()
	if len(now) != len(spaces) {
		t.Fatalf("%d address spaces, before %d", len(now), len(spaces))
	}
	for i := range now {
		if now[i] != spaces[i] {
			t.Errorf("address space %d = %v, before %v: the caller's copy must be its own", i, now[i], spaces[i])
		}
	}
	if _, err := c.NextHop(address.Address{}); err == nil {
		t.Error("NextHop of the null address gave a destination")
	}
}

func checkOutcomes(t testing.TB, h Harness, l Link) {
	for n := 1; n <= len(h.Recipients); n++ {
		content := h.content(300, uint64(n))
		wantTaken(t, deliver(t, l, h.transfer(t, l, fmt.Sprint("outcomes-", n), n, Bytes(content))))
	}
	wantRecipients(t, h, l.Received())
}

// wantRecipients expects that each recipient got each message that was for him, once. A peer may get one message in
// several copies for different recipients.
func wantRecipients(t testing.TB, h Harness, got []Received) {
	t.Helper()
	count := map[address.Address]int{}
	for _, m := range got {
		if m.Originator != h.originator() {
			t.Errorf("originator at the peer = %s, want %s", m.Originator, h.originator())
		}
		for _, r := range m.Recipients {
			count[r]++
		}
	}
	for i, r := range h.Recipients {
		if want := len(h.Recipients) - i; count[r] != want {
			t.Errorf("%s got %d messages, want %d", r, count[r], want)
		}
	}
}

func checkContents(t testing.TB, h Harness, l Link) {
	sizes := []int{0, 1, 2, 997, 64<<10 - 1, 64 << 10, 64<<10 + 1, 5 << 20}
	for i, size := range sizes {
		content := h.content(size, uint64(i))
		before := len(l.Received())
		wantTaken(t, deliver(t, l, h.transfer(t, l, fmt.Sprint("contents-", size), 1, Bytes(content))))
		got := l.Received()
		if len(got) != before+1 {
			t.Fatalf("%d octets: %d messages arrived, want 1", size, len(got)-before)
		}
		if err := h.equal(content, got[before].Content); err != nil {
			t.Errorf("%d octets: %v", size, err)
		}
	}
}

func checkReport(t testing.TB, h Harness, l Link) {
	tr := h.transfer(t, l, "report", 1, Bytes(Report("gone@sitec.example")))
	tr.Envelope.Kind, tr.Envelope.Originator, tr.Envelope.About = mail.KindReport, address.Address{}, "SITEA-1"
	wantTaken(t, deliver(t, l, tr))
	if got := l.Received(); len(got) != 1 {
		t.Errorf("%d messages arrived, want the report", len(got))
	}
}

func checkConcurrent(t testing.TB, h Harness, l Link) {
	const n = 40
	contents := make([][]byte, n)
	var wg sync.WaitGroup
	for i := range n {
		contents[i] = h.content(200+i*997, uint64(i))
		tr := h.transfer(t, l, fmt.Sprint("concurrent-", i), 1, Bytes(contents[i]))
		wg.Go(func() {
			for i, o := range l.Connector.Deliver(context.Background(), tr) {
				if !taken(o) {
					t.Errorf("recipient %d: got %s (%v), want delivered", i, o.State, o.Failure)
				}
			}
		})
	}
	wg.Wait()
	got := l.Received()
	if len(got) != n {
		t.Fatalf("%d messages arrived, want %d", len(got), n)
	}
	for i, c := range contents {
		found := 0
		for _, m := range got {
			if h.equal(c, m.Content) == nil {
				found++
			}
		}
		if found != 1 {
			t.Errorf("content %d arrived %d times, want once", i, found)
		}
	}
}

func checkHostile(t testing.TB, h Harness, l Link) {
	var nested bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for i, tt := range []struct {
		name    string
		content []byte
	}{
		{"nothing", nil},
		{"a NUL", []byte{0}},
		{"a header without end", []byte("Subject: x\r\nFrom: " + strings.Repeat("y", 200000))},
		{"bare CR and LF", []byte("Subject: x\r\n\r\na\rb\nc\n.\r.\n\r\n.\r\nd")},
		{"deep nesting", nested.Bytes()},
		{"any octets", Octets(20000, 7)},
		{"a line of a megabyte", []byte("Subject: x\r\n\r\n" + strings.Repeat("z", 1<<20))},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		deliverCtx(ctx, t, l, h.transfer(t, l, fmt.Sprint("hostile-", i), 2, Bytes(tt.content)))
		if ctx.Err() != nil {
			t.Errorf("%s: took more than 20 s", tt.name)
		}
		cancel()
	}
	wantTaken(t, deliver(t, l, h.transfer(t, l, "after", 1, Bytes(h.content(100, 1)))))
}

func checkUnreadable(t testing.TB, h Harness, l Link) {
	broken := errors.New("input/output error")
	for n, tt := range []struct {
		name    string
		content mail.Content
	}{
		{"can't be opened", &Synthetic{Length: 1000, OpenFail: broken}},
		{"breaks off early", &Synthetic{Length: 1000, After: 500, Fail: broken}},
		{"breaks off late", &Synthetic{Length: 1 << 20, After: 1<<20 - 10, Fail: broken}},
		{"is shorter than it says", shorter{&Synthetic{Length: 300 << 10}}},
	} {
		for i, o := range deliver(t, l, h.transfer(t, l, fmt.Sprint("unreadable-", n), 2, tt.content)) {
			if o.State != mail.Deferred || o.Failure.Class != mail.Local {
				t.Errorf("body that %s, recipient %d: got %s (%v), want deferred with class local", tt.name, i, o.State, o.Failure)
			}
		}
	}
	if got := l.Received(); len(got) != 0 {
		t.Errorf("%d torn messages arrived", len(got))
	}
}

// shorter claims one octet more than there is.
type shorter struct{ *Synthetic }

func (s shorter) Size() int64 { return s.Length + 1 }

func checkCancelled(t testing.TB, h Harness, l Link) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i, o := range deliverCtx(ctx, t, l, h.transfer(t, l, "cancelled", 3, Bytes(h.content(1<<20, 1)))) {
		if o.State == mail.Failed {
			t.Errorf("recipient %d failed for good because the attempt was cancelled: %v", i, o.Failure)
		}
		if taken(o) && len(l.Received()) == 0 {
			t.Errorf("recipient %d: %s, but nothing arrived", i, o.State)
		}
	}
	wantTaken(t, deliver(t, l, h.transfer(t, l, "cancelled", 3, Bytes(h.content(1<<20, 1)))))
}

func checkRepeated(t testing.TB, h Harness, l Link) {
	for _, size := range []int{500, 300 << 10} {
		before := len(l.Received())
		content := h.content(size, 1)
		tr := h.transfer(t, l, fmt.Sprint("repeated-", size), 2, Bytes(content))
		wantTaken(t, deliver(t, l, tr))
		tr.Attempt, tr.Repeated = 2, true
		wantTaken(t, deliver(t, l, tr))
		if got := len(l.Received()) - before; got != 1 {
			t.Errorf("%d octets handed over twice with one key arrived %d times, want once", size, got)
		}
		other := h.transfer(t, l, fmt.Sprint("another-", size), 2, Bytes(content))
		wantTaken(t, deliver(t, l, other))
		if got := len(l.Received()) - before; got != 2 {
			t.Errorf("the same content with another key is another message: %d arrived, want 2", got)
		}
	}
}

func checkDead(t testing.TB, h Harness, l Link) {
	start := time.Now()
	for i, o := range deliver(t, l, h.transfer(t, l, "dead", 3, Bytes(h.content(500, 1)))) {
		if o.State != mail.Deferred || o.Failure.Scope != mail.ScopeLink {
			t.Errorf("recipient %d: got %s (%v), want deferred at link scope", i, o.State, o.Failure)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v to find the peer dead", d)
	}
}

func checkRefused(k int, want mail.State) func(testing.TB, Harness, Link) {
	return func(t testing.TB, h Harness, l Link) {
		tr := h.transfer(t, l, "refused", 4, Bytes(h.content(500, 1)))
		for i, o := range deliver(t, l, tr) {
			switch {
			case i == k || !h.PerRecipient:
				if o.State != want {
					t.Errorf("recipient %d: got %s (%v), want %s", i, o.State, o.Failure, want)
				} else if o.Failure.Scope == mail.ScopeLink {
					t.Errorf("recipient %d: the refusal was given link scope: %v", i, o.Failure)
				}
			case !taken(o):
				t.Errorf("recipient %d was not refused, yet: %s (%v)", i, o.State, o.Failure)
			}
		}
		for _, m := range l.Received() {
			for _, r := range m.Recipients {
				if r == h.Recipients[k] {
					t.Errorf("the refused recipient got the message")
				}
			}
		}
	}
}

func checkSilent(t testing.TB, h Harness, l Link) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	for i, o := range deliverCtx(ctx, t, l, h.transfer(t, l, "silent", 2, Bytes(h.content(500, 1)))) {
		if o.State != mail.Deferred {
			t.Errorf("recipient %d: got %s (%v), want deferred", i, o.State, o.Failure)
		}
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Deliver returned %v after it began, though it was cancelled after 0.3 s", d)
	}
}

func checkLostAnswer(t testing.TB, h Harness, l Link) {
	content := h.content(100<<10, 1)
	tr := h.transfer(t, l, "lost-answer", 2, Bytes(content))
	for i, o := range deliver(t, l, tr) {
		if o.State != mail.Deferred {
			t.Errorf("recipient %d: got %s (%v) without an answer, want deferred", i, o.State, o.Failure)
		}
	}
	tr.Attempt, tr.Repeated = 2, true
	wantTaken(t, deliver(t, l, tr))
	got := l.Received()
	if h.ExactlyOnce && len(got) != 1 {
		t.Errorf("%d copies arrived, want exactly one", len(got))
	}
	if len(got) == 0 {
		t.Fatal("nothing arrived")
	}
	for i, m := range got {
		if err := h.equal(content, m.Content); err != nil {
			t.Errorf("copy %d: %v", i, err)
		}
	}
}
