package routing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Options are a site's switches.
type Options struct {
	// LeastCostOnly never uses a dearer connector while the cheapest is merely in open-retry; one that its schedule or
	// an operator has made inactive gives way (KB Q166567, Q193322). Equally cheap ones still avoid open-retry (Q186289).
	LeastCostOnly bool
	// FallbackLessSpecific tries the next best set of address spaces when no connector of the best one can send now.
	// Exchange never did (KB Q229961).
	FallbackLessSpecific bool
	// ORFallThrough lets an O/R address with a typed domain-defined attribute be routed by its O/R attributes when no
	// space serves the typed address inside. Off, because a catch-all c=* would swallow such mail (KB Q262112).
	ORFallThrough bool
	// BounceBack lets a message leave over the connector that it arrived on (KB Q251441).
	BounceBack bool
}

// Request is one recipient's question.
type Request struct {
	Recipient address.Address
	// ArrivedOn is the connector that leads straight back to where the message came from; "" when none does.
	ArrivedOn string
	// Tries is how often each connector was tried for this message; at MaxTries (if above 0) a connector is out.
	Tries    map[string]int
	MaxTries int
	Now      time.Time
	Options  Options
	// NextHop asks a connector what it calls the recipient's next hop. A final *mail.Failure says that it can't serve this
	// recipient, and is the Decision's failure when nobody else can. Any other error may pass: when nobody else can serve the
	// recipient, the Decision's failure is not final either. Nil: there is but one hop, named "".
	NextHop func(connector string, to address.Address) (string, error)
	// Links gives a next hop's state. Nil: all are up.
	Links func(connector, hop string) LinkState
	// Seed shares the load among connectors that are equal in everything: the same seed chooses the same one. 0 means
	// the first by name.
	Seed uint64
	// All lists the spaces of the recipient's type that do not match, too.
	All bool
}

// Candidate is one connector's claim of the recipient.
type Candidate struct {
	Connector string
	NextHop   string
	Space     address.Space
	Match     Match
	Literals  int // characters of the pattern that are not wildcards
	Local     bool
	Tries     int
	Link      LinkState
	Lost      string // why it was not chosen, one plain sentence; "" for the chosen one
}

// Decision is the answer. Either Chosen or Failure is set.
type Decision struct {
	Recipient address.Address
	// Native is the address that was matched, when it is not Recipient itself: the typed address inside an O/R address.
	Native address.Address
	// Chosen is the first of Candidates. When Wait is set it can't send now and neither can any other of the set: the
	// mail is held back for it.
	Chosen *Candidate
	Wait   bool
	// Candidates are ranked: those of the matched set by preference, then less specific spaces, then (when asked for)
	// spaces that do not match.
	Candidates []Candidate
	Failure    *mail.Failure
	// NoMatch goes with Failure: no space matches at all, so that a learned way may be tried.
	NoMatch bool
}

// Route ranks the connectors that claim a recipient and chooses one, after KB Q149121, Q152471, Q229961 (which spaces)
// and Q193322 (which connector among them). It never blocks unless Links or NextHop do.
func Route(t *Table, req Request) Decision {
	d := Decision{Recipient: req.Recipient}
	if req.Recipient.IsZero() {
		d.NoMatch, d.Failure = true, mail.NoRoute("the null address has no route")
		return d
	}
	hits, native := t.lookup(req.Recipient, req.Options)
	if native != req.Recipient {
		d.Native = native
	}
	sets := group(hits)
	best := -1
	for i, set := range sets {
		set.rank(&req, native)
		lead := set.lead()
		if lead != nil && (best < 0 || lead.Link.CanSend()) {
			best = i
			d.Wait = !lead.Link.CanSend()
		}
		if i == 0 && !req.Options.FallbackLessSpecific || best >= 0 && !d.Wait {
			break // the matched set is fixed: it never falls back to a less specific one (KB Q229961)
		}
	}
	if best > 0 { // fallback: the set that serves goes first
		set := sets[best]
		copy(sets[1:best+1], sets[:best])
		sets[0] = set
	}
	for i, set := range sets {
		d.Candidates = append(d.Candidates, set.candidates(&req, native, sets[0], i)...)
	}
	switch {
	case best >= 0:
		d.Chosen = &d.Candidates[0]
	case len(sets) == 0:
		d.NoMatch = true
		d.Failure = mail.NoRoute(noRouteText(req.Recipient, native))
	default:
		d.Failure = sets[0].failure(&req)
	}
	if req.All {
		d.Candidates = append(d.Candidates, t.others(native, hits)...)
	}
	return d
}

// lookup finds the matching spaces. A typed address inside an O/R address goes first, and alone (KB Q262112, Q183270).
func (t *Table) lookup(to address.Address, o Options) (hits []hit, native address.Address) {
	find := func(a address.Address) []hit {
		if t == nil || t.types[a.Type] == nil {
			return nil
		}
		tg := newTarget(a)
		return t.types[a.Type].find(&tg)
	}
	if to.Type == address.X400 && strings.Contains(to.Value, "dda:") {
		if or, err := to.ORAddress(); err == nil {
			if inside, ok := address.FromDDA(or, func(address.ORAddress) bool { return true }); ok {
				if hits := find(inside); len(hits) > 0 || !o.ORFallThrough {
					return hits, inside
				}
			}
		}
	}
	return find(to), to
}

func noRouteText(to, native address.Address) string {
	if to != native {
		return fmt.Sprintf("no address space matches %s, which is inside %s", native, to)
	}
	return fmt.Sprintf("no address space matches %s", to)
}

// group sorts hits into sets of equal rank, best first, one hit a connector: its cheapest.
func group(hits []hit) []*set {
	slices.SortStableFunc(hits, func(a, b hit) int { return b.rank.compare(a.rank) })
	var sets []*set
	for _, h := range hits {
		if n := len(sets); n > 0 && sets[n-1].rank0 == h.rank {
			sets[n-1].add(h)
			continue
		}
		s := &set{rank0: h.rank}
		s.add(h)
		sets = append(sets, s)
	}
	return sets
}

// others lists the spaces of the native address's type that are not among hits.
func (t *Table) others(native address.Address, hits []hit) []Candidate {
	if t == nil || t.types[native.Type] == nil {
		return nil
	}
	matched := map[*space]bool{}
	for _, h := range hits {
		matched[h.space] = true
	}
	var out []Candidate
	for _, s := range t.types[native.Type].all {
		if matched[s] {
			continue
		}
		lost := fmt.Sprintf("%s does not match %s", s.Space, native)
		if s.broken {
			lost = fmt.Sprintf("%s can't be read as an address space", s.Space)
		}
		out = append(out, Candidate{Connector: s.Connector, Space: s.Space, Match: NoMatch, Literals: s.literals, Local: s.Local, Lost: lost})
	}
	return out
}
