package dirsync

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"backbone/gateway/address"
)

// WireType is how an address type is spelled in transactions: MS Mail's own is PCM there.
func WireType(t address.Type) string {
	if t == address.MS {
		return "PCM"
	}
	return string(t)
}

// appendTo writes the transaction's lines (KB Q96060: column 1 the operation, 3 to 32 the name, 34 the typed address).
// Each line has number before it when that is not 0.
func (t *Transaction) appendTo(b *strings.Builder) {
	line := func(text string) {
		if t.Number > 0 {
			fmt.Fprintf(b, "%010d ", t.Number)
		}
		b.WriteString(text)
		b.WriteString("\r\n")
	}
	identity := func(op byte, i Identity) {
		name := oneLine(i.Name)
		pad := max(MaxName-utf8.RuneCountInString(name), 0)
		line(fmt.Sprintf("%c %s%s %s:%s", op, name, strings.Repeat(" ", pad), WireType(i.Address.Type), oneLine(i.Address.Value)))
	}
	switch t.Op {
	case Add:
		identity('A', t.New)
	case Delete:
		identity('D', t.Old)
	case Modify:
		identity('M', t.Old)
		identity(' ', t.New) // without it Exchange loses the user (KB Q152424)
	case Replace, Define:
		line(fmt.Sprintf("%c %s", t.Op, oneLine(t.Scope)))
	}
	for _, d := range t.Details {
		line("- " + escape(d.Prompt) + ":/" + escape(d.Value))
	}
	for _, p := range t.Prompts {
		line(fmt.Sprintf("%s:~%d~%d~%s~%s~", oneLine(p.Prompt), p.Start, p.Width, oneLine(p.Edit), oneLine(p.DataContents)))
	}
}

// oneLine keeps control characters out of the records.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// escape doubles slashes in template data (KB Q118447, Q118298).
func escape(s string) string { return strings.ReplaceAll(oneLine(s), "/", "//") }

func unescape(s string) string { return strings.ReplaceAll(s, "//", "/") }

// reader makes transactions of lines.
type reader struct {
	out      []Transaction
	problems []Problem
	current  *Transaction // the one that further lines belong to
	second   bool         // a Modify waits for its second line
	bad      bool         // the present record is refused: its further lines go with it
}

func (r *reader) problem(line int, number uint64, code int, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: line, Number: number, Code: code, Text: fmt.Sprintf(format, args...)})
}

// maxProblems bounds what a hostile list can make us remember.
const maxProblems = 1000

// line takes one line; n counts from 1.
func (r *reader) line(n int, s string) {
	if len(r.problems) > maxProblems {
		return
	}
	number, s := cutNumber(s)
	if strings.TrimSpace(s) == "" {
		return
	}
	switch c := s[0]; {
	case c == '-':
		r.detail(n, s)
	case c == '&': // local settings of a user (KB Q111556)
	case c == ' ' || c == '\t':
		r.continued(n, s)
	case len(s) > 1 && s[1] != ' ' && s[1] != '\t' && r.current != nil && r.current.Op == Define && strings.Contains(s, ":~"):
		r.prompt(n, s)
	default:
		r.begin(n, number, s)
	}
}

// cutNumber takes the sequence number off.
func cutNumber(s string) (uint64, string) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	if i == 0 || i > 19 || i == len(s) || s[i] != ' ' {
		return 0, s
	}
	number, err := strconv.ParseUint(s[:i], 10, 63)
	if err != nil {
		return 0, s
	}
	return number, s[i+1:]
}

func (r *reader) begin(n int, number uint64, s string) {
	r.finish()
	r.bad = true // until it turns out good
	op := Op(s[0])
	if 'a' <= op && op <= 'z' {
		op -= 'a' - 'A'
	}
	switch op {
	case Add, Modify, Delete, Replace, Define:
	default:
		r.problem(n, number, CodeCommand, "%q is no operation: A, D, M, R or T", cut(s, 20))
		return
	}
	if len(s) < 3 || s[1] != ' ' && s[1] != '\t' {
		r.problem(n, number, CodeSeparator, "a blank or tab is expected in column 2 of %q", cut(s, 20))
		return
	}
	t := Transaction{Number: number, Op: op, Line: n}
	if op == Replace || op == Define {
		scope, err := parseScope(strings.TrimSpace(s[2:]))
		if err != nil {
			r.problem(n, number, CodeType, "%v", err)
			return
		}
		t.Scope = scope
	} else {
		id, ok := r.identity(n, number, s[2:])
		if !ok {
			return
		}
		if op == Add {
			t.New = id
		} else {
			t.Old = id
		}
	}
	r.bad = false
	r.out = append(r.out, t)
	r.current, r.second = &r.out[len(r.out)-1], op == Modify
}

