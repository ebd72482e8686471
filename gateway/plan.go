package gateway

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/routing"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// failed is a recipient that won't be served, with the reason.
type failed struct {
	rcpt mail.Recipient
	why  *mail.Failure
}

// plan is where each recipient of a message goes now.
type plan struct {
	groups []group
	failed []failed
}

// group is the recipients that share a destination.
type group struct {
	dest queue.Dest
	rcpt []mail.Recipient
	// waiting is set when the destination can't be tried now: nothing better exists, so its mail waits for it.
	waiting *routing.LinkState
	// route is how the first of the recipients came to go there, for the timeline.
	route []tracking.Candidate
}

// resolve finds each recipient's true address: proxies and aliases through the directory, encapsulated forms undone,
// duplicates merged. Recipients that can't exist come back as failed.
func (g *Gateway) resolve(rs []mail.Recipient) (out []mail.Recipient, bad []failed) {
	seen := make(map[string]bool, len(rs))
	for _, r := range rs {
		native := g.o.Directory.Native(r.Address)
		res, err := g.o.Directory.Resolve(native)
		if err != nil {
			bad = append(bad, failed{r, mail.AsFailure(err)})
			continue
		}
		to := res.Target
		if to.Type == address.SMTP && !res.Known {
			if local, domain, ok := cutLast(to.Value, '@'); ok && g.isOurDomain(domain) {
				if !strings.EqualFold(local, "postmaster") {
					bad = append(bad, failed{r, mail.UnknownRecipient(fmt.Sprintf("no such recipient here: %s", to.Value))})
					continue
				}
				if !g.o.Site.Postmaster.IsZero() {
					to = g.o.Site.Postmaster
				}
			}
		}
		if r.ORCPT == "" && to != r.Address {
			r.ORCPT = orcpt(r.Address)
		}
		r.Address = to
		if r.Name == "" {
			r.Name = res.Name
		}
		if k := to.Key(); !seen[k] {
			seen[k] = true
			out = append(out, r)
		}
	}
	return out, bad
}

// plan routes resolved recipients. Tries is how often each connector has been tried for them; size is the content's.
func (g *Gateway) plan(ctx context.Context, env *mail.Envelope, rs []mail.Recipient, tries map[string]int, size int64, now time.Time) plan {
	var p plan
	index := map[queue.Dest]int{}
	for _, r := range rs {
		dest, dec := g.route(r.Address, env, tries, now)
		if dec.Failure != nil {
			p.failed = append(p.failed, failed{r, dec.Failure})
			continue
		}
		// Directory synchronization is exempt from size limits (KB Q133719).
		if m := g.members()[dest.Connector]; m.MaxSize > 0 && size > m.MaxSize && env.Extra["system"] == "" {
			p.failed = append(p.failed, failed{r, mail.TooLarge(fmt.Sprintf("the message has %d octets, %s takes %d", size, dest.Connector, m.MaxSize))})
			continue
		}
		i, ok := index[dest]
		if !ok {
			i = len(p.groups)
			index[dest] = i
			gr := group{dest: dest, route: ranked(dec)}
			if st := dec.Chosen.Link; !st.CanSend() {
				gr.waiting = &st
			}
			p.groups = append(p.groups, gr)
		}
		p.groups[i].rcpt = append(p.groups[i].rcpt, r)
	}
	return p
}

// maxRanked bounds how many candidates a timeline's entry names.
const maxRanked = 10

// ranked is a decision as the timeline keeps it: the winner, then why each other lost.
func ranked(dec routing.Decision) []tracking.Candidate {
	out := make([]tracking.Candidate, 0, min(len(dec.Candidates), maxRanked))
	for _, c := range dec.Candidates[:cap(out)] {
		t := tracking.Candidate{Connector: c.Connector, Space: c.Space.String(), Match: string(c.Match), Cost: c.Space.Cost, Lost: c.Lost}
		if !c.Link.CanSend() {
			t.Link = c.Link.String()
		}
		out = append(out, t)
	}
	return out
}

