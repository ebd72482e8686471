// Package monitor is the link monitor: at intervals it sends a small message over each watched way and waits for the
// report on it, as Exchange's did, so that a link that takes mail and loses it is noticed before its users do.
//
// It owns the pings, what came back and the state that follows: normal, warning, alert. It is a connector and a source
// like any other: pings go the way of all mail, through the queue and the routing of the moment, from the mailbox LINKMON
// of the site's shadow post office; reports come back to it. It changes nothing: a state is shown, counted and alarmed
// on, and mail goes on as routing decides. State is memory only; after a restart a link is unknown until its first answer.
package monitor

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Name is the connector's name.
const Name = "linkmonitor"

// Mailbox is where pings come from, and where those of joined sites may be sent to: it takes them and so causes a report.
const Mailbox = "LINKMON"

// Link is a watched way. The times are those of Exchange's link monitor: it enters the warning state when a ping has been
// out for Warning, the alert state after Alert, and asks every Critical instead of every Interval in either.
type Link struct {
	Name           string
	To             address.Address
	Interval       time.Duration
	Critical       time.Duration
	Warning, Alert time.Duration
}

// State is how a way is doing.
type State string

const (
	Unknown State = "unknown" // no ping has come back yet, and none is late
	Normal  State = "normal"
	Warning State = "warning"
	Alert   State = "alert"
)

// Status is a watched way for operators.
type Status struct {
	Name  string `json:"name"`
	To    string `json:"to"`
	State State  `json:"state"`
	// RoundTrip is the latest ping's that came back, Back when it did. Oldest is when the oldest one that is out was sent.
	RoundTrip time.Duration `json:"round_trip_ns,omitempty"`
	Back      time.Time     `json:"back,omitzero"`
	Oldest    time.Time     `json:"oldest,omitzero"`
	Sent      int64         `json:"sent"`
	Returned  int64         `json:"returned"`
	// Why is the last thing known that is not well: a ping could not be sent, or the answer was this site's own.
	Why string `json:"why,omitempty"`
}

// Monitor is the link monitor. All methods are safe for concurrent use.
type Monitor struct {
	self  address.Address // zero: the site has no shadow post office, nothing is watched
	log   *slog.Logger
	mu    sync.Mutex
	links []*watched
}

type watched struct {
	Link
	out       map[string]time.Time // pings that are out, by their word
	roundTrip time.Duration
	back      time.Time
	sent      int64
	returned  int64
	why       string
	state     State // as it was last logged
}

// New returns a monitor of links. Nothing is sent before Serve. ms is the site's shadow post office, NET/PO.
func New(ms string, links []Link, log *slog.Logger) *Monitor {
	m := &Monitor{log: log}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if po, err := address.ParsePostOffice(ms); err == nil {
		po.Mailbox = Mailbox
		m.self, _ = po.Address() // a post office that parses, with a mailbox that does
	}
	for _, l := range links {
		m.links = append(m.links, &watched{Link: l, out: map[string]time.Time{}, state: Unknown})
	}
	return m
}

// Name is the connector's.
func (m *Monitor) Name() string { return Name }

// Spaces is the monitor's mailbox.
func (m *Monitor) Spaces() []address.Space {
	if m.self.IsZero() {
		return nil
	}
	return []address.Space{{Type: address.MS, Pattern: m.self.Value, Cost: 1, Scope: "organization", Origin: "link monitor"}}
}

// NextHop is the monitor itself.
func (m *Monitor) NextHop(to address.Address) (string, error) {
	if m.self.IsZero() || !to.Equal(m.self) {
		return "", mail.UnknownRecipient("the link monitor has one mailbox only")
	}
	return "monitor", nil
}

// Serve sends pings until ctx ends: the first ones at once.
func (m *Monitor) Serve(ctx context.Context, gw connectors.Acceptor) error {
	var wg sync.WaitGroup
	for _, w := range m.links {
		wg.Go(func() { m.watch(ctx, gw, w) })
	}
	wg.Wait()
	<-ctx.Done()
	return nil
}

