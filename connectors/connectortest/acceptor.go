package connectortest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Acceptor is a gateway that remembers what it took, and whose answers a test can script. The zero Acceptor takes
// everything. It keeps the promise of Submission.Dedup as a durable store does: an Acceptor that outlives the source
// under test stands for the store across a restart.
type Acceptor struct {
	mu       sync.Mutex
	taken    []Accepted
	answers  []error
	refused  map[address.Address]error
	dedup    map[string]connectors.Receipt
	repeated int
	discard  bool
	onAccept func(context.Context, connectors.Submission) error
	onTaken  func(context.Context, Accepted) error
	onScreen func(src mail.Source, originator, recipient address.Address) error
}

var _ connectors.Acceptor = (*Acceptor)(nil)

// Accepted is a message that the Acceptor took.
type Accepted struct {
	Envelope mail.Envelope
	Content  []byte // nil after DiscardContent
	Size     int64
	SHA256   string // hex
	Dedup    string
	Notes    []mail.Note
	Receipt  connectors.Receipt
}

// Script gives the answers of the next calls of Accept, in order; nil takes the message. A scripted error leaves the
// content unread. After the script the Acceptor takes everything.
func (a *Acceptor) Script(answers ...error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers = append(a.answers, answers...)
}

// Refuse makes Screen answer err for rcpt.
func (a *Acceptor) Refuse(rcpt address.Address, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused == nil {
		a.refused = map[address.Address]error{}
	}
	a.refused[rcpt] = err
}

// OnScreen is asked by Screen after Refuse's table.
func (a *Acceptor) OnScreen(f func(src mail.Source, originator, recipient address.Address) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onScreen = f
}

// OnAccept runs before anything is read, without a lock; its error is Accept's answer.
func (a *Acceptor) OnAccept(f func(context.Context, connectors.Submission) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onAccept = f
}

// OnTaken runs once the message is durable, before Accept returns, without a lock: where a crash or a cut loses the
// acknowledgement. Its error is what Accept returns although the message is there.
func (a *Acceptor) OnTaken(f func(context.Context, Accepted) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onTaken = f
}

// DiscardContent keeps only size and hash of what comes, for large messages.
func (a *Acceptor) DiscardContent() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.discard = true
}

// Screen answers what Refuse or OnScreen say, else nil.
func (a *Acceptor) Screen(_ context.Context, src mail.Source, originator, recipient address.Address) error {
	a.mu.Lock()
	err, ask := a.refused[recipient], a.onScreen
	a.mu.Unlock()
	if err == nil && ask != nil {
		err = ask(src, originator, recipient)
	}
	return err
}

// Accept reads and remembers s.
func (a *Acceptor) Accept(ctx context.Context, s connectors.Submission) (connectors.Receipt, error) {
	a.mu.Lock()
	var answer error
	if len(a.answers) > 0 {
		answer, a.answers = a.answers[0], a.answers[1:]
	}
	before, discard := a.onAccept, a.discard
	a.mu.Unlock()
	if answer != nil {
		return connectors.Receipt{}, answer
	}
	if before != nil {
		if err := before(ctx, s); err != nil {
			return connectors.Receipt{}, err
		}
	}
	got := Accepted{Envelope: s.Envelope, Dedup: s.Dedup, Notes: s.Notes}
	hash := sha256.New()
	var kept bytes.Buffer
	var sink io.Writer = &kept
	if discard {
		sink = io.Discard
	}
	n, err := io.Copy(io.MultiWriter(hash, sink), s.Content)
	if err != nil {
		return connectors.Receipt{}, mail.LocalFault("reading the content", err)
	}
	got.Size, got.SHA256 = n, hex.EncodeToString(hash.Sum(nil))
	if !discard {
		got.Content = kept.Bytes()
	}
	receipt, fresh, after := a.keep(&got)
	if fresh && after != nil {
		if err := after(ctx, got); err != nil {
			return connectors.Receipt{}, err
		}
	}
	return receipt, nil
}

func (a *Acceptor) keep(got *Accepted) (r connectors.Receipt, fresh bool, after func(context.Context, Accepted) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if first, known := a.dedup[got.Dedup]; known && got.Dedup != "" {
		a.repeated++
		first.Duplicate = true
		return first, false, nil
	}
	if got.Envelope.ID == "" {
		got.Envelope.ID = fmt.Sprintf("TEST-%08d", len(a.taken)+1)
	}
	got.Envelope.Arrived = time.Now()
	got.Receipt = connectors.Receipt{ID: got.Envelope.ID}
	if got.Dedup != "" {
		if a.dedup == nil {
			a.dedup = map[string]connectors.Receipt{}
		}
		a.dedup[got.Dedup] = got.Receipt
	}
	a.taken = append(a.taken, *got)
	return got.Receipt, true, a.onTaken
}

// Known answers from the dedup memory.
func (a *Acceptor) Known(_ context.Context, dedup string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.dedup[dedup]
	return ok, nil
}

// Taken is what was taken so far, without the duplicates.
func (a *Acceptor) Taken() []Accepted {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Accepted(nil), a.taken...)
}

// Duplicates counts the calls of Accept that Dedup answered.
func (a *Acceptor) Duplicates() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.repeated
}

// Wait returns what was taken as soon as there are n messages, and fails the test when that takes more than 20 s.
func (a *Acceptor) Wait(t testing.TB, n int) []Accepted {
	t.Helper()
	Until(t, fmt.Sprintf("%d messages taken", n), func() bool { return len(a.Taken()) >= n })
	return a.Taken()
}

// Until polls cond every few milliseconds and fails the test when it has not become true in 20 s.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited 20 s for: %s", what)
		}
	}
}
