package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/queue"
)

// ledger is what the world knows of every recipient of every message, and of every next hop. It is told of each attempt
// by the far ends and of each verb by the operator, never by the gateway.
//
// What it holds the gateway to:
//
//	lost          whoever was accepted and has no end is in the store;
//	two owners    and there once, in one attempt at a time, under a lease;
//	final         who was delivered, reported on or purged is not tried again; only an attempt whose outcome nobody
//	              recorded may be repeated, and then it says so (Repeated);
//	early         no next hop is opened before its interval is over, no message offered again before its own, or before
//	              the peer asked for it, unless an operator says so; none before its deferred delivery time;
//	windows       never more than Parallel attempts for one next hop, whoever makes them, never more than Workers at a gateway;
//	suspended     nothing is tried behind a suspension;
//	reports       at most one failure and one delay for a recipient, no failure for who was delivered;
//	stuck         nothing waits for a way that is open (simcheck_test.go).
type ledger struct {
	mu       sync.Mutex
	stores   map[string]queue.Store // by gateway
	say      func(string, ...any)
	fates    map[string]*fate
	reports  map[string]bool // identifiers of the reports that have been read
	sky      map[queue.Dest]weather
	busy     map[queue.Dest]int
	running  map[string]int // by gateway
	began    map[*connectors.Transfer]time.Time
	opens    map[hop]opening
	stops    map[queue.Dest]queue.Suspension
	verb     time.Time // the operator's latest
	wrong    []string
	odd      map[queue.ID]time.Time // when mail was first seen waiting for what it need not wait for
	attempts int
	repeats  int
	failures int
	delays   int
}

// fate is one recipient of one message.
type fate struct {
	msg, rcpt string
	accepted  bool // by Accept; a report is not
	delivered int
	failed    int
	delayed   int
	purged    bool
	doubt     bool // an attempt's outcome may not have been recorded
	running   bool
	trashed   time.Time // in the trash since

	began time.Time // the latest attempt
	ended time.Time // the same...
	dest  queue.Dest
	why   *mail.Failure // ...was put off for this
}

// hop is a next hop as one gateway sees it.
type hop struct {
	node string
	dest queue.Dest
}

// opening is the latest failure to open a next hop.
type opening struct {
	failed   time.Time
	earliest time.Time
}

const simWorkers = 6

func newLedger() *ledger {
	return &ledger{
		fates: map[string]*fate{}, reports: map[string]bool{}, sky: map[queue.Dest]weather{}, odd: map[queue.ID]time.Time{}, began: map[*connectors.Transfer]time.Time{},
		stores: map[string]queue.Store{}, busy: map[queue.Dest]int{}, running: map[string]int{}, opens: map[hop]opening{}, stops: map[queue.Dest]queue.Suspension{},
	}
}

// opened begins a process's life: links are tried afresh.
func (l *ledger) opened(node string, s queue.Store) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stores[node] = s
	maps.DeleteFunc(l.opens, func(h hop, _ opening) bool { return h.node == node })
}

// suspended says that the operator has stopped a destination, or lets it go on.
func (l *ledger) suspended(s queue.Suspension, on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.stops, s.Dest); on {
		l.stops[s.Dest] = s
	}
}

// covered tells a destination that is suspended. The lock is held.
func (l *ledger) covered(d queue.Dest, now time.Time) bool {
	for _, s := range l.stops {
		if covers(s, d, now) && s.Since.Before(now) {
			return true
		}
	}
	return false
}

func (l *ledger) blame(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.wrong = append(l.wrong, text)
	l.say("WRONG: %s", text)
}

func (l *ledger) fate(msg string, r *mail.Recipient) *fate {
	k := msg + " " + r.Address.Key()
	f := l.fates[k]
	if f == nil {
		f = &fate{msg: msg, rcpt: r.Address.String()}
		l.fates[k] = f
	}
	return f
}

func (l *ledger) offered(env *mail.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range env.Recipients {
		l.fate(env.ID, &env.Recipients[i]).accepted = true
	}
}

// operated says that an operator used a verb. What was under way may have been fenced out.
func (l *ledger) operated(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.verb = now
	for _, f := range l.fates {
		f.doubt = f.doubt || f.running || f.ended.Equal(now)
	}
}

func (l *ledger) purging(id queue.ID, trash []queue.Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range trash {
		if it.ID == id {
			for i := range it.Envelope.Recipients {
				l.fate(it.Envelope.ID, &it.Envelope.Recipients[i]).purged = true
			}
		}
	}
}

