package address

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// ParseDomain reads the name of a mail domain or an address literal and gives its canonical form: lower-case,
// A-labels. See Mailbox.
func ParseDomain(s string) (string, error) {
	if err := check(s); err != nil {
		return "", err
	}
	d, why := canonicalDomain(s)
	if why != "" {
		return "", bad(s, PartDomain, why)
	}
	return d, nil
}

// canonicalDomain returns why a domain is wrong, or its canonical form.
func canonicalDomain(s string) (domain, why string) {
	if strings.HasPrefix(s, "[") {
		return addressLiteral(s)
	}
	if !isASCII(s) {
		a, err := idna.Lookup.ToASCII(s)
		if err != nil {
			return "", "is not a valid internationalized domain name"
		}
		s = a
	}
	switch {
	case s == "":
		return "", "is empty"
	case len(s) > maxDomain:
		return "", "is longer than 255 octets"
	}
	for rest, more := s, true; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		switch {
		case label == "":
			return "", "has an empty label"
		case len(label) > 63:
			return "", "has a label longer than 63 octets"
		case label[0] == '-' || label[len(label)-1] == '-':
			return "", "has a label that begins or ends with a hyphen"
		case !allFunc(label, labelChar):
			return "", "has a character that is neither letter, digit nor hyphen"
		}
	}
	return strings.ToLower(s), ""
}

func labelChar(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }

// addressLiteral reads [192.0.2.1] or [IPv6:2001:db8::1] (RFC 5321 4.1.3). Other tags have never been assigned.
func addressLiteral(s string) (literal, why string) {
	const wrong = "is not an address literal like [192.0.2.1] or [IPv6:2001:db8::1]"
	in, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", wrong
	}
	tag := ""
	if len(in) > 5 && equalASCII(in[:5], "IPV6:") {
		tag, in = "IPv6:", in[5:]
	}
	ip, err := netip.ParseAddr(in)
	if err != nil || ip.Zone() != "" || ip.Is4() != (tag == "") {
		return "", wrong
	}
	return "[" + tag + ip.String() + "]", ""
}