// continued is a Modify's second line.
func (r *reader) continued(n int, s string) {
	switch {
	case r.bad:
	case !r.second:
		r.problem(n, 0, CodeColumn1, "a line that begins with a blank can only follow an M line")
	default:
		id, ok := r.identity(n, r.current.Number, strings.TrimLeft(s, " \t"))
		if !ok {
			r.drop()
			return
		}
		r.current.New, r.second = id, false
	}
}

// drop takes back the present record.
func (r *reader) drop() {
	r.out = r.out[:len(r.out)-1]
	r.current, r.second, r.bad = nil, false, true
}

// finish ends the present record.
func (r *reader) finish() {
	if r.second {
		t := *r.current
		r.drop()
		r.problem(t.Line, t.Number, CodeSeparator, "the second line of M %s is missing (KB Q152424)", t.Old.Name)
	}
	r.current, r.second = nil, false
}

// maxDetails bounds one record.
const maxDetails = 64

func (r *reader) detail(n int, s string) {
	if r.bad {
		return
	}
	if r.current == nil || r.second || r.current.Op != Add && r.current.Op != Modify || len(r.current.Details) == maxDetails {
		r.problem(n, 0, CodeColumn1, "a template line can only follow a whole A or M record")
		return
	}
	prompt, value, ok := strings.Cut(strings.TrimLeft(oneLine(s[1:]), " "), ":/")
	if !ok {
		r.problem(n, r.current.Number, CodeTemplate, "template line %q has no :/", cut(s, 40))
		return
	}
	r.current.Details = append(r.current.Details, Detail{unescape(prompt), unescape(value)})
}

func (r *reader) prompt(n int, s string) {
	s = strings.ReplaceAll(s, "\t", " ")
	prompt, rest, _ := strings.Cut(s, ":~")
	f := strings.Split(rest, "~")
	var start, width int
	var err error
	if len(f) >= 4 {
		if start, err = strconv.Atoi(f[0]); err == nil {
			width, err = strconv.Atoi(f[1])
		}
	}
	if len(f) < 4 || err != nil || len(r.current.Prompts) == maxDetails || oneLine(s) != s {
		r.problem(n, r.current.Number, CodeTemplate, "template definition %q is not Prompt:~start~width~edit~data~", cut(s, 40))
		return
	}
	r.current.Prompts = append(r.current.Prompts, Prompt{prompt, start, width, f[2], f[3]})
}

// identity reads name and address and applies the limits of MS Mail: 30 characters, 10/10/10.
func (r *reader) identity(n int, number uint64, s string) (Identity, bool) {
	name, typ, value := splitIdentity(s)
	if value == "" {
		r.problem(n, number, CodeSeparator, "no address stands behind the name in %q", cut(s, 60))
		return Identity{}, false
	}
	if typ == "" {
		typ = "PCM" // MS Mail takes it for granted; Exchange 4.0 dropped such lines silently (KB Q140944)
	}
	a, code, err := parseAddress(typ, value)
	if err != nil {
		r.problem(n, number, code, "%v", err)
		return Identity{}, false
	}
	if utf8.RuneCountInString(name) > MaxName {
		r.problem(n, number, CodeFullName, "the full name %q has %d characters, at most %d", cut(name, 60), utf8.RuneCountInString(name), MaxName)
		return Identity{}, false
	}
	if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		r.problem(n, number, CodeFullName, "%q is no full name", cut(name, 60))
		return Identity{}, false
	}
	return Identity{name, a}, true
}

