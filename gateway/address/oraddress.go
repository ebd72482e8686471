package address

import "strings"

// ORAddress is an X.400 O/R address (X.402 clause 18, RFC 2156 4.1). Empty fields are absent; ADMD may be a single
// blank, "any ADMD of the country".
//
// A field may hold any visible character and any length: what strict X.400 takes is Validate's to say.
type ORAddress struct {
	C, A, P, O string
	OU         [4]string // ou1..ou4, from the organization downwards
	S, G, I, Q string
	CN         string
	X121       string
	NID        string
	TID, TTY   string
	DDA        []DDA
}

// DDA is a domain-defined attribute: type up to 8, value up to 128 characters, at most four pairs.
type DDA struct{ Type, Value string }

// orField describes one standard attribute. Their order in orFields is the order of canonical text.
type orField struct {
	key   string // canonical keyword, KB Q118563 and RFC 1685
	mixer string // RFC 2156's
	max   int    // characters (KB Q118563; X.411 upper bounds)
	at    func(*ORAddress) *string
}

var orFields = [...]orField{
	{"c", "C", 3, func(o *ORAddress) *string { return &o.C }},
	{"a", "ADMD", 16, func(o *ORAddress) *string { return &o.A }},
	{"p", "PRMD", 16, func(o *ORAddress) *string { return &o.P }},
	{"o", "O", 64, func(o *ORAddress) *string { return &o.O }},
	{"ou1", "OU", 32, func(o *ORAddress) *string { return &o.OU[0] }},
	{"ou2", "OU", 32, func(o *ORAddress) *string { return &o.OU[1] }},
	{"ou3", "OU", 32, func(o *ORAddress) *string { return &o.OU[2] }},
	{"ou4", "OU", 32, func(o *ORAddress) *string { return &o.OU[3] }},
	{"s", "S", 40, func(o *ORAddress) *string { return &o.S }},
	{"g", "G", 16, func(o *ORAddress) *string { return &o.G }},
	{"i", "I", 5, func(o *ORAddress) *string { return &o.I }},
	{"q", "GQ", 3, func(o *ORAddress) *string { return &o.Q }},
	{"cn", "CN", 64, func(o *ORAddress) *string { return &o.CN }},
	{"x.121", "X121", 15, func(o *ORAddress) *string { return &o.X121 }},
	{"n-id", "UA-ID", 32, func(o *ORAddress) *string { return &o.NID }},
	{"t-id", "T-ID", 24, func(o *ORAddress) *string { return &o.TID }},
	{"t-ty", "T-TY", 3, func(o *ORAddress) *string { return &o.TTY }},
}

// String is the canonical text, KB Q108732's semicolon form: "c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;". A
// semicolon inside a value is doubled (RFC 1685). ParseORAddress reads it back.
func (o ORAddress) String() string {
	var b strings.Builder
	for _, f := range orFields {
		if v := o.canonical(f); v != "" {
			b.WriteString(f.key)
			b.WriteByte('=')
			b.WriteString(doubleSemicolons(v))
			b.WriteByte(';')
		}
	}
	for _, d := range o.DDA {
		v := strings.Trim(d.Value, " ")
		if slashDDA(d.Type) && onlyEvenSlashes(v) {
			v = strings.ReplaceAll(v, "/", "//") // or the parser would take them for Exchange's doubling
		}
		b.WriteString("dda:")
		b.WriteString(d.Type)
		b.WriteByte('=')
		b.WriteString(doubleSemicolons(v))
		b.WriteByte(';')
	}
	return b.String()
}

// Slash is the form with slashes, in which FFAPI writes O/R addresses: "/c=US/a= /p=Northwind/o=P$/Q" (KB Q108732,
// Q94410). ParseORAddress reads it back.
func (o ORAddress) Slash() string {
	var b strings.Builder
	for _, f := range orFields {
		if v := o.canonical(f); v != "" {
			b.WriteByte('/')
			b.WriteString(f.key)
			b.WriteByte('=')
			writeSlashed(&b, v, false)
		}
	}
	for _, d := range o.DDA {
		b.WriteString("/dda:")
		b.WriteString(d.Type)
		b.WriteByte('=')
		writeSlashed(&b, strings.Trim(d.Value, " "), false)
	}
	return b.String()
}

