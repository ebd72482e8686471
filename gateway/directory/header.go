package directory

import (
	"fmt"
	"slices"
	"strings"
)

// What a column is about.
type columnKind int

const (
	columnIgnored columnKind = iota
	columnClass
	columnMode
	columnName
	columnDisplay
	columnAlias
	columnFirst
	columnLast
	columnTarget
	columnPrimary
	columnSecondary
	columnContainer
	columnHidden
	columnAttribute
)

// headers are the columns that we know, in lower case with blanks for hyphens. Schema names stand beside the names of
// Exchange's samples; Hide-From-Address-Book has two spellings because none is documented.
var headers = map[string]columnKind{
	"obj class": columnClass, "mode": columnMode,
	"directory name": columnName, "common name": columnName,
	"display name": columnDisplay, "display name printable": columnIgnored,
	"alias name": columnAlias, "first name": columnFirst, "last name": columnLast,
	"e mail address": columnTarget, "target address": columnTarget,
	"e mail addresses": columnPrimary, "secondary proxy addresses": columnSecondary,
	"obj container":          columnContainer,
	"hide from address book": columnHidden, "hide from ab": columnHidden,
	// What an export of another system has and an entry here has no use for.
	"home server": columnIgnored, "home mta": columnIgnored, "home mdb": columnIgnored, "assoc nt account": columnIgnored,
	"imported from": columnIgnored, "obj dist name": columnIgnored, "object version": columnIgnored, "when changed": columnIgnored, "when created": columnIgnored,
	"usn changed": columnIgnored, "usn created": columnIgnored, "proxy generation enabled": columnIgnored,
}

// attributes are kept as they are and exported again: what an address list shows of a person.
var attributes = []string{
	"Custom Attribute 1", "Custom Attribute 2", "Custom Attribute 3", "Custom Attribute 4", "Custom Attribute 5",
	"Custom Attribute 6", "Custom Attribute 7", "Custom Attribute 8", "Custom Attribute 9", "Custom Attribute 10",
	"Initials", "Title", "Company", "Department", "Office", "Assistant", "Assistant phone number", "Phone number", "Phone number 2",
	"Home phone number", "Mobile number", "Pager number", "Fax number", "Telex number", "Address", "City", "State", "Postal code", "Country",
	"Notes", "Comment", "Manager", "Language", "Trust Level", "Simple display name",
}

// column is one column of a file.
type column struct {
	kind columnKind
	name string // of the attribute; else as the header has it
}

func canonicalHeader(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(strings.ToLower(s), "-", " ")), " ")
}

// readHeader makes columns of the first line. Warnings go to warn.
func readHeader(rec record, f Format, warn func(problem)) ([]column, error) {
	fail := func(event, at int, format string, args ...any) error {
		return &ImportError{Line: rec.line, Column: rec.column(at), Event: event, Text: fmt.Sprintf(format, args...)}
	}
	first := rec.fields[0]
	if canonicalHeader(first.text) != "obj class" {
		return nil, fail(EventFirstColumn, first.at, "the first column must be Obj-Class, it is %q; is %q the right separator for this file?", cutText(first.text, 80), f.Column)
	}
	var out []column
	seen := map[columnKind]bool{}
	names := map[string]bool{}
	for i, fd := range rec.fields {
		h := canonicalHeader(fd.text)
		kind, known := headers[h]
		c := column{kind, fd.text}
		if j := slices.IndexFunc(attributes, func(a string) bool { return canonicalHeader(a) == h }); !known && j >= 0 {
			c, known = column{columnAttribute, attributes[j]}, true
		}
		switch {
		case c.kind == columnMode && i != 1:
			return nil, fail(EventModeColumn, fd.at, "Mode can be the second column only")
		case !known:
			warn(problem{EventUnknown, fd.at, fmt.Sprintf("column %q is unknown; it is not imported", cutText(fd.text, 80)), true})
		case c.kind != columnIgnored && (c.kind != columnAttribute && seen[c.kind] || names[h]):
			warn(problem{EventColumnTwice, fd.at, fmt.Sprintf("column %q is there twice; the first counts", cutText(fd.text, 80)), true})
			c.kind = columnIgnored
		}
		seen[c.kind], names[h] = true, true
		out = append(out, c)
	}
	if !seen[columnName] {
		return nil, fail(EventNoName, 0, "the column Directory Name is missing")
	}
	return out, nil
}

func cutText(s string, max int) string {
	if r := []rune(s); len(r) > max {
		return string(r[:max]) + "..."
	}
	return s
}