// route is the one place where a recipient gets its destination: the routing table first, then the way back that was
// learned from mail that came from there.
func (g *Gateway) route(to address.Address, env *mail.Envelope, tries map[string]int, now time.Time) (queue.Dest, routing.Decision) {
	if g.isLocalPostmaster(to) {
		c := routing.Candidate{
			Connector: postmasterDest.Connector, NextHop: postmasterDest.Host, Match: routing.Exact, Local: true,
			Link:  g.memberState(postmasterDest.Connector, postmasterDest.Host, now),
			Space: address.Space{Type: to.Type, Pattern: to.Value, Cost: 1, Origin: "postmaster of our domains"},
		}
		return postmasterDest, routing.Decision{Recipient: to, Chosen: &c, Candidates: []routing.Candidate{c}}
	}
	dec := routing.Route(g.Table(), g.request(to, env, tries, now))
	if dec.Failure != nil && g.settings().ReplyRoutes > 0 && dec.NoMatch {
		if l, ok := g.o.Directory.Learned(to); ok {
			if m, ok := g.members()[l.Connector]; ok {
				if hop, err := m.NextHop(to); err == nil {
					c := routing.Candidate{
						Connector: l.Connector, NextHop: hop, Match: routing.Learned, Link: g.linkState(l.Connector, hop, now),
						Space: address.Space{Type: to.Type, Pattern: to.Value, Cost: 100, Origin: "learned from mail that came that way on " + l.At.UTC().Format(time.DateOnly)},
					}
					dec = routing.Decision{Chosen: &c, Candidates: append(dec.Candidates, c)}
				}
			}
		}
	}
	if dec.Failure != nil {
		return queue.Dest{}, dec
	}
	return queue.Dest{Connector: dec.Chosen.Connector, Host: dec.Chosen.NextHop}, dec
}

// request builds the question that routing answers. The message's identifier shares the load among equal connectors,
// so that one message takes one way at every attempt.
func (g *Gateway) request(to address.Address, env *mail.Envelope, tries map[string]int, now time.Time) routing.Request {
	req := routing.Request{
		Recipient: to, Tries: tries, MaxTries: g.settings().OpenRetries, Now: now, Options: g.settings().Selection, Seed: seed(env.ID),
		NextHop: func(connector string, to address.Address) (string, error) {
			m, ok := g.members()[connector]
			if !ok {
				return "", mail.NoRoute("connector " + connector + " is not configured")
			}
			return m.NextHop(to)
		},
		Links: func(connector, hop string) routing.LinkState { return g.memberState(connector, hop, now) },
	}
	// Never straight back to the peer that it came from; but the same connector may well lead elsewhere (another
	// post office of the site, another SMTP host).
	if m, ok := g.members()[env.Source.Connector]; ok {
		if hop, err := m.NextHop(to); err == nil && hop == env.Source.Peer {
			req.ArrivedOn = env.Source.Connector
		}
	}
	return req
}

func seed(id string) uint64 {
	if id == "" {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// memberState adds what the configuration says of the link to what happened on it.
func (g *Gateway) memberState(connector, hop string, now time.Time) routing.LinkState {
	st := g.linkState(connector, hop, now)
	if st.State != routing.Up {
		return st
	}
	switch g.members()[connector].Schedule {
	case "never":
		return routing.LinkState{State: routing.Never, Why: "schedule = never"}
	case "remote":
		return routing.LinkState{State: routing.RemoteInitiated, Why: "schedule = remote: only when the peer calls"}
	}
	return st
}

// items makes queue items of a plan's groups.
func (g *Gateway) items(env mail.Envelope, p plan, now time.Time) []queue.Item {
	out := make([]queue.Item, 0, len(p.groups))
	for _, gr := range p.groups {
		e := env
		e.Recipients = gr.rcpt
		it := queue.Item{Envelope: e, Dest: gr.dest, State: queue.Ready, Created: now, Next: now, Expires: g.settings().Policy.ExpiresAt(&env)}
		if env.NotBefore.After(now) {
			it.Next = env.NotBefore
		} else if gr.waiting != nil {
			it.Next = g.parkUntil(&it, gr.waiting, now)
		}
		out = append(out, it)
	}
	return out
}

// parkUntil is when an item that waits for a link must be looked at again even if the link stays down: for the delay
// notice, for giving up after all open retries, for expiry. When the link opens again the item is fetched at once.
func (g *Gateway) parkUntil(it *queue.Item, st *routing.LinkState, now time.Time) time.Time {
	if it.Envelope.NotBefore.After(now) {
		return it.Envelope.NotBefore // only from then on it waits for the link
	}
	t := it.Expires
	if at := g.settings().Policy.DelayAt(it); at.After(now) && at.Before(t) {
		t = at
	}
	if st.State == routing.OpenRetry {
		if at := g.exhaustedAt(it, st.Since); at.After(now) && at.Before(t) {
			t = at
		}
	}
	if !t.After(now) {
		t = now.Add(g.settings().Policy.OpenInterval)
	}
	return t
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// orcpt is the RFC 3461 spelling of an address as its originator wrote it.
func orcpt(a address.Address) string {
	switch a.Type {
	case address.SMTP:
		return "rfc822;" + a.Value
	case address.X400:
		return "x400;" + a.Value
	}
	return strings.ToLower(string(a.Type)) + ";" + a.Value
}
