package routing

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// set is the connectors whose spaces match a recipient equally well.
type set struct {
	rank0   rank
	hits    []hit
	members []member // filled and sorted by rank
}

// member is a connector while it is compared.
type member struct {
	Candidate
	dropped string        // why it is out, "" when it is not
	drop    drop          // which rule put it out
	failure *mail.Failure // what NextHop said
	share   uint64
}

type drop int

const (
	kept drop = iota
	arrivedOn
	exhausted
	unable
)

// add takes h in, unless its connector is there already with a space that costs no more.
func (s *set) add(h hit) {
	for i, o := range s.hits {
		if o.Connector == h.Connector {
			if h.Space.Cost < o.Space.Cost {
				s.hits[i] = h
			}
			return
		}
	}
	s.hits = append(s.hits, h)
}

// rank finds each member's state and sorts by preference.
func (s *set) rank(req *Request, native address.Address) {
	for _, h := range s.hits {
		m := member{Candidate: candidate(h)}
		m.Tries = req.Tries[h.Connector]
		if req.Seed != 0 {
			m.share = share(req.Seed, h.Connector)
		}
		s.consult(&m, req, native)
		s.members = append(s.members, m)
	}
	slices.SortFunc(s.members, func(a, b member) int {
		c, _ := compare(&a, &b, req.Options.LeastCostOnly)
		return c
	})
}

func candidate(h hit) Candidate {
	return Candidate{Connector: h.Connector, Space: h.Space, Match: h.match, Literals: h.space.literals, Local: h.Local}
}

// consult applies the eliminating steps of KB Q193322: 1, not back over the connector that it arrived on; 2, not
// beyond the connector's maximum of retries; and ours, not over one that says it can't serve the address.
func (s *set) consult(m *member, req *Request, native address.Address) {
	if req.NextHop != nil {
		hop, err := req.NextHop(m.Connector, native)
		if err != nil {
			m.drop, m.dropped = unable, "it can't serve this address: "+err.Error()
			errors.As(err, &m.failure)
			return
		}
		m.NextHop = hop
	}
	if req.Links != nil {
		m.Link = req.Links(m.Connector, m.NextHop)
	}
	if m.Link.State == "" {
		m.Link.State = Up
	}
	switch {
	case req.ArrivedOn != "" && m.Connector == req.ArrivedOn && !req.Options.BounceBack:
		m.drop, m.dropped = arrivedOn, "the message came from there: it would go straight back"
	case req.MaxTries > 0 && m.Tries >= req.MaxTries:
		m.drop, m.dropped = exhausted, fmt.Sprintf("it is at its maximum of %d open retries for this message", req.MaxTries)
	}
}

// lead is the member to use or to wait for; nil when all are dropped.
func (s *set) lead() *member {
	if len(s.members) == 0 || s.members[0].drop != kept {
		return nil
	}
	return &s.members[0]
}

// compare prefers a (-1) or b (1), and names the rule that decided. It is KB Q193322's order but for one thing: a link
// that can't send now loses to one that can before attempts are counted, not after, so that a dead or suspended link
// attracts nothing (KB Q238719).
func compare(a, b *member, leastCostOnly bool) (int, rule) {
	if (a.drop == kept) != (b.drop == kept) {
		return cmp.Compare(min(a.drop, 1), min(b.drop, 1)), byDrop
	}
	if leastCostOnly {
		if a.Link.active() != b.Link.active() {
			return cmp.Compare(a.Link.soonness(), b.Link.soonness()), byState
		}
		if c := cmp.Compare(a.Space.Cost, b.Space.Cost); c != 0 {
			return c, byCost
		}
	}
	if c := cmp.Compare(a.Link.soonness(), b.Link.soonness()); c != 0 {
		return c, byState
	}
	if c := cmp.Compare(a.Tries, b.Tries); c != 0 {
		return c, byTries
	}
	if c := cmp.Compare(a.Space.Cost, b.Space.Cost); c != 0 {
		return c, byCost
	}
	if a.Local != b.Local {
		if a.Local {
			return -1, byLocal
		}
		return 1, byLocal
	}
	return cmp.Or(cmp.Compare(a.share, b.share), cmp.Compare(a.Connector, b.Connector)), byShare
}

type rule int

const (
	byDrop rule = iota
	byState
	byTries
	byCost
	byLocal
	byShare
)

