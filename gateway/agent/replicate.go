package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"backbone/connectors"
	"backbone/gateway/directory"
	"backbone/gateway/directory/replication"
)

// peer is a replication partner with what happened lately.
type peer struct {
	Partner
	status PeerStatus
	due    time.Time
	asked  time.Time // by mail, without an answer so far
	again  bool      // something to ask once the answer is here
}

// PeerStatus is a replication partner as an operator sees it.
type PeerStatus struct {
	Site     string               `json:"site"`
	By       string               `json:"by"` // the connector that asks directly, or "mail to ADDRESS"
	Cursor   directory.Cursor     `json:"cursor"`
	Head     directory.Cursor     `json:"head"` // the partner's, as last heard
	LastTry  time.Time            `json:"last_try,omitzero"`
	LastDone time.Time            `json:"last_done,omitzero"`
	Last     directory.Replicated `json:"last"` // what the last exchange that brought news did
	LastNews time.Time            `json:"last_news,omitzero"`
	Taken    int                  `json:"taken"` // since the start
	Sent     int                  `json:"sent"`  // objects, since the start
	Error    string               `json:"error,omitempty"`
}

// batchSize is how many objects travel at once.
const batchSize = 500

// errNotOurs says that nobody here serves an address.
var errNotOurs = errors.New("the directory agent serves the system mailbox of this site's shadow post office only")

// tell makes each partner due: the question that it gets says how far we are, and it will ask in turn.
func (a *Agent) tell() {
	a.mu.Lock()
	for _, p := range a.peers {
		p.due = time.Time{}
	}
	a.mu.Unlock()
	a.wake()
}