// change gives one next hop other weather; half of the time it clears up.
func (l *ledger) change(rnd *rand.Rand, ws []*simWire) {
	w := ws[rnd.IntN(len(ws))]
	d := queue.Dest{Connector: w.name, Host: w.hops[rnd.IntN(len(w.hops))]}
	sky := fair
	if rnd.IntN(2) == 0 {
		sky = weather(rnd.IntN(int(weathers)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sky[d] = sky
	l.say("weather at %s: %s", d, sky)
}

func (l *ledger) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.sky)
	l.verb = time.Now()
}

// interval is the shortest wait that the schedule has for a failure of this kind.
func interval(typ string, why *mail.Failure) time.Duration {
	wait := 10 * time.Minute
	switch {
	case typ == "imc":
		wait = 15 * time.Minute
	case why.Scope != mail.ScopeLink:
		wait = 2 * time.Minute
	}
	return max(wait, why.RetryAfter)
}

// begin is called by a far end when an attempt reaches it.
func (l *ledger) begin(node string, d queue.Dest, t *connectors.Transfer, window int) weather {
	now := time.Now()
	l.mu.Lock()
	store := l.stores[node]
	l.mu.Unlock()
	items, _, err := store.List(context.Background(), queue.Filter{Message: t.Envelope.ID}, "", 1000)
	trash, _, terr := store.List(context.Background(), queue.Filter{Message: t.Envelope.ID, State: queue.Trash}, "", 1000)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts++
	l.began[t] = now
	if t.Repeated {
		l.repeats++
	}
	what := fmt.Sprintf("%s at %s, attempt %d", t.Key, d, t.Attempt)
	if err != nil || terr != nil {
		l.blame("list: %v %v", err, terr)
	}
	if l.busy[d]++; l.busy[d] > window {
		l.blame("%s: %d attempts at once, the window is %d", what, l.busy[d], window)
	}
	if l.running[node]++; l.running[node] > simWorkers {
		l.blame("%s: %d attempts at once, there are %d workers", what, l.running[node], simWorkers)
	}
	if l.covered(d, now) {
		l.blame("%s: behind a suspension", what)
	}
	if o := l.opens[hop{node, d}]; now.After(o.failed) && now.Before(o.earliest) && l.verb.Before(o.failed) {
		l.blame("%s: the next hop failed to open at %s, earliest is %s", what, o.failed.Format(time.TimeOnly), o.earliest.Format(time.TimeOnly))
	}
	if t.Envelope.NotBefore.After(now) && !slices.ContainsFunc(items, func(it queue.Item) bool { return it.By != "" }) {
		l.blame("%s: deferred delivery time is %s", what, t.Envelope.NotBefore)
	}
	if a := t.Envelope.NotAfter; !a.IsZero() && now.After(a) {
		l.blame("%s: latest delivery time was %s", what, a)
	}
	for i := range t.Envelope.Recipients {
		r := &t.Envelope.Recipients[i]
		l.beginOne(what, r, t, d, now)
		l.owned(what, r, append(items, trash...), now)
	}
	if t.Envelope.Kind == mail.KindReport {
		l.read(t.Envelope.ID, t.Envelope.About, t.Content)
	}
	l.say("%s begins, %s", what, l.sky[d])
	return l.sky[d]
}

func (l *ledger) beginOne(what string, r *mail.Recipient, t *connectors.Transfer, d queue.Dest, now time.Time) {
	f := l.fate(t.Envelope.ID, r)
	if f.running {
		l.blame("%s: %s is being tried elsewhere", what, f.rcpt)
	}
	f.running = true
	if f.failed > 0 || f.purged {
		l.blame("%s: %s has been reported on or purged", what, f.rcpt)
	}
	if f.delivered > 0 && !t.Repeated {
		l.blame("%s: %s has it already, and it does not say that it is repeated", what, f.rcpt)
	}
	// A verb that meets an attempt under way holds for what is left after it.
	if f.why == nil || f.why.Scope == mail.ScopeLink || f.dest != d || t.Repeated || !l.verb.Before(f.began) || l.upset(d).After(f.ended) {
		return
	}
	if earliest := f.ended.Add(interval(d.Connector, f.why)); now.Before(earliest) {
		l.blame("%s: %s was put off at %s until %s at least", what, f.rcpt, f.ended.Format(time.TimeOnly), earliest.Format(time.TimeOnly))
	}
}

// upset is when the next hop, or the other way to the same place, last failed to open: mail is looked at anew then.
func (l *ledger) upset(d queue.Dest) time.Time {
	var t time.Time
	for h, o := range l.opens {
		if (h.dest == d || d.Connector != "imc" && h.dest.Connector != "imc") && o.failed.After(t) {
			t = o.failed
		}
	}
	return t
}

// owned demands that exactly one entry of the store stands for a recipient under attempt, and that it is leased. A verb
// of this very moment may have taken it away meanwhile.
func (l *ledger) owned(what string, r *mail.Recipient, items []queue.Item, now time.Time) {
	n := 0
	for _, it := range items {
		for _, x := range it.Envelope.Recipients {
			if x.Address.Key() != r.Address.Key() {
				continue
			}
			n++
			if it.State != queue.Leased && l.verb.Before(now) {
				l.blame("%s: its entry %s is %s, not leased", what, it.ID, it.State)
			}
		}
	}
	if n != 1 && l.verb.Before(now) {
		l.blame("%s: %d entries of the store stand for %s", what, n, r.Address)
	}
}

func covers(s queue.Suspension, d queue.Dest, now time.Time) bool {
	return s.Dest.Connector == d.Connector && (s.Dest.Host == "" || s.Dest.Host == d.Host) && (s.Until.IsZero() || s.Until.After(now))
}

// unheard is a hand-over that the peer took without our hearing of it.
func (l *ledger) unheard(t *connectors.Transfer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range t.Envelope.Recipients {
		l.fate(t.Envelope.ID, &t.Envelope.Recipients[i]).doubt = true
	}
}

// end is called when an attempt leaves a far end; out is nil after a panic.
func (l *ledger) end(node string, d queue.Dest, t *connectors.Transfer, out []mail.Outcome) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[d]--
	l.running[node]--
	began := l.began[t]
	delete(l.began, t)
	var link *mail.Failure
	for i := range t.Envelope.Recipients {
		f := l.fate(t.Envelope.ID, &t.Envelope.Recipients[i])
		f.running, f.began, f.ended, f.dest, f.why = false, began, now, d, mail.LocalFault("panicked", nil)
		if len(out) == 0 {
			continue
		}
		f.why = out[i].Failure
		if f.why == nil {
			f.delivered++
		} else if f.why.Scope == mail.ScopeLink {
			link = f.why
		}
	}
	h := hop{node, d}
	switch o := l.opens[h]; {
	case link == nil:
		delete(l.opens, h)
	case began.After(o.failed): // otherwise it was under way when the link went down: nothing new
		l.opens[h] = opening{now, now.Add(interval(d.Connector, link))}
	}
	l.say("%s ends: %s", t.Key, outcomes(out))
}