// splitIdentity finds the address: after a tab; or in column 34 of the line; or after the last blanks before which a
// type could end.
func splitIdentity(s string) (name, typ, value string) {
	if i := strings.LastIndexByte(s, '\t'); i >= 0 {
		typ, value = splitType(strings.TrimSpace(s[i+1:]))
		return strings.TrimSpace(s[:i]), typ, value
	}
	if rs := []rune(s); len(rs) > MaxName+1 && rs[MaxName] == ' ' {
		if typ, value = splitType(strings.TrimRight(string(rs[MaxName+1:]), " ")); typ != "" {
			return strings.TrimSpace(string(rs[:MaxName])), typ, value
		}
	}
	s = strings.TrimSpace(s)
	for i := len(s) - 1; i > 0; i-- {
		if s[i-1] != ' ' || s[i] == ' ' {
			continue
		}
		if typ, value = splitType(s[i:]); typ != "" {
			return strings.TrimSpace(s[:i]), typ, value
		}
	}
	if i := strings.LastIndexByte(s, ' '); i >= 0 && strings.Count(s[i:], "/") == 2 {
		return strings.TrimSpace(s[:i]), "", s[i+1:]
	}
	return s, "", ""
}

// splitType parts TYPE:value when TYPE can be one.
func splitType(s string) (typ, value string) {
	typ, value, ok := strings.Cut(s, ":")
	if !ok || typ == "" || len(typ) > 8 || value == "" {
		return "", s
	}
	for _, c := range []byte(typ) {
		if ('0' > c || c > '9') && ('A' > c || c > 'Z') && ('a' > c || c > 'z') {
			return "", s
		}
	}
	return strings.ToUpper(typ), value
}

// parseAddress reads a typed address; CSI, PCM and MS are one (KB Q156730).
func parseAddress(typ, value string) (address.Address, int, error) {
	switch typ {
	case "PCM", "CSI", "MS":
		a, err := address.Parse("MS:" + value)
		if err == nil {
			return a, 0, nil
		}
		for e := range strings.SplitSeq(value, "/") {
			if utf8.RuneCountInString(e) > 10 {
				return a, CodeTooLong, fmt.Errorf("%q: network, post office and mailbox have at most 10 characters each", cut(value, 60))
			}
		}
		return a, CodeCharacters, fmt.Errorf("%q is no NET/PO/MAILBOX: %w", cut(value, 60), err)
	}
	t, err := address.ParseType(typ)
	if err != nil {
		return address.Address{}, CodeType, fmt.Errorf("address type %q is not known", typ)
	}
	a, err := address.Parse(string(t) + ":" + value)
	if err != nil {
		return a, CodeCharacters, fmt.Errorf("%q: %w", cut(typ+":"+value, 60), err)
	}
	return a, 0, nil
}

// parseScope reads TYPE:NET/PO, or TYPE: alone for a gateway's list.
func parseScope(s string) (string, error) {
	s = strings.TrimSpace(oneLine(s))
	typ, value := splitType(s)
	if typ == "" && strings.HasSuffix(s, ":") {
		typ, value = splitType(s + "*")
		if typ != "" {
			return typ + ":", nil
		}
	}
	switch typ {
	case "PCM", "CSI", "MS":
		po, err := address.ParsePostOffice(value)
		if err != nil {
			return "", fmt.Errorf("%q is no TYPE:NET/PO: %w", cut(s, 60), err)
		}
		return "PCM:" + po.String(), nil
	case "":
		return "", fmt.Errorf("%q is no TYPE:NET/PO", cut(s, 60))
	}
	return typ + ":" + value, nil
}

func cut(s string, max int) string {
	if r := []rune(s); len(r) > max {
		return string(r[:max]) + "..."
	}
	return s
}

// ImportText writes transactions as IMPORT.EXE reads them from a file (KB Q119016).
func ImportText(ts []Transaction) string {
	var b strings.Builder
	for i := range ts {
		ts[i].appendTo(&b)
	}
	return b.String()
}

// ParseImport reads a file of IMPORT.EXE.
func ParseImport(text string) ([]Transaction, []Problem) {
	r := reader{}
	n := 0
	for line := range lines(text) {
		n++
		r.line(n, line)
	}
	r.finish()
	return r.out, r.problems
}
