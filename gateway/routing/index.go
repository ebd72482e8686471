package routing

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"backbone/gateway/address"
)

// index finds the spaces of one type that may match a recipient without looking at all of them: each space is filed
// under the literal text that a recipient must begin or end with, and a look-up tries each length that occurs. A table
// of ten thousand domains costs a handful of map look-ups.
type index struct {
	all      []*space
	prefix   map[string][]*space
	suffix   map[string][]*space
	fields   map[string][]*space // X400: literal routing attributes from the country down
	prefixes []int               // lengths of keys, ascending
	suffixes []int
}

func newIndex() *index {
	return &index{prefix: map[string][]*space{}, suffix: map[string][]*space{}, fields: map[string][]*space{}}
}

func (ix *index) add(s *space) {
	ix.all = append(ix.all, s)
	if s.broken {
		return
	}
	if s.Space.Type == address.X400 && s.pattern != "" && s.pattern != "*" {
		k := fieldKey(s.fields)
		ix.fields[k] = append(ix.fields[k], s)
		return
	}
	head, tail := s.pattern, ""
	if i := strings.IndexAny(s.pattern, wildcards); i >= 0 {
		head = s.pattern[:i]
		if s.Space.Type != address.MS { // an MS pattern may leave elements blank at its end
			tail = s.pattern[strings.LastIndexAny(s.pattern, wildcards)+1:]
		}
	}
	if len(tail) > len(head) {
		ix.suffix[tail] = append(ix.suffix[tail], s)
		return
	}
	ix.prefix[head] = append(ix.prefix[head], s)
}

func (ix *index) finish() {
	lengths := func(m map[string][]*space) []int {
		set := map[int]bool{}
		for k := range m {
			set[len(k)] = true
		}
		return slices.Sorted(maps.Keys(set))
	}
	ix.prefixes, ix.suffixes = lengths(ix.prefix), lengths(ix.suffix)
}

// hit is a space that matches.
type hit struct {
	*space
	match Match
	rank  rank
}

// find returns every space that matches t, in no order.
func (ix *index) find(t *target) []hit {
	var out []hit
	for s := range ix.likely(t) {
		if m, r := s.match(t); m != NoMatch {
			out = append(out, hit{s, m, r})
		}
	}
	return out
}

// likely yields the spaces whose literal text t has.
func (ix *index) likely(t *target) iter.Seq[*space] {
	return func(yield func(*space) bool) {
		try := func(ss []*space) bool {
			for _, s := range ss {
				if !yield(s) {
					return false
				}
			}
			return true
		}
		for _, n := range ix.prefixes {
			if n > len(t.text) || !try(ix.prefix[t.text[:n]]) {
				break
			}
		}
		for _, n := range ix.suffixes {
			if n > len(t.text) || !try(ix.suffix[t.text[len(t.text)-n:]]) {
				break
			}
		}
		if len(ix.fields) == 0 || !try(ix.fields[""]) {
			return
		}
		var key strings.Builder
		for i, n := 0, 0; i < routingFields; i++ {
			v := ""
			if n < len(t.fields) && t.fields[n][0] == orKeys[i] {
				v = t.fields[n][1]
				n++
			} else if orKeys[i] != "a" {
				return
			}
			key.WriteString(v)
			key.WriteString(fieldSeparator)
			if !try(ix.fields[key.String()]) {
				return
			}
		}
	}
}

// fieldKey joins the literal attributes from the country down to the first that is left out or has a wildcard.
func fieldKey(fs [][2]string) string {
	var b strings.Builder
	for i, f := range fs {
		if i >= routingFields || f[0] != orKeys[i] || strings.ContainsAny(f[1], wildcards) {
			break
		}
		b.WriteString(f[1])
		b.WriteString(fieldSeparator)
	}
	return b.String()
}
