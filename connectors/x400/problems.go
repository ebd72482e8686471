package x400

import (
	"cmp"
	"slices"

	"backbone/connectors"
)

// sortProblems puts problems in the order of their keys: the checks above walk maps.
func sortProblems(bad []connectors.Problem) {
	slices.SortFunc(bad, func(a, b connectors.Problem) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Text, b.Text))
	})
}
