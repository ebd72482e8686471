package config

import (
	"fmt"
	"sort"
	"strings"
)

// Position is a place in the file, both from 1; zero when unknown.
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Error is one mistake.
type Error struct {
	File string   `json:"file"`
	Pos  Position `json:"position"`
	Key  string   `json:"key"` // dotted path, "connector.imc.listen"
	Text string   `json:"text"`
}

func (e Error) Error() string {
	where := e.File
	if e.Pos.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", e.File, e.Pos.Line, e.Pos.Column)
	}
	if e.Key == "" {
		return where + ": " + e.Text
	}
	return where + ": " + e.Key + ": " + e.Text
}

// Errors is every mistake of a file, in the order of the file.
type Errors struct{ List []Error }

func (e *Errors) Error() string {
	lines := make([]string, len(e.List))
	for i, x := range e.List {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) add(file string, pos Position, key, text string) {
	e.List = append(e.List, Error{file, pos, key, text})
}

func (e *Errors) sorted() *Errors {
	sort.SliceStable(e.List, func(i, j int) bool {
		a, b := e.List[i].Pos, e.List[j].Pos
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	return e
}

// nearest returns the word of words that is closest to got, or "" when none is close.
func nearest(got string, words []string) string {
	best, bestd := "", len(got)/2+1
	if bestd > 4 {
		bestd = 4
	}
	for _, w := range words {
		if d := distance(strings.ToLower(got), strings.ToLower(w)); d < bestd {
			best, bestd = w, d
		}
	}
	return best
}

// distance is the Levenshtein distance, with a swap of neighbours counted as one.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
