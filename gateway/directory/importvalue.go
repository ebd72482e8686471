package directory

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"backbone/gateway/address"
)

// set applies one value.
func (l *importLine) set(e *Entry, c column, f field) *problem {
	if one, ok := delOne(f.text); ok && (c.kind == columnPrimary || c.kind == columnSecondary) {
		return l.remove(e, c, f, one)
	}
	if isDel(f.text) {
		return l.clear(e, c, f)
	}
	switch c.kind {
	case columnDisplay:
		e.Display = l.limited(c, f, maxDisplay)
	case columnAlias:
		e.Alias = l.limited(c, f, maxShort)
	case columnFirst:
		e.First = l.limited(c, f, maxShort)
	case columnLast:
		e.Last = l.limited(c, f, maxShort)
	case columnContainer:
		e.Container = l.limited(c, f, maxDisplay)
	case columnHidden:
		switch strings.ToLower(f.text) {
		case "1", "true", "yes":
			e.Hidden = true
		case "0", "false", "no":
			e.Hidden = false
		default:
			l.warnings = append(l.warnings, problem{EventChangedText, f.at, "the column takes 1 or 0; it was left as it is", true})
		}
	case columnAttribute:
		if e.Attributes == nil {
			e.Attributes = map[string]string{}
		}
		e.Attributes[c.name] = l.limited(c, f, maxAttribute)
	case columnTarget:
		a, p := parseTarget(l.text(f), f.at)
		if p != nil {
			return p
		}
		e.Target = a
	case columnPrimary:
		return l.setPrimary(e, f)
	case columnSecondary:
		list, p := l.addresses(f)
		if p != nil {
			return p
		}
		e.Secondary = list
	}
	return nil
}

// setPrimary replaces the primary proxies of the types that the value has. Samples in the KB give a custom recipient's
// target in this column, when there is no other one for it.
func (l *importLine) setPrimary(e *Entry, f field) *problem {
	list, p := l.addresses(f)
	if p != nil {
		return p
	}
	if !l.im.hasTarget && l.fresh && len(list) == 1 {
		e.Target = list[0]
		return nil
	}
	seen := map[address.Type]bool{}
	for _, a := range list {
		if seen[a.Type] {
			return problemf(EventTypeTwice, f.at, "%s has the same type as another primary address of the object", a)
		}
		seen[a.Type] = true
	}
	e.Proxies = slices.DeleteFunc(e.Proxies, func(a address.Address) bool { return seen[a.Type] })
	for _, a := range list {
		e.Secondary = slices.DeleteFunc(e.Secondary, a.Equal) // promoted
		e.Proxies = append(e.Proxies, a)
	}
	return nil
}

// clear applies ~DEL (KB Q152854).
func (l *importLine) clear(e *Entry, c column, f field) *problem {
	if l.fresh && c.kind != columnIgnored {
		return problemf(EventDelOnCreate, f.at, "~DEL can be used with objects that exist only")
	}
	switch c.kind {
	case columnTarget:
		return problemf(EventRequired, f.at, "the required E-mail Address can't be deleted")
	case columnDisplay:
		e.Display = ""
	case columnAlias:
		e.Alias = ""
	case columnFirst:
		e.First = ""
	case columnLast:
		e.Last = ""
	case columnContainer:
		e.Container = ""
	case columnHidden:
		e.Hidden = false
	case columnAttribute:
		delete(e.Attributes, c.name)
	case columnPrimary:
		e.Proxies = nil
	case columnSecondary:
		e.Secondary = nil
	}
	return nil
}

// remove takes one address out of a column's list: ~del<TYPE:address> (KB Q184536).
func (l *importLine) remove(e *Entry, c column, f field, one string) *problem {
	if l.fresh {
		return problemf(EventDelOnCreate, f.at, "~DEL can be used with objects that exist only")
	}
	a, p := parseAddress(one, f.at, EventProxy)
	if p != nil {
		return p
	}
	list := &e.Proxies
	if c.kind == columnSecondary {
		list = &e.Secondary
	}
	n := len(*list)
	if *list = slices.DeleteFunc(*list, a.Equal); len(*list) == n {
		l.warnings = append(l.warnings, problem{EventNotThere, f.at, "the object does not have " + a.String() + ", so it could not be deleted", true})
	}
	return nil
}

