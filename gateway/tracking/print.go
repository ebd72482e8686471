package tracking

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Plain makes text from outside harmless on a terminal: what is not a printing character, control sequences and
// direction overrides among them, is shown as its escape (\x1b).
func Plain(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) && strings.ToValidUTF8(s, "") == s {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && s[i] != "\uFFFD"[0]:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// String is the event for a reader: one line, what else is known of it indented below. Everything is made harmless.
func (e Event) String() string {
	var b strings.Builder
	e.headline(&b)
	e.details(&b)
	return b.String()
}

func (e *Event) headline(b *strings.Builder) {
	fmt.Fprintf(b, "%s  %-10s", e.Time.UTC().Format("2006-01-02 15:04:05.000"), Plain(string(e.Type)))
	word := func(label, s string) {
		if s != "" {
			fmt.Fprintf(b, " %s%s", label, Plain(s))
		}
	}
	word("", e.Site)
	word("on ", e.Node)
	word("", e.ID)
	word("item ", e.Item)
	switch {
	case e.Dest != "":
		word("", e.Dest)
	default:
		word("", e.Connector)
	}
	if e.Attempt > 0 {
		fmt.Fprintf(b, " attempt %d", e.Attempt)
	}
	if e.Took > 0 {
		fmt.Fprintf(b, " in %s", e.Took.Round(time.Millisecond))
	}
	if len(e.Recipients) > 0 {
		shown := e.Recipients[:min(3, len(e.Recipients))]
		word("for ", strings.Join(shown, " "))
		if more := len(e.Recipients) - len(shown); more > 0 {
			fmt.Fprintf(b, " and %d more", more)
		}
	}
	if e.Class != "" {
		word("", string(e.Class))
	}
}

func (e *Event) details(b *strings.Builder) {
	line := func(label, s string) {
		if s != "" {
			fmt.Fprintf(b, "\n    %s%s", label, Plain(s))
		}
	}
	if e.Type == Received {
		line("from ", e.Originator)
		line("subject ", e.Subject)
	}
	line("source ", e.Source)
	line("sha256 ", e.SourceSHA256)
	line("peer: ", e.Peer)
	line("", e.Text)
	line("about ", e.About)
	line("by ", e.By)
	if !e.Next.IsZero() {
		line("next at ", e.Next.UTC().Format(time.DateTime)+" UTC")
	}
	for _, n := range e.Notes {
		line("", strings.TrimRight(fmt.Sprintf("%s %s: %s", n.Action, n.Field, n.Detail), ": "))
	}
	for i, c := range e.Route {
		mark := "lost"
		if i == 0 && c.Lost == "" {
			mark = "won"
		}
		line("", strings.TrimRight(fmt.Sprintf("route %s %s by %s (%s, cost %d) %s", c.Connector, mark, c.Space, c.Match, c.Cost, c.Lost), " "))
	}
}

// SeveralNodes tells whether a site has more than one gateway among those that wrote events: only then is it worth saying which.
func SeveralNodes(es []Event) bool {
	at := map[string]string{}
	for _, e := range es {
		if e.Node == "" {
			continue
		}
		if other, ok := at[e.Site]; ok && other != e.Node {
			return true
		}
		at[e.Site] = e.Node
	}
	return false
}
