package smtp

import (
	"errors"
	"strings"

	"backbone/gateway/address"
)

// argError says what is wrong with an argument, in words for the client.
type argError string

func (e argError) Error() string { return string(e) }

// param is one ESMTP parameter (RFC 5321 4.1.1.11).
type param struct {
	name  string // upper case
	value string
	given bool // has an equals sign
}

func (p param) String() string {
	if !p.given {
		return p.name
	}
	return p.name + "=" + p.value
}

// parsePathArg reads "FROM:<path> NAME=VALUE ...". Blanks after the colon are tolerated, as many clients send one.
func parsePathArg(arg, keyword string) (address.Mailbox, []param, error) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return address.Mailbox{}, nil, argError("Expected " + keyword + "<address>")
	}
	s := strings.TrimLeft(arg[len(keyword):], " ")
	end := pathEnd(s)
	if end < 0 {
		return address.Mailbox{}, nil, argError("The address must stand in angle brackets")
	}
	mb, err := address.ParsePath(s[:end])
	if err != nil {
		return address.Mailbox{}, nil, argError("Bad address: " + why(err))
	}
	params, err := parseParams(s[end:])
	return mb, params, err
}

// why is an address error without the address: a client knows what it sent.
func why(err error) string {
	var e *address.Error
	if errors.As(err, &e) {
		return replyText(e.Part + " " + e.Text)
	}
	return replyText(err.Error())
}

// pathEnd is where the path at the start of s ends: behind the first '>' outside quotes.
func pathEnd(s string) int {
	if s == "" || s[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i + 1
		}
	}
	return -1
}

// parseParams reads parameters, each behind a blank. A value may hold further equals signs: X.400 addresses in ORCPT are
// often sent so, although RFC 3461 4.2 wants them encoded.
func parseParams(s string) ([]param, error) {
	var out []param
	for rest := s; strings.TrimRight(rest, " ") != ""; {
		if rest[0] != ' ' {
			return nil, argError("Garbage behind the address")
		}
		rest = strings.TrimLeft(rest, " ")
		word := rest
		if i := strings.IndexByte(rest, ' '); i >= 0 {
			word = rest[:i]
		}
		rest = rest[len(word):]
		var p param
		p.name, p.value, p.given = strings.Cut(word, "=")
		p.name = strings.ToUpper(p.name)
		if p.name == "" || p.given && p.value == "" {
			return nil, argError("Empty parameter")
		}
		for i := range len(p.name) {
			if c := p.name[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return nil, argError("Malformed parameter")
			}
		}
		for _, q := range out {
			if q.name == p.name {
				return nil, argError("Parameter " + p.name + " given twice")
			}
		}
		out = append(out, p)
	}
	return out, nil
}