func outcomes(out []mail.Outcome) string {
	var words []string
	for _, o := range out {
		w := string(o.State)
		if o.Failure != nil {
			w += " (" + o.Failure.Error() + ")"
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}

// read files what a report says, once.
func (l *ledger) read(id, about string, c mail.Content) {
	if l.reports[id] {
		return
	}
	l.reports[id] = true
	body, err := c.Open()
	if err != nil {
		l.blame("report %s: %v", id, err)
		return
	}
	rep, err := dsn.Parse(body)
	if cerr := body.Close(); err != nil || cerr != nil {
		l.blame("report %s: %v %v", id, err, cerr)
		return
	}
	for _, r := range rep.Recipients {
		f := l.fates[about+" "+r.Final.Key()]
		if f == nil {
			l.blame("report %s is about %s to %s, whom nobody wrote to", id, about, r.Final)
			continue
		}
		switch r.Action {
		case dsn.Failed:
			l.failures++
			if f.failed++; f.failed > 1 || f.delivered > 0 && !f.doubt {
				l.blame("report %s: failure of %s to %s, delivered %d times, reported %d times", id, about, f.rcpt, f.delivered, f.failed)
			}
		case dsn.Delayed:
			l.delays++
			if f.delayed++; f.delayed > 1 {
				l.blame("report %s: delay number %d of %s to %s", id, f.delayed, about, f.rcpt)
			}
		default:
			l.blame("report %s: %s of %s, which nobody asked for", id, r.Action, about)
		}
	}
}

func (l *ledger) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d attempts, %d of them repeated; %d recipients failed, %d late", l.attempts, l.repeats, l.failures, l.delays)
}
