package address

import "strings"

// Space is one address space: which recipients a connector claims, and at what cost (KB Q149121, Q152471).
type Space struct {
	Type Type `json:"type"`
	// Pattern is as much of the address as is needed to distinguish: "" any address of the type, MS "NET/PO" or
	// "NET/PO/MBX", SMTP "*@example.com", X400 "c=US;a= ;p=Northwind;". '*' matches any run of characters, '%' one.
	Pattern string `json:"pattern"`
	// Cost is 1 (preferred) to 100 (last resort, KB Q262952).
	Cost int `json:"cost"`
	// Scope limits which gateways see the space when it is replicated: "organization" (default), "site", "location".
	Scope string `json:"scope,omitempty"`
	// Origin says where the space comes from, for `route explain`: "config", "post office", "directory:<object>", "learned".
	Origin string `json:"origin,omitempty"`
}

// String is "TYPE:pattern".
func (s Space) String() string { return string(s.Type) + ":" + s.Pattern }

// ParseSpace reads "TYPE:pattern". Cost, scope and origin are left zero.
//
// The pattern becomes canonical: MS upper-case with blank elements at the end dropped (a blank matches all beneath),
// SMTP lower-case, X400 in semicolon form with a final "*" dropped (a partial O/R address matches all beneath). An empty
// pattern and "*" stay apart, since the wildcard is the better match of the two (KB Q152471).
func ParseSpace(s string) (Space, error) {
	if err := check(s); err != nil {
		return Space{}, err
	}
	name, pattern, ok := strings.Cut(strings.Trim(s, " "), ":")
	if !ok {
		return Space{}, bad(s, PartType, "an address space is TYPE:pattern; write TYPE: for the whole type")
	}
	t, why := canonicalType(strings.Trim(name, " "))
	if why != "" {
		return Space{}, bad(s, PartType, why)
	}
	pattern, err := canonicalPattern(t, strings.Trim(pattern, " "))
	if err != nil {
		return Space{}, err
	}
	return Space{Type: t, Pattern: pattern}, nil
}

// Validate checks a complete space: type and canonical pattern, a cost of 1 to 100, a scope that exists. An empty
// scope is the organization.
func (s Space) Validate() error {
	if t, err := ParseType(string(s.Type)); err != nil || t != s.Type {
		return badf(s.String(), PartType, "%q is not an address type", string(s.Type))
	}
	p, err := canonicalPattern(s.Type, s.Pattern)
	switch {
	case err != nil:
		return err
	case p != s.Pattern:
		return badf(s.String(), "pattern", "write it %q", p)
	case s.Cost < 1 || s.Cost > 100:
		return badf(s.String(), "cost", "%d is outside 1..100", s.Cost)
	}
	switch s.Scope {
	case "", "organization", "site", "location":
		return nil
	}
	return badf(s.String(), "scope", "%q: write organization, site or location", s.Scope)
}

func canonicalPattern(t Type, p string) (string, error) {
	if err := check(p); err != nil {
		return "", err
	}
	if p == "" || p == "*" {
		return p, nil
	}
	switch t {
	case MS:
		return msPattern(p)
	case SMTP:
		return smtpPattern(p)
	case X400:
		return orPattern(p)
	}
	return p, nil
}

func msPattern(p string) (string, error) {
	p = upperASCII(strings.TrimRight(p, "/ "))
	parts := []string{PartNetwork, PartPO, PartMailbox}
	elements := strings.Split(p, "/")
	if len(elements) > len(parts) {
		return "", bad(p, PartAddress, "has more than the three elements NETWORK/POSTOFFICE/MAILBOX")
	}
	for i, e := range elements {
		// A wildcard may stand for nothing, so what is left without it must obey the rules.
		literal := strings.NewReplacer("*", "", "%", "X").Replace(e)
		if e == "" {
			return "", bad(p, parts[i], "is blank before an element that is not; write *")
		}
		if literal == "" || e == "*SPECIAL" {
			continue
		}
		if err := checkElement(p, parts[i], literal); err != nil {
			return "", err
		}
	}
	return p, nil
}

func smtpPattern(p string) (string, error) {
	p = fold(p)
	if strings.Contains(p, " ") {
		return "", bad(p, PartAddress, "has a blank")
	}
	i := strings.LastIndexByte(p, '@')
	if i < 0 && !strings.ContainsAny(p, "*%") {
		return "", badf(p, PartAddress, "matches no mailbox, since the whole address is compared: write *@%s (KB Q229961)", p)
	}
	if i < 0 || isASCII(p[i+1:]) && strings.ContainsAny(p[i+1:], "*%") {
		return p, nil
	}
	d, why := canonicalDomain(p[i+1:]) // addresses have their domain in A-labels, so the pattern must too
	if why != "" {
		return "", bad(p, PartDomain, why)
	}
	return p[:i+1] + d, nil
}

func orPattern(p string) (string, error) {
	end := ";*"
	if strings.HasPrefix(p, "/") {
		end = "/*"
	}
	if partial, ok := strings.CutSuffix(p, end); ok && !strings.HasSuffix(partial, "$") {
		p = partial
	}
	or, err := ParseORAddress(p)
	if err != nil {
		return "", err
	}
	a, err := or.Address()
	return a.Value, err
}
