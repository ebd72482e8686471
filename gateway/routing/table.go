// Package routing decides which connector a recipient's mail leaves by: address spaces with costs on one side, the
// recipient and the state of the links on the other, one ranked decision between them, with a reason for each loser.
//
// It is pure: it keeps no state, reads no clock, opens nothing. A Table is immutable and may be shared; the state of
// links, what was tried before and the time come in with each Request. It never remembers a decision: the gateway asks
// again at each attempt. It cannot fail otherwise than by a Decision whose Failure says why nobody takes the recipient.
package routing

import (
	"cmp"
	"slices"
	"strings"

	"backbone/gateway/address"
)

// Entry is one line of the table: a connector claims an address space.
type Entry struct {
	Connector string
	Space     address.Space
	// Local is false for a connector that another gateway of the site owns (a remote bridgehead): local ones go first
	// among equals (KB Q193322, step 7).
	Local bool
}

// Table is a routing table, Exchange's GWART (KB Q149121), indexed by address type and literal text.
type Table struct {
	entries []Entry
	types   map[address.Type]*index
}

// NewTable builds a table. An entry whose pattern can't be read (ParseSpace would have refused it) stays listed but
// never matches. When a connector claims one pattern twice the lower cost counts.
func NewTable(entries []Entry) *Table {
	t := &Table{entries: slices.Clone(entries), types: map[address.Type]*index{}}
	slices.SortStableFunc(t.entries, compareEntries)
	t.entries = slices.CompactFunc(t.entries, func(a, b Entry) bool {
		return a.Connector == b.Connector && a.Space.Type == b.Space.Type && strings.EqualFold(a.Space.Pattern, b.Space.Pattern)
	})
	for i := range t.entries {
		e := &t.entries[i]
		ix := t.types[e.Space.Type]
		if ix == nil {
			ix = newIndex()
			t.types[e.Space.Type] = ix
		}
		ix.add(compile(e))
	}
	for _, ix := range t.types {
		ix.finish()
	}
	return t
}

// Entries lists the table in the order of its text form: type, pattern, cost, connector.
func (t *Table) Entries() []Entry { return slices.Clone(t.entries) }

// Diff tells what changed between two tables, one line an entry, "+" and "-" before it: for showing a change before it
// takes effect.
func Diff(was, is *Table) []string {
	var out []string
	a, b := was.entries, is.entries
	for len(a) > 0 || len(b) > 0 {
		c := -1
		if len(a) == 0 {
			c = 1
		} else if len(b) > 0 {
			c = compareEntries(a[0], b[0])
		}
		switch {
		case c < 0:
			out, a = append(out, "- "+gwartLine(a[0].Space, a[0].Space.Cost, []string{a[0].Connector})), a[1:]
		case c > 0:
			out, b = append(out, "+ "+gwartLine(b[0].Space, b[0].Space.Cost, []string{b[0].Connector})), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// compareEntries orders by type, pattern, connector, cost, local before remote; so a connector's best claim of a pattern
// comes first.
func compareEntries(a, b Entry) int {
	local := 0
	if a.Local != b.Local {
		if local = 1; a.Local {
			local = -1
		}
	}
	return cmp.Or(
		cmp.Compare(a.Space.Type, b.Space.Type),
		cmp.Compare(strings.ToLower(a.Space.Pattern), strings.ToLower(b.Space.Pattern)),
		cmp.Compare(a.Connector, b.Connector),
		cmp.Compare(a.Space.Cost, b.Space.Cost),
		local,
	)
}
