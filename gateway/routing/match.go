package routing

import (
	"cmp"
	"strings"

	"backbone/gateway/address"
)

// Match is how a space's pattern matches a recipient, best first (KB Q152471, Q229961): an exact string beats a
// wildcard, which beats a partial string (a prefix), which beats a type without any pattern. The better match wins
// whatever its cost.
type Match string

const (
	Exact    Match = "exact"
	Wildcard Match = "wildcard"
	Partial  Match = "partial"
	TypeOnly Match = "type"    // the pattern is empty
	Learned  Match = "learned" // no space: the way back that mail from there took; below all others (*ours*)
	NoMatch  Match = "none"
)

// rank orders spaces that match one recipient. The set of spaces with the best rank is what selection works on.
//
// Two departures from the KB's order, both *ours*. In MS spaces a literal network and post office stand above wildcards
// that leave one of them open: MS:NORTHWIND/PO2 is what the operator wrote for PO2, and MS:NORTHWIND/PO% is not. And
// O/R addresses are compared attribute by attribute from the country down, a literal before a wildcard before nothing,
// because there c=* would otherwise beat c=US;a= ;p=Northwind (KB Q262112 is what comes of that).
type rank struct {
	class    int
	path     uint64 // O/R only: two bits an attribute
	literals int    // characters that are not wildcards
	elements int    // non-blank elements (MS) or attributes (X400)
}

const (
	rankExact      = 60
	rankMSInside   = 50 // literal NET/PO, wildcard mailbox
	rankMSPostbox  = 40 // literal NET/PO
	rankWildcard   = 30
	rankPartial    = 20
	rankType       = 10
	literalField   = 2
	wildcardField  = 1
	bitsPerField   = 2
	wildcards      = "*%"
	routingFields  = 8 // c, a, p, o, ou1..ou4
	fieldSeparator = "\x00"
)

func (r rank) compare(s rank) int {
	return cmp.Or(cmp.Compare(r.class, s.class), cmp.Compare(r.path, s.path), cmp.Compare(r.literals, s.literals), cmp.Compare(r.elements, s.elements))
}

// space is an entry prepared for matching. Patterns and recipients are compared in lower case.
type space struct {
	*Entry
	pattern  string
	wild     bool
	literals int
	elements []string    // MS
	fields   [][2]string // X400: attribute key and lower-case pattern, canonical order; domain-defined ones as "dda:TYPE"
	broken   bool        // the pattern can't be read
}

// target is a recipient prepared for matching.
type target struct {
	typ    address.Type
	text   string // lower case
	fields [][2]string
}

func compile(e *Entry) *space {
	s := &space{Entry: e, pattern: strings.ToLower(e.Space.Pattern)}
	s.wild = strings.ContainsAny(s.pattern, wildcards)
	s.literals = len(s.pattern) - strings.Count(s.pattern, "*") - strings.Count(s.pattern, "%")
	switch {
	case s.pattern == "" || s.pattern == "*":
	case e.Space.Type == address.MS:
		s.elements = strings.Split(strings.TrimRight(s.pattern, "/"), "/")
		s.literals -= strings.Count(s.pattern, "/")
		// $SYSTEM and *SPECIAL are names: the star of the latter is itself (KB Q112879).
		if len(s.elements) == 3 && s.elements[2] == special {
			s.wild = strings.ContainsAny(s.elements[0]+s.elements[1], wildcards)
		}
	case e.Space.Type == address.X400:
		or, err := address.ParseORAddress(e.Space.Pattern)
		if err != nil {
			s.broken = true
			break
		}
		s.fields = orFields(or)
		s.literals = 0
		for _, f := range s.fields {
			s.literals += len(f[1]) - strings.Count(f[1], "*") - strings.Count(f[1], "%")
		}
	}
	return s
}

const special = "*special"

func newTarget(a address.Address) target {
	t := target{typ: a.Type, text: strings.ToLower(a.Value)}
	if a.Type == address.X400 {
		if or, err := address.ParseORAddress(a.Value); err == nil {
			t.fields = orFields(or)
		}
	}
	return t
}

// match tells how s matches t. It takes for granted that the types are the same.
func (s *space) match(t *target) (Match, rank) {
	switch {
	case s.broken:
		return NoMatch, rank{}
	case s.pattern == "":
		return TypeOnly, rank{class: rankType}
	case s.pattern == "*":
		return Wildcard, rank{class: rankWildcard}
	case t.typ == address.MS:
		return s.matchMS(t.text)
	case t.typ == address.X400:
		return s.matchOR(t.fields)
	case s.wild:
		if address.Glob(s.pattern, t.text) {
			return Wildcard, rank{class: rankWildcard, literals: s.literals}
		}
	case s.pattern == t.text:
		return Exact, rank{class: rankExact, literals: s.literals}
	case strings.HasPrefix(t.text, s.pattern):
		// A directory name ends at a slash: /OU=SITEB is not part of /OU=SITEB2.
		if t.typ == address.EX && s.pattern[len(s.pattern)-1] != '/' && t.text[len(s.pattern)] != '/' {
			break
		}
		return Partial, rank{class: rankPartial, literals: s.literals}
	}
	return NoMatch, rank{}
}

