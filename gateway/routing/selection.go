package routing

import (
	"cmp"
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
			m.drop, m.dropped, m.failure = unable, "it can't serve this address: "+err.Error(), mail.AsFailure(err)
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
