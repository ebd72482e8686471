package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
)

// check holds the store against the ledger, between steps, when all that can happen now has happened.
func (s *sim) check() {
	now := time.Now()
	r := s.up()[0].r
	items := r.waiting()
	trash := r.list(queue.Filter{State: queue.Trash})
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[*fate]*queue.Item{}
	for _, it := range append(items, trash...) {
		for i := range it.Envelope.Recipients {
			f := l.fate(it.Envelope.ID, &it.Envelope.Recipients[i])
			if seen[f] != nil {
				l.blame("%s to %s is in two entries: %s and %s", f.msg, f.rcpt, seen[f].ID, it.ID)
			}
			seen[f] = &it
			if f.trashed = (time.Time{}); it.State == queue.Trash {
				f.trashed = it.Changed
			}
		}
		if it.Envelope.Kind == mail.KindReport {
			l.read(it.Envelope.ID, it.Envelope.About, r.store.Body(it.Body))
		}
	}
	for _, f := range l.fates {
		s.checkFate(f, seen[f], now)
	}
	open := s.openWays(now)
	for i := range items {
		if it := &items[i]; it.State == queue.Ready {
			if why := s.stuck(it, open, now); why != "" {
				if l.odd[it.ID].IsZero() {
					l.odd[it.ID] = now
				}
				if now.Sub(l.odd[it.ID]) >= s.patience(why) {
					l.blame("stuck, %s: %s", why, itemLine(it))
				}
				continue
			}
			delete(l.odd, it.ID)
		}
	}
	for _, w := range l.wrong {
		s.t.Error(w)
	}
	l.wrong = nil
}

func (s *sim) checkFate(f *fate, it *queue.Item, now time.Time) {
	ended := f.delivered > 0 || f.failed > 0 || f.purged
	switch {
	case it == nil && f.accepted && !ended && f.trashed.IsZero():
		s.ledger.blame("lost: %s to %s is nowhere, and nobody was told", f.msg, f.rcpt)
	case it == nil && f.accepted && !ended && now.Sub(f.trashed) < queue.TrashFor:
		s.ledger.blame("lost: %s to %s has left the trash, where it was since %s", f.msg, f.rcpt, f.trashed)
	case it != nil && (f.failed > 0 || f.purged):
		s.ledger.blame("not final: %s to %s was reported on %d times, purged %t, and is still there: %s", f.msg, f.rcpt, f.failed, f.purged, itemLine(it))
	case it != nil && f.delivered > 0 && !it.Unknown && it.State != queue.Leased:
		s.ledger.blame("not final: %s to %s was delivered, and waits as if it had not been: %s", f.msg, f.rcpt, itemLine(it))
	}
}

// openWays tells which next hops all gateways that are up take for open themselves.
func (s *sim) openWays(now time.Time) func(queue.Dest) bool {
	shut := map[queue.Dest]bool{}
	for _, n := range s.up() {
		for _, k := range n.r.g.Links() {
			shut[k.Dest] = true
		}
	}
	return func(d queue.Dest) bool { return !shut[d] && !s.ledger.covered(d, now) }
}

const (
	another = "another way is open"
	overdue = "it is due"
)

// patience is how long mail may be in an odd state before that counts: what is to be noticed by nobody but the next
// attempt of some other message takes an interval, and as long as that attempt may hang.
func (s *sim) patience(why string) time.Duration {
	if why == another {
		return s.kind.late + 15*time.Minute + simHangs
	}
	return s.kind.late
}

// stuck says why an entry should not be waiting, "" when it should.
func (s *sim) stuck(it *queue.Item, open func(queue.Dest) bool, now time.Time) string {
	l, d := s.ledger, it.Dest
	workers := slices.ContainsFunc(s.up(), func(n *simNode) bool { return l.running[n.name] < simWorkers })
	room := func(d queue.Dest) bool { return l.busy[d] < s.window(d) && workers }
	if !it.Next.After(now) {
		if room(d) && !l.covered(d, now) {
			return overdue
		}
		return ""
	}
	if it.Envelope.NotBefore.After(now) {
		return ""
	}
	forLink := it.Last == nil || it.Last.Scope == mail.ScopeLink
	switch longest := s.longest(it); {
	case !forLink && it.By == "" && it.Next.Sub(now) > longest:
		return fmt.Sprintf("no schedule has a wait of more than %s", longest)
	case forLink && open(d) && room(d):
		return "its link is open"
	case forLink && !open(d) && !pinned(it):
		for _, other := range []queue.Dest{{Connector: "site", Host: "SITEB"}, {Connector: "x400", Host: "MTAB"}} {
			if other.Connector != d.Connector && (d.Connector == "site" || d.Connector == "x400") && open(other) && room(other) {
				return another
			}
		}
	}
	return ""
}

func (s *sim) longest(it *queue.Item) time.Duration {
	wait := 10 * time.Minute
	if it.Dest.Connector == "imc" {
		wait = 4 * time.Hour
	}
	if it.Last != nil {
		wait = max(wait, it.Last.RetryAfter)
	}
	return wait + wait/10
}

func (s *sim) window(d queue.Dest) int {
	for _, w := range s.nodes[0].wires {
		if w.name == d.Connector {
			return w.parallel
		}
	}
	return 0
}

func pinned(it *queue.Item) bool {
	for k := range it.Tries {
		if strings.HasPrefix(k, "!via:") {
			return true
		}
	}
	return false
}

func itemLine(it *queue.Item) string {
	last := ""
	if it.Last != nil {
		last = fmt.Sprintf(", last (%s): %s", it.Last.Scope, it.Last.Error())
	}
	return fmt.Sprintf("entry %s (%s %s) %s to %s, next %s, expires %s, attempts %d %v, unknown %t, by %q%s", it.ID, it.Envelope.Kind, it.Envelope.ID, it.State, it.Dest,
		it.Next.Format("02 15:04:05"), it.Expires.Format("02 15:04:05"), it.Attempts, it.Tries, it.Unknown, it.By, last)
}
