package mixer

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"backbone/gateway/address"
)

// Way tells in which direction a Mapping holds.
type Way uint8

const (
	BothWays Way = iota
	ToDomain     // an O/R address to a domain
	ToOR         // a domain to an O/R address
)

// ReadTable reads a table of MIXER conformant global address mappings as RFC 2156 appendix F and RFC 1327 have them, which sites
// exchanged as files. A line of the table that maps to domains is
//
//	O$UCL.PRMD$UK\.AC.ADMD$GOLD 400.C$GB#ucl.ac.uk#
//
// one of the other direction has the two sides exchanged. Attributes run from the most specific up, a dot in a value is \., an
// attribute that is absent has the value @. Empty lines and those that begin with # do not count. An error names the line.
func ReadTable(r io.Reader, way Way) ([]Mapping, error) {
	var out []Mapping
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		sides := strings.Split(line, "#")
		if len(sides) < 2 {
			return nil, fmt.Errorf("line %d: %q is not one side, #, the other side, #", n, line)
		}
		or, domain := sides[0], sides[1]
		if way == ToOR {
			or, domain = domain, or
		}
		m := Mapping{Domain: strings.TrimSpace(domain), Way: way}
		var err error
		if _, err = address.ParseDomain(m.Domain); err == nil {
			m.OR, err = tableAddress(or)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, m)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("after %d mappings: %w", len(out), err)
	}
	return out, nil
}

// tableAddress reads a table's notation of the upper part of an O/R address.
func tableAddress(s string) (address.ORAddress, error) {
	var or address.ORAddress
	var units []string
	for _, part := range splitUnescaped(s) {
		key, value, ok := strings.Cut(part, "$")
		value = strings.TrimSpace(value)
		if !ok || value == "" {
			return or, fmt.Errorf("%q: %q is not KEY$value", s, part)
		}
		if value == "@" {
			value = ""
		}
		switch strings.ToUpper(strings.TrimSpace(key)) {
		case "C":
			or.C = value
		case "ADMD":
			if or.A = value; value == "" {
				or.A = " "
			}
		case "PRMD":
			or.P = value
		case "O":
			or.O = value
		case "OU":
			units = append([]string{value}, units...)
		default:
			return or, fmt.Errorf("%q: %q is none of C, ADMD, PRMD, O, OU", s, key)
		}
	}
	if len(units) > len(or.OU) || or.C == "" {
		return or, fmt.Errorf("%q: a country and at most %d units are needed", s, len(or.OU))
	}
	copy(or.OU[:], units)
	return or, nil
}

// splitUnescaped cuts at the dots that have no backslash before them.
func splitUnescaped(s string) []string {
	parts := []string{""}
	for i := 0; i < len(s); i++ {
		last := &parts[len(parts)-1]
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			*last += string(s[i])
		case s[i] == '.':
			parts = append(parts, "")
		default:
			*last += string(s[i])
		}
	}
	return parts
}