func (a *Agent) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// replicate asks each partner when it is due.
func (a *Agent) replicate(ctx context.Context) {
	for {
		now := time.Now()
		next := now.Add(time.Hour)
		for _, p := range a.o.Partners {
			a.mu.Lock()
			due := a.peers[p.Site].due
			a.mu.Unlock()
			if !due.After(now) {
				a.mu.Lock()
				a.peers[p.Site].due = now.Add(p.Interval)
				a.mu.Unlock()
				if err := a.Pull(ctx, p.Site); err != nil && ctx.Err() == nil {
					a.log.Warn("replication partner not reached", "site", p.Site, "err", err)
				}
				due = now.Add(p.Interval)
			}
			if due.Before(next) {
				next = due
			}
		}
		t := time.NewTimer(max(time.Until(next), time.Millisecond))
		select {
		case <-t.C:
		case <-a.kick:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// Pull asks a partner for its changes: directly when a connector can, to the end; else by mail, whose answer comes later.
func (a *Agent) Pull(ctx context.Context, site string) (err error) {
	a.mu.Lock()
	p := a.peers[site]
	if p == nil {
		a.mu.Unlock()
		return fmt.Errorf("site %s is no replication partner: %w", site, directory.ErrNotFound)
	}
	partner := p.Partner
	p.status.LastTry = time.Now()
	a.mu.Unlock()
	defer func() { a.note(site, err, err == nil && partner.Address.IsZero()) }()
	if !partner.Address.IsZero() {
		return a.ask(ctx, partner)
	}
	err = errors.New("no connector to it can compare directories, and it has no address for mail")
	for _, c := range a.joined {
		r, ok := c.(connectors.Replicator)
		if !ok || !contains(partner.Connectors, c.Name()) {
			continue
		}
		if err = a.pullOver(ctx, partner, r); err == nil {
			return nil
		}
	}
	return err
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// pullOver asks until there is nothing more.
func (a *Agent) pullOver(ctx context.Context, p Partner, r connectors.Replicator) error {
	for {
		q, err := a.question(p.Site)
		if err != nil {
			return err
		}
		text, err := r.Replicate(ctx, q.Encode())
		if err != nil {
			return err
		}
		ans, err := replication.DecodeAnswer(text)
		if err != nil {
			return err
		}
		if more, err := a.take(p.Site, ans); err != nil || !more {
			return err
		}
	}
}

func (a *Agent) question(site string) (replication.Question, error) {
	c, err := a.d.Cursor(site)
	if err != nil {
		return replication.Question{}, err
	}
	head, err := a.d.Head()
	return replication.Question{From: a.o.Site.Name, To: site, Since: c, Head: head}, err
}

// Answer answers a partner's question that came over a connector which knows who it is.
func (a *Agent) Answer(_ context.Context, site string, text []byte) ([]byte, error) {
	q, err := replication.DecodeQuestion(text)
	if err != nil {
		return nil, err
	}
	if q.From != site {
		return nil, fmt.Errorf("the question says that it is site %q's and comes from site %s", q.From, site)
	}
	ans, err := a.reply(q)
	if err != nil {
		return nil, err
	}
	return ans.Encode(), nil
}

// reply makes the answer, and learns from the question how far its site is.
func (a *Agent) reply(q replication.Question) (replication.Answer, error) {
	a.mu.Lock()
	p := a.peers[q.From]
	a.mu.Unlock()
	if p == nil || q.To != a.o.Site.Name {
		return replication.Answer{}, fmt.Errorf("site %s has no replication partner %q: add [[replication.partner]] there", a.o.Site.Name, q.From)
	}
	b, err := a.d.ChangesFor(q.Since, batchSize)
	if err != nil {
		return replication.Answer{}, err
	}
	head, err := a.d.Head()
	if err != nil {
		return replication.Answer{}, err
	}
	have, err := a.d.Cursor(q.From)
	if err != nil {
		return replication.Answer{}, err
	}
	a.mu.Lock()
	p.status.Sent += len(b.Changes)
	p.status.Head = q.Head
	behind := have != q.Head && q.Head.USN != 0
	if behind {
		p.due = time.Time{}
	}
	a.mu.Unlock()
	if behind {
		a.wake()
	}
	return replication.Answer{From: a.o.Site.Name, To: q.From, Batch: b, Head: head}, nil
}

// take applies an answer and tells whether to ask again at once.
func (a *Agent) take(site string, ans replication.Answer) (more bool, err error) {
	if ans.From != site || ans.To != a.o.Site.Name {
		return false, fmt.Errorf("site %s answered as %q for %q", site, ans.From, ans.To)
	}
	if ans.Batch.Reset != "" && ans.Batch.Reset != directory.ResetNew {
		a.log.Warn("replication begins at the beginning again", "site", site, "reason", string(ans.Batch.Reset))
	}
	r, err := a.d.Replicate(site, ans.Batch)
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.peers[site].status
	s.Head = ans.Head
	if n := r.Taken + r.Deleted; n > 0 {
		s.Taken += n
		s.Last, s.LastNews = r, time.Now()
		a.log.Info("directory replicated", "site", site, "taken", r.Taken, "recovered", r.Recovered, "deleted", r.Deleted, "refused", r.Refused)
	}
	return ans.Batch.More && !r.Stale, nil
}

// note keeps how an exchange ended.
func (a *Agent) note(site string, err error, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.peers[site].status
	s.Error = ""
	if err != nil {
		s.Error = err.Error()
	}
	if done {
		s.LastDone = time.Now()
	}
}

// Peers lists the replication partners.
func (a *Agent) Peers() ([]PeerStatus, error) {
	out := []PeerStatus{}
	for _, p := range a.o.Partners {
		c, err := a.d.Cursor(p.Site)
		if err != nil {
			return nil, err
		}
		a.mu.Lock()
		s := a.peers[p.Site].status
		a.mu.Unlock()
		s.Site, s.Cursor = p.Site, c
		if s.By = "mail to " + p.Address.String(); p.Address.IsZero() {
			s.By = p.Connectors[0]
		}
		out = append(out, s)
	}
	return out, nil
}
