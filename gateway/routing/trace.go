package routing

import (
	"fmt"
	"strings"
	"unicode"

	"backbone/gateway/mail"
)

// CheckTrace refuses a message that was at site before (X.411 loop-detected, MS Mail [004]) or that has passed limit
// gateways already, so that this one would be one too many ([003], KB Q147471). Names are compared whole and without
// regard to case: Microsoft's comparison of nine characters found loops that were none (KB Q128627). limit 0 checks for
// loops only. The failure lists the route, as MS Mail's report did.
func CheckTrace(trace []mail.Hop, site string, limit int) *mail.Failure {
	for i, h := range trace {
		if strings.EqualFold(h.Site, site) {
			return mail.Loop(fmt.Sprintf("loop: %s took this message before; route: %s", printable(site), route(trace[i:])))
		}
	}
	if limit > 0 && len(trace) >= limit {
		return mail.HopLimit(fmt.Sprintf("more than %d gateways passed; route: %s", limit, route(trace)))
	}
	return nil
}

// maxListed bounds how much of a hostile trace comes back in a report.
const maxListed = 32

func route(trace []mail.Hop) string {
	var b strings.Builder
	for i, h := range trace {
		if i > 0 {
			b.WriteString(" > ")
		}
		if i == maxListed {
			fmt.Fprintf(&b, "and %d more", len(trace)-i)
			break
		}
		b.WriteString(printable(h.Site))
	}
	return b.String()
}

// printable keeps a peer's words from breaking a line or a terminal, and bounds them.
func printable(s string) string {
	n := 0
	return strings.Map(func(r rune) rune {
		if n++; n > 64 {
			return -1
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
