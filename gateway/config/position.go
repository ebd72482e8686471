package config

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// places maps each dotted key of a file ("connector.imc.space[1].cost") to where it is written.
type places struct {
	at    map[string]Position
	order []string
}

// positions walks the file's syntax tree. A file that does not parse yields what came before the mistake.
func positions(text []byte) *places {
	p := &places{at: map[string]Position{}}
	var parser unstable.Parser
	parser.Reset(text)
	table := ""
	arrays := map[string]int{}
	for parser.NextExpression() {
		e := parser.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			key, raw := dotted(e.Key())
			key = p.resolve(key, arrays)
			if e.Kind == unstable.ArrayTable {
				n := arrays[key]
				arrays[key] = n + 1
				key = fmt.Sprintf("%s[%d]", key, n)
			}
			table = key
			p.put(key, parser.Shape(raw))
		case unstable.KeyValue:
			p.value(&parser, table, e)
		}
	}
	return p
}

// resolve puts the index of the latest element after each part that is an array of tables.
func (p *places) resolve(key string, arrays map[string]int) string {
	out := ""
	for i, part := range strings.Split(key, ".") {
		if i > 0 {
			if n := arrays[out]; n > 0 {
				out = fmt.Sprintf("%s[%d]", out, n-1)
			}
			out += "."
		}
		out += part
	}
	return out
}

func dotted(it unstable.Iterator) (string, unstable.Range) {
	var parts []string
	var raw unstable.Range
	for it.Next() {
		if len(parts) == 0 {
			raw = it.Node().Raw
		}
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, "."), raw
}

func (p *places) value(parser *unstable.Parser, prefix string, kv *unstable.Node) {
	key, raw := dotted(kv.Key())
	if prefix != "" {
		key = prefix + "." + key
	}
	p.put(key, parser.Shape(raw))
	p.inside(parser, key, kv.Value())
}

func (p *places) inside(parser *unstable.Parser, key string, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			p.value(parser, key, it.Node())
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); i++ {
			k := fmt.Sprintf("%s[%d]", key, i)
			if it.Node().Raw.Length > 0 {
				p.put(k, parser.Shape(it.Node().Raw))
			}
			p.inside(parser, k, it.Node())
		}
	}
}

func (p *places) put(key string, s unstable.Shape) {
	if _, ok := p.at[key]; !ok {
		p.at[key] = Position{s.Start.Line, s.Start.Column}
		p.order = append(p.order, key)
	}
}

// find is where key is written, or the nearest table above it.
func (p *places) find(key string) Position {
	for key != "" {
		if pos, ok := p.at[key]; ok {
			return pos
		}
		cut := strings.LastIndexAny(key, ".[")
		if cut < 0 {
			break
		}
		key = key[:cut]
	}
	return Position{}
}

// keyAt is the key that is written at pos.
func (p *places) keyAt(pos Position) string {
	for _, k := range p.order {
		if p.at[k] == pos {
			return k
		}
	}
	return ""
}

// tables lists the names directly below a table, in the order of the file.
func (p *places) tables(parent string) []string {
	seen := map[string]bool{}
	var out []string
	for _, key := range p.order {
		rest, ok := strings.CutPrefix(key, parent+".")
		if !ok {
			continue
		}
		if i := strings.IndexAny(rest, ".["); i >= 0 {
			rest = rest[:i]
		}
		if !seen[rest] {
			seen[rest] = true
			out = append(out, rest)
		}
	}
	return out
}