// share spreads messages over equal connectors by their seed, the same way each time. The last lines are splitmix64's
// finish: FNV alone leaves names that differ in their last letter too close together.
func share(seed uint64, connector string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(connector)) // never fails
	x := h.Sum64() ^ seed*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// candidates turns the set into the decision's lines, with the reason why each was not chosen. serving is the set
// that was chosen from; at is this one's place after it.
func (s *set) candidates(req *Request, native address.Address, serving *set, at int) []Candidate {
	if s.members == nil {
		out := make([]Candidate, 0, len(s.hits))
		for _, h := range s.hits {
			c := candidate(h)
			c.Tries = req.Tries[h.Connector]
			c.Lost = lessSpecific(c, serving)
			out = append(out, c)
		}
		slices.SortFunc(out, func(a, b Candidate) int {
			return cmp.Or(cmp.Compare(a.Space.Cost, b.Space.Cost), cmp.Compare(a.Connector, b.Connector))
		})
		return out
	}
	out := make([]Candidate, 0, len(s.members))
	for i := range s.members {
		m := &s.members[i]
		switch {
		case m.drop != kept:
			m.Lost = m.dropped
		case at > 0 && serving.rank0.compare(s.rank0) < 0:
			m.Lost = "more specific, but it can't send now: " + m.Link.String()
		case at > 0:
			m.Lost = lessSpecific(m.Candidate, serving)
		case i > 0:
			m.Lost = lost(m, &s.members[0], req.Options.LeastCostOnly)
		}
		out = append(out, m.Candidate)
	}
	return out
}

func lessSpecific(c Candidate, serving *set) string {
	best := candidate(serving.hits[0])
	return fmt.Sprintf("%s is less specific (%s) than %s (%s); cost does not count between them", c.Space, grade(c), best.Space, grade(best))
}

func grade(c Candidate) string {
	if c.Match == TypeOnly {
		return "whole type"
	}
	return fmt.Sprintf("%s, %d literal characters", c.Match, c.Literals)
}

// lost says by which rule m came after the winner.
func lost(m, winner *member, leastCostOnly bool) string {
	_, r := compare(winner, m, leastCostOnly)
	switch r {
	case byState:
		if winner.Link.CanSend() {
			return fmt.Sprintf("it is %s; %s can send now", m.Link, winner.Connector)
		}
		return fmt.Sprintf("it is %s; %s will be able to send sooner", m.Link, winner.Connector)
	case byTries:
		return fmt.Sprintf("it was tried %d times for this message, %s %d times", m.Tries, winner.Connector, winner.Tries)
	case byCost:
		return fmt.Sprintf("cost %d, %s costs %d", m.Space.Cost, winner.Connector, winner.Space.Cost)
	case byLocal:
		return fmt.Sprintf("another gateway's connector; %s is this gateway's own", winner.Connector)
	}
	return fmt.Sprintf("equal to %s, which this message's share of the load fell to", winner.Connector)
}

// failure says why no member takes the recipient, by the reason that says most.
func (s *set) failure(req *Request) *mail.Failure {
	worst := s.members[0]
	for _, m := range s.members {
		if m.closeness() > worst.closeness() {
			worst = m
		}
	}
	to := req.Recipient
	switch {
	case worst.drop == exhausted:
		return &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeRecipient, Code: 554, Enhanced: "5.4.1", Reason: 1, Diagnostic: 2, MSMail: 5,
			Text: fmt.Sprintf("%s could not be reached: every connector for it (%s) was tried %d times", to, s.names(), req.MaxTries)}
	case worst.drop == arrivedOn:
		f := mail.Loop(fmt.Sprintf("the only route to %s leads back over %s, where the message came from", to, worst.Connector))
		f.Scope = mail.ScopeRecipient
		return f
	case worst.failure != nil:
		return worst.failure
	}
	return mail.NoRoute(fmt.Sprintf("%s: %s", to, worst.dropped))
}

// closeness orders the reasons for a failure by how much they say.
func (m *member) closeness() int {
	switch {
	case m.drop == exhausted:
		return 3
	case m.drop == arrivedOn:
		return 2
	case m.failure != nil:
		return 1
	}
	return 0
}

func (s *set) names() string {
	var out string
	for i, m := range s.members {
		if i > 0 {
			out += ", "
		}
		out += m.Connector
	}
	return out
}
