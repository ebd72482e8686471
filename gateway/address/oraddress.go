package address

// ORAddress is an X.400 O/R address (X.402, RFC 2156 4.1). Empty fields are absent; ADMD may be a single blank.
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
