package connectortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// wire is a connector whose peer is a slice. faults switch its promises off one by one.
type wire struct {
	mu      sync.Mutex
	got     []Received
	seen    map[string]bool
	refuse  int
	with    *mail.Failure
	dead    bool
	silent  bool
	lose    int
	fault   string
	calls   int
	stop    chan struct{}
	workers sync.WaitGroup
}

func (w *wire) Name() string { return "wire" }

func (w *wire) Spaces() []address.Space {
	s := []address.Space{{Type: address.SMTP, Pattern: "*@siteb.example", Cost: 1}}
	if w.fault == "spaces change" {
		w.mu.Lock()
		defer w.mu.Unlock()
		s[0].Cost += w.calls
	}
	return s
}

func (w *wire) NextHop(a address.Address) (string, error) {
	if a.IsZero() && w.fault != "serves the null address" {
		return "", mail.UnknownRecipient("no recipient")
	}
	if w.fault == "next hop changes" {
		w.mu.Lock()
		defer w.mu.Unlock()
		return fmt.Sprint("siteb", w.calls), nil
	}
	return "siteb", nil
}

func (w *wire) all(n int, o mail.Outcome) []mail.Outcome { return slices.Repeat([]mail.Outcome{o}, n) }

func (w *wire) Deliver(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	n := len(t.Envelope.Recipients)
	later := func(f *mail.Failure) []mail.Outcome { return w.all(n, mail.Outcome{State: mail.Deferred, Failure: f}) }
	switch {
	case w.fault == "leaks a goroutine":
		w.workers.Go(func() { <-w.stop })
	case w.fault == "one outcome too few" && n > 1:
		n--
	}
	if ctx.Err() != nil {
		if w.fault == "fails what was cancelled" {
			return w.all(n, mail.Outcome{State: mail.Failed, Failure: mail.NoRoute("cancelled")})
		}
		return later(mail.LinkDown("cancelled", ctx.Err()))
	}
	if w.dead {
		f := mail.LinkDown("nobody answers", nil)
		if w.fault == "dead peer at message scope" {
			f.Scope = mail.ScopeMessage
		}
		return later(f)
	}
	if w.silent {
		<-ctx.Done()
		return later(mail.LinkDown("cancelled", ctx.Err()))
	}
	content, err := read(t.Content)
	if err != nil && w.fault != "delivers torn bodies" {
		f := mail.LocalFault("reading the body", err)
		if w.fault == "blames the message for our disk" {
			f = mail.BadContent("unreadable", err)
			return w.all(n, mail.Outcome{State: mail.Failed, Failure: f})
		}
		return later(f)
	}
	out := w.all(n, mail.Outcome{State: mail.Delivered})
	m := Received{Originator: t.Envelope.Originator, Content: content}
	for i, r := range t.Envelope.Recipients {
		if w.with != nil && i == w.refuse {
			at := i
			if w.fault == "outcomes out of order" {
				at = n - 1 - i
			}
			state := mail.Deferred
			if w.with.Final() != (w.fault == "class and state disagree") {
				state = mail.Failed
			}
			out[at] = mail.Outcome{State: state, Failure: w.with}
			continue
		}
		m.Recipients = append(m.Recipients, r.Address)
	}
	if w.seen[t.Key] && w.fault != "forgets keys" {
		return out
	}
	if w.seen == nil {
		w.seen = map[string]bool{}
	}
	w.seen[t.Key] = true
	switch {
	case w.fault == "drops an octet" && len(content) > 0:
		m.Content = content[:len(content)-1]
	case w.fault == "loses a recipient" && len(m.Recipients) > 1:
		m.Recipients = m.Recipients[1:]
	case w.fault == "swallows reports" && m.Originator.IsZero():
		return out
	}
	w.got = append(w.got, m)
	if w.lose > 0 {
		w.lose--
		if w.fault == "takes silence for success" {
			return out
		}
		return later(mail.LinkDown("no answer", nil))
	}
	return out
}

func read(c mail.Content) ([]byte, error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if err == nil && int64(len(b)) != c.Size() {
		err = io.ErrUnexpectedEOF
	}
	return b, errors.Join(err, r.Close())
}

func (w *wire) received() []Received {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func wireHarness(fault string) Harness {
	open := func(t testing.TB, w *wire) Link {
		w.fault, w.stop = fault, make(chan struct{})
		t.Cleanup(func() { close(w.stop); w.workers.Wait() })
		return Link{Connector: w, Received: w.received, Close: func() error { return nil }}
	}
	return Harness{
		Recipients: SMTPRecipients(4), PerRecipient: true, ExactlyOnce: true, Binary: true,
		Working: func(t testing.TB) Link { return open(t, &wire{}) },
		Dead:    func(t testing.TB) Link { return open(t, &wire{dead: true}) },
		Silent:  func(t testing.TB) Link { return open(t, &wire{silent: true}) },
		Refusing: func(t testing.TB, k int, f *mail.Failure) Link {
			return open(t, &wire{refuse: k, with: f})
		},
		LosingAnswer: func(t testing.TB) Link { return open(t, &wire{lose: 1}) },
	}
}

func TestACorrectConnectorPasses(t *testing.T) { Run(t, wireHarness("")) }

// verdict is a testing.TB that keeps failures to itself.
type verdict struct {
	testing.TB
	mu     sync.Mutex
	faults []string
	done   []func()
}

func (v *verdict) Helper()          {}
func (v *verdict) Cleanup(f func()) { v.done = append(v.done, f) }
func (v *verdict) Errorf(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}
func (v *verdict) Error(args ...any)                 { v.Errorf("%s", fmt.Sprint(args...)) }
func (v *verdict) Fatalf(format string, args ...any) { v.Errorf(format, args...); runtime.Goexit() }
func (v *verdict) Fatal(args ...any)                 { v.Fatalf("%s", fmt.Sprint(args...)) }

func TestEachBrokenPromiseIsNoticed(t *testing.T) {
	for _, tt := range []struct{ fault, check string }{
		{"spaces change", "name, spaces and next hop never change"},
		{"serves the null address", "name, spaces and next hop never change"},
		{"next hop changes", "name, spaces and next hop never change"},
		{"leaks a goroutine", "name, spaces and next hop never change"},
		{"one outcome too few", "each recipient has its outcome in order"},
		{"loses a recipient", "each recipient has its outcome in order"},
		{"drops an octet", "contents arrive octet for octet"},
		{"swallows reports", "a report has no originator"},
		{"delivers torn bodies", "a body that can't be read is our own fault and never arrives"},
		{"blames the message for our disk", "a body that can't be read is our own fault and never arrives"},
		{"fails what was cancelled", "a cancelled attempt is deferred"},
		{"forgets keys", "a repeated hand-over arrives once"},
		{"dead peer at message scope", "a dead peer defers at link scope"},
		{"outcomes out of order", "a permanent refusal fails the recipient refused"},
		{"class and state disagree", "a permanent refusal fails the recipient refused"},
		{"takes silence for success", "a lost answer defers and the next attempt succeeds"},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			noticed := "no check"
			for _, c := range checks {
				v := &verdict{TB: t}
				var wg sync.WaitGroup
				wg.Go(func() { c.run(v, wireHarness(tt.fault)) }) // Fatal ends the goroutine, not the test
				wg.Wait()
				for _, f := range slices.Backward(v.done) {
					f()
				}
				if len(v.faults) > 0 {
					noticed = c.name
					break
				}
			}
			if noticed != tt.check {
				t.Errorf("noticed by %q, want %q", noticed, tt.check)
			}
		})
	}
}