// MIXER is RFC 2156's std-or-address, most specific attribute first: "/G=Mira/S=Kumar/O=SITEB/PRMD=Northwind/ADMD= /C=US/",
// with domain-defined attributes as /DD.TYPE=value, and what is not ASCII in digits where T.61 has it. It is what stands left of the @ when an O/R address appears in
// RFC 5322, and in the x400 address type of delivery reports. ParseORAddress reads it back.
func (o ORAddress) MIXER() string {
	var b strings.Builder
	for _, d := range o.DDA {
		b.WriteString("/DD.")
		b.WriteString(d.Type)
		b.WriteByte('=')
		writeSlashed(&b, strings.Trim(d.Value, " "), true)
	}
	for _, key := range []string{"g", "i", "s", "q", "cn", "x.121", "n-id", "t-id", "t-ty", "ou4", "ou3", "ou2", "ou1", "o", "p", "a", "c"} {
		f := orFields[orKeywords[key]]
		if v := o.canonical(f); v != "" {
			b.WriteByte('/')
			b.WriteString(f.mixer)
			b.WriteByte('=')
			writeSlashed(&b, toTeletex(v), true)
		}
	}
	if b.Len() > 0 {
		b.WriteByte('/')
	}
	return b.String()
}

// Address is the typed address in canonical text. It fails when o is empty, or holds what no text form may carry: a
// control or invisible character, a gap between organizational units, a domain-defined attribute without type or value.
// It does not demand what Validate demands.
func (o ORAddress) Address() (Address, error) {
	text := o.String()
	if err := check(text); err != nil {
		return Address{}, err
	}
	if err := checkOR(text, o); err != nil {
		return Address{}, err
	}
	return Address{X400, text}, nil
}

// IsZero tells an address without attributes.
func (o ORAddress) IsZero() bool {
	for _, f := range &orFields {
		if o.canonical(f) != "" {
			return false
		}
	}
	return len(o.DDA) == 0
}

// Equal compares as X.402 18.4 and KB Q108732 have it: without regard to letter case, outer blanks and the length of
// inner runs of blanks; an absent ADMD, " " and "0" are the same.
func (o ORAddress) Equal(p ORAddress) bool { return foldOR(o.String()) == foldOR(p.String()) }

// canonical is a standard attribute's value, blanks squeezed. An ADMD of blanks is one blank.
func (o *ORAddress) canonical(f orField) string {
	v := *f.at(o)
	s := squeeze(v)
	if s == "" && v != "" && f.key == "a" {
		return " "
	}
	return s
}

func doubleSemicolons(v string) string { return strings.ReplaceAll(v, ";", ";;") }

// writeSlashed escapes v for a form with slashes: "$/" is a slash and, in MIXER's form, "$=" an equals sign. A dollar
// stands for itself ($SYSTEM) except where it would be read as an escape; there it is "$$".
func writeSlashed(b *strings.Builder, v string, mixer bool) {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '/', c == '=' && mixer:
			b.WriteByte('$')
		case c == '$' && (i+1 == len(v) || escapable(v[i+1])):
			b.WriteByte('$')
		}
		b.WriteByte(v[i])
	}
}

// escapable tells the characters that a dollar quotes.
func escapable(c byte) bool { return c == '/' || c == '=' || c == '$' }

// slashDDA tells the types whose values are paths. Exchange showed their slashes doubled (KB Q156355, Q224565).
func slashDDA(t string) bool {
	switch upperASCII(t) {
	case "MS", "MSA", "CSI", "PCM", "EX", "SNADS", "PROFS", "OV":
		return true
	}
	return false
}

// onlyEvenSlashes tells that v has slashes and each run of them has an even length.
func onlyEvenSlashes(v string) bool {
	if !strings.Contains(v, "/") {
		return false
	}
	return !strings.Contains(strings.ReplaceAll(v, "//", ""), "/")
}
