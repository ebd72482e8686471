package tracking

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Filter selects events: set fields are ANDed. Sender and Recipient are globs ('*' any run, '%' one character) over the
// typed address ("SMTP:*@example.com"); without a wildcard and a type any address that has the value matches.
type Filter struct {
	ID        string     `json:"id,omitempty"` // any name, as in Trace
	Sender    string     `json:"sender,omitempty"`
	Recipient string     `json:"recipient,omitempty"`
	Subject   string     `json:"subject,omitempty"` // a part of it, or all of it when only hashes are kept, or a hash
	Connector string     `json:"connector,omitempty"`
	Types     []Type     `json:"types,omitempty"`
	Class     mail.Class `json:"class,omitempty"`
	From      time.Time  `json:"from,omitzero"`
	To        time.Time  `json:"to,omitzero"`
}

// Search returns the first n events after a cursor that f selects, oldest first, and the cursor for more: "" when the
// log's end was reached. n below 1 is 100. With an archive these are the events of all gateways, in the order of their time;
// a Partly beside them says that they are only this gateway's.
func (l *Log) Search(ctx context.Context, f Filter, after Cursor, n int) ([]Event, Cursor, error) {
	if n < 1 {
		n = 100
	}
	if l.o.Archive != nil {
		return l.searchAll(ctx, f, after, n)
	}
	return l.searchOwn(ctx, f, after, n)
}

// searchOwn is Search in this log.
func (l *Log) searchOwn(ctx context.Context, f Filter, after Cursor, n int) ([]Event, Cursor, error) {
	from, err := after.place()
	if err != nil {
		return nil, "", err
	}
	out := []Event{}
	var next Cursor
	err = l.selected(ctx, f, from, func(e Event, at place) error {
		if len(out) == n {
			return errStop
		}
		e.Node = l.o.Node
		out = append(out, e)
		if next = ""; len(out) == n {
			next = at.cursor()
		}
		return nil
	})
	if len(out) < n {
		next = ""
	}
	return out, next, err
}

// Matches tells whether the filter selects an event.
func (f Filter) Matches(e *Event) bool {
	m := f.matcher()
	return m.match(e)
}

// selected calls fn for the events that f selects.
func (l *Log) selected(ctx context.Context, f Filter, from place, fn func(e Event, next place) error) error {
	es, _ := l.view()
	es = slices.DeleteFunc(es, func(x extent) bool {
		// An event is filed under the day on which it was written, which may be a little later than its own time.
		return !f.From.IsZero() && x.day < f.From.UTC().Format(dayLayout) || !f.To.IsZero() && x.day > f.To.UTC().AddDate(0, 0, 1).Format(dayLayout)
	})
	m := f.matcher()
	n := 0
	return l.each(es, from, func(line []byte) bool {
		// Once in a while a line passes unseen, so that a search that finds nothing still notices the end of ctx.
		n++
		return n%1000 == 0 || m.maybe(line)
	}, func(e Event, next place) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !m.match(&e) {
			return nil
		}
		return fn(e, next)
	})
}

// matcher is a filter prepared for many lines.
type matcher struct {
	f                 Filter
	sender, recipient string
	subject, hash     string
	literals          [][]byte // lower-case text that each matching line has
}

func (f Filter) matcher() matcher {
	m := matcher{f: f, sender: pattern(f.Sender), recipient: pattern(f.Recipient), subject: strings.ToLower(f.Subject), hash: SubjectHash(f.Subject)}
	for _, s := range []string{f.Sender, f.Recipient, f.Connector, fold(f.ID)} {
		if lit := literal(s); len(lit) > 2 {
			m.literals = append(m.literals, []byte(lit))
		}
	}
	return m
}

// pattern lets a value without a type match any type.
func pattern(s string) string {
	if s == "" || strings.Contains(s, ":") || strings.HasPrefix(s, "*") || s == "<>" {
		return s
	}
	return "*:" + s
}

// literal is the longest run of s that stands in JSON as it is.
func literal(s string) string {
	best := ""
	for _, run := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("@.-_/: ", r)
	}) {
		if len(run) > len(best) {
			best = run
		}
	}
	return best
}

// maybe is a cheap look before the line is decoded.
func (m *matcher) maybe(line []byte) bool {
	if len(m.f.Types) > 0 && !slices.ContainsFunc(m.f.Types, func(t Type) bool { return bytes.Contains(line, []byte(`"type":"`+t+`"`)) }) {
		return false
	}
	for _, lit := range m.literals {
		if !containsFold(line, lit) {
			return false
		}
	}
	return true
}

// containsFold finds lower-case ASCII in b without regard to case.
func containsFold(b, lower []byte) bool {
	first := lower[0]
	upper := first
	if 'a' <= first && first <= 'z' {
		upper -= 'a' - 'A'
	}
	for i := 0; i+len(lower) <= len(b); i++ {
		if b[i] != first && b[i] != upper {
			continue
		}
		if bytes.EqualFold(b[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

func (m *matcher) match(e *Event) bool {
	f := &m.f
	switch {
	case f.ID != "" && !slices.Contains(e.names(), fold(f.ID)),
		f.Sender != "" && !address.Glob(m.sender, sender(e)),
		f.Recipient != "" && !slices.ContainsFunc(e.Recipients, func(r string) bool { return address.Glob(m.recipient, r) }),
		f.Connector != "" && !strings.EqualFold(f.Connector, e.Connector),
		len(f.Types) > 0 && !slices.Contains(f.Types, e.Type),
		f.Class != "" && f.Class != e.Class,
		!f.From.IsZero() && e.Time.Before(f.From),
		!f.To.IsZero() && !e.Time.Before(f.To):
		return false
	case f.Subject == "":
		return true
	}
	return strings.Contains(strings.ToLower(e.Subject), m.subject) ||
		e.SubjectHash != "" && (e.SubjectHash == m.hash || e.SubjectHash == m.subject)
}

// sender gives the null originator its spelling.
func sender(e *Event) string {
	if e.Originator == "" {
		return "<>"
	}
	return e.Originator
}
