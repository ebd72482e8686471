package address

import (
	"strings"
	"unicode/utf8"
)

// Mailbox is an SMTP mailbox (RFC 5321 4.1.2, RFC 6531 3.3).
//
// Local is what the local part means, without quotes or backslashes, in the letter case in which it was written.
// Domain is lower-case and in DNS form: an internationalized domain is kept in A-labels, whichever way it was
// written, so only the local part can need SMTPUTF8. An address literal is kept as "[192.0.2.1]" or
// "[IPv6:2001:db8::1]". Domain is empty for the bare postmaster of RFC 5321 4.5.1 only.
type Mailbox struct{ Local, Domain string }

const (
	// maxLocal is what Exchange's connector took left of the @ (KB Q160284); RFC 5321 4.5.3.1.1 says 64, see Long.
	maxLocal = 246
	// maxIMCEA is the same for encapsulated addresses, which grow: what a 2,000 octet command line leaves. *Ours.*
	maxIMCEA  = 1800
	maxDomain = 255 // RFC 5321 4.5.3.1.2
)

// ParseMailbox reads local@domain, the local part quoted or not, or the bare word postmaster. It takes exactly what
// RFC 5321 and RFC 6531 allow, with three widenings: local parts up to 246 octets (see Long), '_' in domain labels
// (hosts named by NetBIOS), and U-labels. Comments, folding, source routes and display names are not part of a mailbox.
func ParseMailbox(s string) (Mailbox, error) {
	if err := check(s); err != nil {
		return Mailbox{}, err
	}
	local, rest, err := cutLocal(s)
	if err != nil {
		return Mailbox{}, err
	}
	if rest == "" && equalASCII(local, "POSTMASTER") {
		return Mailbox{Local: local}, nil
	}
	domain, ok := strings.CutPrefix(rest, "@")
	switch {
	case !ok:
		return Mailbox{}, bad(s, PartAddress, "is not local-part@domain")
	case local == "":
		return Mailbox{}, bad(s, PartLocal, "is empty")
	case len(local) > localLimit(local):
		return Mailbox{}, badf(s, PartLocal, "is longer than %d octets", localLimit(local))
	}
	d, why := canonicalDomain(domain)
	if why != "" {
		return Mailbox{}, bad(s, PartDomain, why)
	}
	return Mailbox{Local: local, Domain: d}, nil
}

// ParsePath reads an SMTP path, the mailbox in angle brackets that stands in MAIL and RCPT commands (RFC 5321 4.1.2).
// The null path "<>" gives the zero Mailbox. A source route ("<@a,@b:user@c>") is checked and ignored, as RFC 5321
// 4.1.1.3 and appendix C ask.
func ParsePath(s string) (Mailbox, error) {
	if err := check(s); err != nil {
		return Mailbox{}, err
	}
	if len(s) < 2 || s[0] != '<' || s[len(s)-1] != '>' {
		return Mailbox{}, bad(s, PartAddress, "is not in angle brackets")
	}
	in := s[1 : len(s)-1]
	if in == "" {
		return Mailbox{}, nil
	}
	if in[0] == '@' {
		route, target, ok := strings.Cut(in, ":")
		if !ok {
			return Mailbox{}, bad(s, PartAddress, "has a source route without a mailbox")
		}
		for hop := range strings.SplitSeq(route, ",") {
			d, ok := strings.CutPrefix(hop, "@")
			if _, why := canonicalDomain(d); !ok || why != "" {
				return Mailbox{}, badf(s, PartDomain, "source route %q is not @domain", hop)
			}
		}
		in = target
	}
	return ParseMailbox(in)
}

// String is local@domain, with the local part quoted when it is no dot-string. ParseMailbox reads it back.
func (m Mailbox) String() string {
	local := m.Local
	if !dotString(local) {
		local = quote(local)
	}
	if m.Domain == "" {
		return local
	}
	return local + "@" + m.Domain
}

// Path is the mailbox in angle brackets, as MAIL and RCPT want it; "<>" for the zero Mailbox.
func (m Mailbox) Path() string {
	if m == (Mailbox{}) {
		return "<>"
	}
	return "<" + m.String() + ">"
}

// Address is the typed address. It fails when a part could not have come from ParseMailbox.
func (m Mailbox) Address() (Address, error) {
	return parseTyped(SMTP, m.String())
}

// UTF8 tells that the mailbox can be sent only to a system that offers SMTPUTF8 (RFC 6531).
func (m Mailbox) UTF8() bool { return !isASCII(m.Local) || !isASCII(m.Domain) }

// Long tells that the mailbox exceeds RFC 5321's limits, 64 octets for the local part and 256 for the path (4.5.3.1),
// which other systems may enforce although this one does not. IMCEA forms often do.
func (m Mailbox) Long() bool {
	s := m.String()
	return len(s) > 254 || strings.LastIndexByte(s, '@') > 64
}

// Postmaster tells the mailbox that each domain has (RFC 5321 4.5.1), with or without a domain.
func (m Mailbox) Postmaster() bool { return equalASCII(m.Local, "POSTMASTER") }

// mailboxText gives the canonical text of a mailbox, s itself when it already is.
func mailboxText(s string) (string, error) {
	m, err := ParseMailbox(s)
	if err != nil {
		return "", err
	}
	if len(s) == len(m.Local)+1+len(m.Domain) && strings.HasPrefix(s, m.Local) && strings.HasSuffix(s, m.Domain) {
		return s, nil // neither quotes nor capitals in the domain
	}
	return m.String(), nil
}

// cutLocal splits the local part off s and removes its quotes. rest begins with the @.
func cutLocal(s string) (local, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, '@')
		if i < 0 {
			i = len(s)
		}
		if i > 0 && !dotString(s[:i]) {
			return "", "", badf(s, PartLocal, "%q must stand in quotes", s[:i])
		}
		return s[:i], s[i:], nil
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return unquote(s[1:i]), s[i+1:], nil
		case '\\':
			if i++; i < len(s) && s[i] >= utf8.RuneSelf {
				return "", "", bad(s, PartLocal, "a backslash stands before a character that is not ASCII")
			}
		}
	}
	return "", "", bad(s, PartLocal, "has no closing quote")
}

func unquote(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

var quoter = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

func quote(s string) string { return `"` + quoter.Replace(s) + `"` }

// dotString tells a local part that needs no quotes: atoms joined by single dots.
func dotString(s string) bool {
	dot := true
	for i := 0; i < len(s); i++ {
		if s[i] == '.' {
			if dot {
				return false
			}
			dot = true
			continue
		}
		if !atext(s[i]) {
			return false
		}
		dot = false
	}
	return !dot
}

// atext is RFC 5322 3.2.3's, with RFC 6531's UTF-8. Invisible characters were refused before.
func atext(c byte) bool {
	return isAlnum(c) || c >= utf8.RuneSelf || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func localLimit(local string) int {
	if hasIMCEA(local) {
		return maxIMCEA
	}
	return maxLocal
}