// addresses reads a list of typed addresses.
func (l *importLine) addresses(f field) ([]address.Address, *problem) {
	var out []address.Address
	parts := splitMulti(f.text, l.im.o.Multi)
	for _, part := range parts {
		if isDel(part) || strings.HasPrefix(strings.ToLower(part), "~del<") {
			return nil, problemf(EventDelAmong, f.at, "~DEL can't stand with other values")
		}
		a, p := parseAddress(l.text(field{part, f.at}), f.at, EventProxy)
		if p != nil {
			return nil, p
		}
		out = append(out, a)
	}
	return out, nil
}

// text applies the rule of backslashes: a doubled one is one, a single one is taken out with a warning.
func (l *importLine) text(f field) string {
	if !strings.Contains(f.text, `\`) {
		return f.text
	}
	const mark = "\x00"
	s := strings.ReplaceAll(f.text, `\\`, mark)
	if strings.Contains(s, `\`) {
		l.warnings = append(l.warnings, problem{EventBackslash, f.at, "a single backslash was taken out; write it twice", true})
		s = strings.ReplaceAll(s, `\`, "")
	}
	return strings.ReplaceAll(s, mark, `\`)
}

// limited is a text value, made printable and cut to its limit.
func (l *importLine) limited(c column, f field, max int) string {
	s := l.text(f)
	clean := strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }), " ")
	if clean = strings.TrimSpace(strings.Map(visible, clean)); clean != s {
		l.warnings = append(l.warnings, problem{EventChangedText, f.at, "characters of " + c.name + " that are not valid were changed", true})
	}
	if utf8.RuneCountInString(clean) > max {
		l.warnings = append(l.warnings, problem{EventTruncated, f.at, c.name + " was longer than its limit and was cut", true})
		clean = strings.TrimSpace(string([]rune(clean)[:max]))
	}
	return clean
}

func visible(r rune) rune {
	if unicode.In(r, unicode.Cf) && r != '\u200c' && r != '\u200d' {
		return -1
	}
	return r
}

func isDel(s string) bool { return strings.EqualFold(s, "~DEL") }

func delOne(s string) (string, bool) {
	if len(s) > 6 && strings.EqualFold(s[:5], "~del<") && s[len(s)-1] == '>' {
		return s[5 : len(s)-1], true
	}
	return "", false
}

func parseTarget(s string, at int) (address.Address, *problem) {
	return parseAddress(s, at, EventTarget)
}

// parseAddress reads TYPE:address; what is wrong with the address itself has the event given.
func parseAddress(s string, at, event int) (address.Address, *problem) {
	typ, _, ok := strings.Cut(s, ":")
	switch typ = strings.TrimSpace(typ); {
	case !ok:
		return address.Address{}, problemf(EventNoColon, at, "%q has no colon between address type and address", cutText(s, 80))
	case typ == "":
		return address.Address{}, problemf(EventNoType, at, "%q has no address type", cutText(s, 80))
	case len(typ) > 8:
		return address.Address{}, problemf(EventLongType, at, "the address type of %q is longer than eight characters", cutText(s, 80))
	}
	a, err := address.Parse(s)
	if err != nil {
		return a, problemf(event, at, "%v", err)
	}
	return a, nil
}

// splitMulti cuts a list. A separator behind a backslash belongs to the value (*ours*: Exchange had no way to say it).
func splitMulti(s string, sep byte) []string {
	var out []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == sep:
			b.WriteByte(sep)
			i++
		case s[i] == '\\' && i+1 < len(s):
			b.WriteString(s[i : i+2])
			i++
		case s[i] == sep:
			out = append(out, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	out = append(out, b.String())
	return slices.DeleteFunc(out, func(v string) bool { return strings.TrimSpace(v) == "" })
}
