package routing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

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
	switch {
	case c.Match == TypeOnly:
		return "whole type"
	case c.Match == Partial && c.Space.Type == address.MS && strings.Contains(c.Space.Pattern, "/"):
		return "a literal post office"
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
	case m.failure != nil && !m.failure.Final(): // what a fault of ours hides may be the way
		return 4
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