func (m *Monitor) watch(ctx context.Context, gw connectors.Acceptor, w *watched) {
	for {
		m.ping(ctx, gw, w)
		st := m.look(w, time.Now())
		wait := w.Interval
		if st == Warning || st == Alert {
			wait = w.Critical
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// maxOut bounds the pings of one way that are out: a way that loses everything is asked on, the newest ones count.
const maxOut = 100

func (m *Monitor) ping(ctx context.Context, gw connectors.Acceptor, w *watched) {
	now, word := time.Now(), "ping-"+rand.Text()
	text := fmt.Sprintf("Subject: Link monitor %s\r\nMessage-ID: <%s@%s>\r\nDate: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nThe link monitor asks whether mail gets through. %s\r\n",
		word, word, strings.ToLower(strings.ReplaceAll(m.self.Value, "/", ".")), now.Format(time.RFC1123Z), word)
	m.mu.Lock()
	if len(w.out) >= maxOut {
		oldest := word
		for k, at := range w.out {
			if oldest == word || at.Before(w.out[oldest]) && at.After(now.Add(-w.Alert)) {
				oldest = k
			}
		}
		delete(w.out, oldest)
	}
	w.out[word] = now
	w.sent++
	m.mu.Unlock()
	_, err := gw.Accept(ctx, connectors.Submission{
		Envelope: mail.Envelope{
			ID: word, MessageID: word, Originator: m.self, Name: "Link monitor", Subject: "Link monitor " + word, EnvID: word, NotAfter: now.Add(2 * w.Alert),
			Recipients: []mail.Recipient{{Address: w.To, Notify: mail.NotifySuccess | mail.NotifyFailure}}, Source: mail.Source{Connector: Name, Peer: w.Link.Name, Authenticated: true},
		},
		Content: strings.NewReader(text),
	})
	if err != nil && ctx.Err() == nil {
		m.mu.Lock()
		delete(w.out, word)
		w.why = "a ping could not be sent: " + err.Error()
		m.mu.Unlock()
		m.log.Warn("link monitor: a ping could not be sent", "link", w.Link.Name, "err", err)
	}
}

// Deliver takes what comes to the monitor's mailbox: reports on its pings, and pings of joined sites, whose report proves
// the way to here.
func (m *Monitor) Deliver(_ context.Context, t *connectors.Transfer) []mail.Outcome {
	words := "taken by the link monitor"
	if t.Envelope.Kind == mail.KindReport {
		text, err := head(t.Content)
		if err != nil {
			return slices.Repeat([]mail.Outcome{{State: mail.Deferred, Failure: mail.LocalFault("the report can't be read", err)}}, len(t.Envelope.Recipients))
		}
		words = m.report(&t.Envelope, text, time.Now())
	}
	return slices.Repeat([]mail.Outcome{{State: mail.Delivered, Peer: words}}, len(t.Envelope.Recipients))
}

// head is as much of a report as has the returned header in it.
func head(c mail.Content) (string, error) {
	f, err := c.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return string(b), err
}

var delayed = regexp.MustCompile(`(?mi)^Action:\s*delayed\b`)

// report files a report. One of this site's own says nothing about the way there and back, and a delay notice nothing final.
func (m *Monitor) report(env *mail.Envelope, text string, now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.links {
		for word, sent := range w.out {
			if env.About != word && !strings.Contains(text, word) {
				continue
			}
			if env.Source.Connector == "gateway" {
				w.why = "this site itself reported on a ping: " + env.Subject
				return "a report of our own on " + word
			}
			if delayed.MatchString(text) {
				return "a delay notice on " + word
			}
			delete(w.out, word)
			// What was sent before it and did not come back is overtaken: the way works.
			for k, at := range w.out {
				if at.Before(sent) {
					delete(w.out, k)
				}
			}
			w.roundTrip, w.back, w.why = now.Sub(sent), now, ""
			w.returned++
			m.change(w, w.stateAt(now))
			return "the report on " + word + ", after " + w.roundTrip.Round(time.Millisecond).String()
		}
	}
	return "a report on nothing that is known here"
}

// stateAt is the way's state. m.mu is held.
func (w *watched) stateAt(now time.Time) State {
	var age time.Duration
	for _, at := range w.out {
		age = max(age, now.Sub(at))
	}
	switch {
	case age >= w.Alert:
		return Alert
	case age >= w.Warning:
		return Warning
	case w.back.IsZero():
		return Unknown
	case w.roundTrip >= w.Alert:
		return Alert
	case w.roundTrip >= w.Warning:
		return Warning
	}
	return Normal
}

func (m *Monitor) look(w *watched, now time.Time) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := w.stateAt(now)
	m.change(w, st)
	return st
}

// change logs a new state, once. m.mu is held.
func (m *Monitor) change(w *watched, st State) {
	if st == w.state {
		return
	}
	level := slog.LevelInfo
	if st == Warning || st == Alert {
		level = slog.LevelWarn
	}
	m.log.Log(context.Background(), level, "link monitor", "link", w.Link.Name, "state", st, "was", w.state, "dest", w.To.String())
	w.state = st
}

// Status lists the watched ways as they are now, by name.
func (m *Monitor) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	out := make([]Status, 0, len(m.links))
	for _, w := range m.links {
		s := Status{Name: w.Link.Name, To: w.To.String(), State: w.stateAt(now), RoundTrip: w.roundTrip, Back: w.back, Sent: w.sent, Returned: w.returned, Why: w.why}
		for _, at := range w.out {
			if s.Oldest.IsZero() || at.Before(s.Oldest) {
				s.Oldest = at
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return out
}
