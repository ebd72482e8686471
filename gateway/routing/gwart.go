package routing

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"backbone/gateway/address"
)

// WriteGWART writes the table as Exchange's GWART0.MTA had it (KB Q149121), one line a space and cost:
//
//	TYPE,pattern;,cost,connector[,connector...],
//
// An empty pattern leaves a bare semicolon (KB Q146299). Lines end in CRLF.
func (t *Table) WriteGWART(w io.Writer) error {
	lines := slices.Clone(t.entries)
	slices.SortStableFunc(lines, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Space.Type, b.Space.Type),
			cmp.Compare(strings.ToLower(a.Space.Pattern), strings.ToLower(b.Space.Pattern)),
			cmp.Compare(a.Space.Cost, b.Space.Cost), cmp.Compare(a.Connector, b.Connector))
	})
	bw := bufio.NewWriter(w)
	for i := 0; i < len(lines); {
		first := lines[i].Space
		var names []string
		for ; i < len(lines) && lines[i].Space.Type == first.Type && strings.EqualFold(lines[i].Space.Pattern, first.Pattern) && lines[i].Space.Cost == first.Cost; i++ {
			names = append(names, lines[i].Connector)
		}
		if _, err := bw.WriteString(gwartLine(first, first.Cost, names) + "\r\n"); err != nil {
			return fmt.Errorf("routing table: %w", err)
		}
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("routing table: %w", err)
	}
	return nil
}

func gwartLine(s address.Space, cost int, connectors []string) string {
	pattern := s.Pattern
	if s.Type == address.X400 {
		pattern = strings.TrimSuffix(pattern, ";") // an O/R address ends in the semicolon that a line has anyway
	}
	return fmt.Sprintf("%s,%s;,%d,%s,", s.Type, pattern, cost, strings.Join(connectors, ","))
}

// maxGWARTLine bounds a line of a file that someone else wrote.
const maxGWARTLine = 64 << 10

// ParseGWART reads GWART0.MTA text: an entry for each connector of each line. It takes the semicolon before the cost and
// the last comma as optional, since Exchange's own dumps leave them out at times (KB Q149121's sample). Types that this
// gateway does not speak (EX) are entries like any other. Lines that can't be read are named in the error, all of them,
// and the entries of the others are returned with it.
func ParseGWART(r io.Reader) ([]Entry, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxGWARTLine)
	var out []Entry
	var bad []error
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(sc.Text(), "\ufeff"))
		if line == "" {
			continue
		}
		es, err := parseGWARTLine(line)
		if err != nil {
			bad = append(bad, fmt.Errorf("GWART line %d: %w", n, err))
			continue
		}
		out = append(out, es...)
	}
	if err := sc.Err(); err != nil {
		bad = append(bad, fmt.Errorf("GWART: %w", err))
	}
	return out, errors.Join(bad...)
}

func parseGWARTLine(line string) ([]Entry, error) {
	typ, rest, ok := strings.Cut(line, ",")
	if !ok {
		return nil, fmt.Errorf("%q is not TYPE,pattern;,cost,connector", clip(line))
	}
	pattern, cost, names, err := cutCost(rest)
	if err != nil {
		return nil, err
	}
	space, err := address.ParseSpace(strings.TrimSpace(typ) + ":" + strings.TrimSuffix(strings.TrimSpace(pattern), ";"))
	if err != nil {
		return nil, err
	}
	space.Cost, space.Scope, space.Origin = cost, "organization", "GWART"
	var out []Entry
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); strings.HasSuffix(name, ";") {
			return nil, fmt.Errorf("%q: connector %q ends in the semicolon that ends a pattern", clip(line), clip(name))
		} else if name != "" {
			out = append(out, Entry{Connector: name, Space: space, Local: true})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q names no connector", clip(line))
	}
	return out, nil
}

// cutCost finds ",cost," between pattern and connectors: the last one after a semicolon, since a pattern may hold
// commas and digits; else the first one that is a number between commas.
func cutCost(s string) (pattern string, cost int, names string, err error) {
	at, end := -1, -1
	for i := 0; i < len(s); i++ {
		if s[i] != ',' {
			continue
		}
		j := i + 1
		for j < len(s) && (s[j] == ' ' || '0' <= s[j] && s[j] <= '9') {
			j++
		}
		if j == len(s) || s[j] != ',' || strings.TrimSpace(s[i+1:j]) == "" {
			continue
		}
		semicolon := i > 0 && s[i-1] == ';'
		if at < 0 || semicolon {
			at, end = i, j
		}
	}
	if at < 0 {
		return "", 0, "", fmt.Errorf("%q has no cost between commas", clip(s))
	}
	cost, err = strconv.Atoi(strings.TrimSpace(s[at+1 : end]))
	if err != nil || cost < 1 || cost > 100 {
		return "", 0, "", fmt.Errorf("cost %q is outside 1..100", strings.TrimSpace(s[at+1:end]))
	}
	return s[:at], cost, s[end+1:], nil
}

func clip(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return s
}
