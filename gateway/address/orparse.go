package address

import (
	"slices"
	"strings"
)

// orKeywords are the attribute keywords that we read, in lower case, as an index into orFields: those of KB Q118563,
// RFC 1685 (F.401 annex F) and RFC 2156.
var orKeywords = map[string]int{
	"c": 0, "country": 0,
	"a": 1, "admd": 1,
	"p": 2, "prmd": 2,
	"o": 3, "org": 3, "organization": 3,
	"ou1": 4, "ou2": 5, "ou3": 6, "ou4": 7,
	"s": 8, "surname": 8, "sn": 8,
	"g": 9, "givenname": 9, "given-name": 9, "gn": 9,
	"i": 10, "initials": 10,
	"q": 11, "gq": 11, "generation": 11, "generation-qualifier": 11,
	"cn": 12, "commonname": 12, "common-name": 12,
	"x.121": 13, "x121": 13,
	"n-id": 14, "nid": 14, "ua-id": 14, "uaid": 14,
	"t-id": 15, "tid": 15, "terminal-id": 15,
	"t-ty": 16, "tty": 16, "terminal-type": 16,
}

// ParseORAddress reads an O/R address in each syntax that MS Mail, Exchange, RFC 1685 and MIXER write. Keywords are
// case-insensitive and may come in any order.
//
//	c=US;a= ;p=Northwind;o=P/Q;s=Kumar;    semicolons; a slash is plain, ";;" in a value is a semicolon
//	/c=US/a= /p=Northwind/o=P$/Q           slashes, with one in front; "$/" in a value is a slash (KB Q108732)
//	/G=Mira/OU=Sales/OU=West/.../C=US/     MIXER; also "$=" and "$$", and /PN=Mira.Kumar/ (RFC 2156 4.2.1)
//	dda:MS=NET/PO/MBX                      domain-defined attributes: also DD.MS=, /dda:MS=NET//PO//MBX (Q156355),
//	                                       /DDA.TYPE=MS/DDA.VALUE=NET$/PO$/MBX (Q176425), /ddat=ms /ddav="NET/PO/MBX"
//	                                       (Q147084), RFC-822=user(a)domain
//
// OU without a number may be repeated: from the organization downwards when a wider attribute (c, a, p, o) stands
// before the first of them, upwards otherwise. Blanks around and runs of blanks inside a value do not count, an empty
// "a=" is the blank ADMD, other empty attributes are absent. Limits and character set are Validate's.
func ParseORAddress(s string) (ORAddress, error) {
	if err := check(s); err != nil {
		return ORAddress{}, err
	}
	p := orParser{input: s, rest: strings.Trim(s, " ")}
	p.slash = strings.HasPrefix(p.rest, "/")
	for {
		key, value, ok, err := p.next()
		if err != nil {
			return ORAddress{}, err
		}
		if !ok {
			break
		}
		if err := p.put(key, value); err != nil {
			return ORAddress{}, err
		}
	}
	if err := p.finish(); err != nil {
		return ORAddress{}, err
	}
	return p.or, nil
}

type orParser struct {
	input, rest string
	slash       bool
	or          ORAddress
	seen        [len(orFields)]bool
	ou          []string // OU attributes without a number
	ouDown      bool     // they run from the organization downwards
	ddaType     string   // of a pair of fields whose value is still to come
}

// next cuts one attribute off the rest.
func (p *orParser) next() (key, value string, ok bool, err error) {
	sep := ";"
	if p.slash {
		sep = "/"
	}
	p.rest = strings.TrimLeft(p.rest, sep+" ")
	if p.rest == "" {
		return "", "", false, nil
	}
	eq := strings.IndexByte(p.rest, '=')
	if end := strings.Index(p.rest, sep); eq < 0 || end >= 0 && end < eq {
		word, _, _ := strings.Cut(p.rest, sep)
		return "", "", false, badf(p.input, PartAttribute, "%q is not keyword=value", word)
	}
	key, p.rest = strings.Trim(p.rest[:eq], " "), p.rest[eq+1:]
	lower := strings.ToLower(key)
	switch {
	case lower == "ddav" && p.quoted(&value):
	case p.slash:
		value = p.slashValue(strings.HasPrefix(lower, "dd") || strings.HasPrefix(lower, "rfc"))
	default:
		value = p.semicolonValue()
	}
	return key, strings.Trim(value, " "), true, nil
}

// quoted takes a value in double quotes, in which no character is special (KB Q147084).
func (p *orParser) quoted(value *string) bool {
	in, ok := strings.CutPrefix(strings.TrimLeft(p.rest, " "), `"`)
	if !ok {
		return false
	}
	v, after, ok := strings.Cut(in, `"`)
	if ok {
		*value, p.rest = v, after
	}
	return ok
}

func (p *orParser) semicolonValue() string {
	end := strings.IndexByte(p.rest, ';')
	if end < 0 {
		end = len(p.rest)
	}
	if !strings.HasPrefix(p.rest[end:], ";;") { // the usual case
		v := p.rest[:end]
		p.rest = p.rest[end:]
		return v
	}
	var b strings.Builder
	for p.rest != "" {
		if p.rest[0] == ';' {
			if !strings.HasPrefix(p.rest, ";;") {
				break
			}
			p.rest = p.rest[1:]
		}
		b.WriteByte(p.rest[0])
		p.rest = p.rest[1:]
	}
	return b.String()
}