// matchMS compares element by element, so that NORTHWIND/PO2 is not taken for the beginning of NORTHWIND/PO21.
func (s *space) matchMS(text string) (Match, rank) {
	rest, more := text, true
	for i, p := range s.elements {
		if !more {
			return NoMatch, rank{}
		}
		var e string
		if i == 2 {
			e = rest
		} else {
			e, rest, more = strings.Cut(rest, "/")
		}
		if p != e && (i == 2 && p == special || !address.Glob(p, e)) {
			return NoMatch, rank{}
		}
	}
	r := rank{literals: s.literals, elements: len(s.elements)}
	literalPO := len(s.elements) >= 2 && !strings.ContainsAny(s.elements[0]+s.elements[1], wildcards)
	switch {
	case !s.wild && len(s.elements) == 3:
		r.class = rankExact
		return Exact, r
	case s.wild && literalPO:
		r.class = rankMSInside
		return Wildcard, r
	case s.wild:
		r.class = rankWildcard
		return Wildcard, r
	case literalPO:
		r.class = rankMSPostbox
	default:
		r.class = rankPartial
	}
	return Partial, r
}

// matchOR compares the attributes that the space names; those that it leaves out match anything. Within O/R
// addresses class is the same for all but exact matches, and path decides.
func (s *space) matchOR(have [][2]string) (Match, rank) {
	r := rank{class: rankWildcard, literals: s.literals, elements: len(s.fields)}
	next, exact := 0, true
	for _, f := range s.fields {
		next = seek(have, next, f[0])
		v := ""
		if next < len(have) && have[next][0] == f[0] {
			v = have[next][1]
		} else if f[0] != "a" { // an absent ADMD is the same as a blank one; nothing else may be missing
			return NoMatch, rank{}
		}
		bits := uint64(literalField)
		if strings.ContainsAny(f[1], wildcards) {
			bits, exact = wildcardField, false
		}
		if !address.Glob(f[1], v) {
			return NoMatch, rank{}
		}
		r.path |= bits << (62 - bitsPerField*fieldOrder(f[0]))
	}
	if !exact {
		return Wildcard, r
	}
	// Exact when the space names each attribute that routing looks at (X.402's organizational part).
	named := 0
	for _, f := range s.fields {
		if fieldOrder(f[0]) < routingFields && f[1] != "" {
			named++
		}
	}
	for _, f := range have {
		if fieldOrder(f[0]) < routingFields && f[1] != "" {
			named--
		}
	}
	if named < 0 {
		return Partial, r
	}
	r.class = rankExact
	return Exact, r
}

// seek finds key at or after i; both lists are in canonical order.
func seek(fs [][2]string, i int, key string) int {
	order := fieldOrder(key)
	for i < len(fs) && (fieldOrder(fs[i][0]) < order || order == ddaOrder && fs[i][0] != key) {
		i++
	}
	return i
}

var orKeys = []string{"c", "a", "p", "o", "ou1", "ou2", "ou3", "ou4", "s", "g", "i", "q", "cn", "x.121", "n-id", "t-id", "t-ty"}

const ddaOrder = 17

func fieldOrder(key string) int {
	for i, k := range orKeys {
		if k == key {
			return i
		}
	}
	return ddaOrder
}

// orFields are the attributes that an O/R address has, in canonical order, values in lower case. A blank or "0" ADMD
// stands as "".
func orFields(o address.ORAddress) [][2]string {
	values := []string{o.C, o.A, o.P, o.O, o.OU[0], o.OU[1], o.OU[2], o.OU[3], o.S, o.G, o.I, o.Q, o.CN, o.X121, o.NID, o.TID, o.TTY}
	var out [][2]string
	for i, v := range values {
		if v == "" {
			continue
		}
		v = strings.ToLower(strings.Join(strings.Fields(v), " "))
		if orKeys[i] == "a" && v == "0" {
			v = ""
		}
		out = append(out, [2]string{orKeys[i], v})
	}
	for _, d := range o.DDA {
		out = append(out, [2]string{"dda:" + strings.ToLower(d.Type), strings.ToLower(strings.TrimSpace(d.Value))})
	}
	return out
}