// slashValue reads up to the next slash that ends the attribute. In a domain-defined attribute a doubled slash is
// plain, and so is one after which no other attribute follows: Exchange and people wrote both (KB Q156355).
func (p *orParser) slashValue(dda bool) string {
	var b strings.Builder
	s := p.rest
	i := 0
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '$' && i+1 < len(s) && escapable(s[i+1]):
			i++
		case c == '/' && dda && i+1 < len(s) && s[i+1] == '/':
			i++
		case c == '/' && dda && plainSegment(s[i+1:]):
		case c == '/':
			p.rest = s[i:]
			return b.String()
		}
		b.WriteByte(s[i])
	}
	p.rest = ""
	return b.String()
}

// plainSegment tells that what comes up to the next slash is no attribute but more of a path.
func plainSegment(s string) bool {
	segment, _, _ := strings.Cut(s, "/")
	return strings.Trim(segment, " ") != "" && !strings.Contains(segment, "=")
}

// put stores one attribute.
func (p *orParser) put(key, value string) error {
	lower := strings.ToLower(key)
	if p.ddaType != "" && lower != "dda.value" && lower != "ddav" {
		return badf(p.input, PartAttribute, "the domain-defined type %q is not followed by its value", p.ddaType)
	}
	if i, ok := orKeywords[lower]; ok {
		return p.standard(i, key, value)
	}
	switch lower {
	case "ou":
		if value == "" {
			return nil
		}
		if len(p.ou) == 0 {
			p.ouDown = p.seen[0] || p.seen[1] || p.seen[2] || p.seen[3]
		}
		if p.ou = append(p.ou, squeeze(fromTeletex(value))); len(p.ou) > len(p.or.OU) {
			return bad(p.input, "ou", "there are more than four organizational units")
		}
		return nil
	case "pn":
		return p.personalName(value)
	case "dda.type", "ddat":
		p.ddaType = value
		return nil
	case "dda.value", "ddav":
		t := p.ddaType
		p.ddaType = ""
		return p.domainDefined(t, value)
	case "rfc-822", "rfc822":
		return p.domainDefined(ddaRFC822, value)
	}
	for _, prefix := range []string{"dda:", "dd.", "dd:", "dda."} {
		if strings.HasPrefix(lower, prefix) {
			return p.domainDefined(strings.Trim(key[len(prefix):], " "), value)
		}
	}
	return badf(p.input, PartAttribute, "%q is not an O/R keyword that we know", key)
}

func (p *orParser) standard(i int, key, value string) error {
	f := orFields[i]
	if p.seen[i] {
		return bad(p.input, f.key, "stands twice")
	}
	p.seen[i] = true
	v := squeeze(fromTeletex(value))
	if v == "" && f.key == "a" {
		v = " "
	}
	*f.at(&p.or) = v
	return nil
}

// personalName reads RFC 2156 4.2.1's encoded-pn: [given "."] *( initial ".") surname, where a given name has two letters or more.
func (p *orParser) personalName(value string) error {
	parts := strings.Split(value, ".")
	for i, part := range parts {
		switch {
		case part == "":
			return bad(p.input, "pn", "has an empty part")
		case i == len(parts)-1:
			return p.standard(orKeywords["s"], "pn", part)
		case len(part) == 1:
			p.or.I += part
			p.seen[orKeywords["i"]] = true
		case i > 0:
			return bad(p.input, "pn", "has more than one given name")
		default:
			if err := p.standard(orKeywords["g"], "pn", part); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *orParser) domainDefined(t, value string) error {
	if !p.slash && slashDDA(t) && onlyEvenSlashes(value) {
		value = strings.ReplaceAll(value, "//", "/")
	}
	d := DDA{Type: t, Value: value}
	if err := checkDDA(p.input, d); err != nil {
		return err
	}
	p.or.DDA = append(p.or.DDA, d)
	return nil
}

func (p *orParser) finish() error {
	if p.ddaType != "" {
		return badf(p.input, PartAttribute, "the domain-defined type %q is not followed by its value", p.ddaType)
	}
	if len(p.ou) > 0 && p.or.OU != [4]string{} {
		return bad(p.input, "ou", "units with and without a number are mixed")
	}
	if !p.ouDown {
		slices.Reverse(p.ou)
	}
	copy(p.or.OU[:], p.ou)
	return checkOR(p.input, p.or)
}

// checkOR refuses what no text form can carry.
func checkOR(input string, o ORAddress) error {
	if o.IsZero() {
		return bad(input, PartAddress, "has no attributes")
	}
	for i := 1; i < len(o.OU); i++ {
		if o.OU[i] != "" && o.OU[i-1] == "" {
			return bad(input, orFields[4+i].key, "stands without the unit above it")
		}
	}
	for _, d := range o.DDA {
		if err := checkDDA(input, d); err != nil {
			return err
		}
	}
	return nil
}

// checkDDA refuses a domain-defined attribute that has no text form.
func checkDDA(input string, d DDA) error {
	switch {
	case d.Type == "" || strings.ContainsAny(d.Type, "=;/$") || d.Type != squeeze(d.Type):
		return badf(input, PartAttribute, "%q is not the type of a domain-defined attribute", d.Type)
	case strings.Trim(d.Value, " ") == "":
		return bad(input, "dda:"+d.Type, "has no value")
	}
	return nil
}
