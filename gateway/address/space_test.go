package address_test

import (
	"errors"
	"strings"
	"testing"

	"backbone/gateway/address"
)

func TestParseSpace(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a post office", "MS:northwind/po2", "MS:NORTHWIND/PO2"},
		{"a mailbox", "MS:NORTHWIND/PO2/MKUMAR", "MS:NORTHWIND/PO2/MKUMAR"},
		{"a network", "MS:NORTHWIND", "MS:NORTHWIND"},
		{"blank elements match all beneath (Q148389)", "MS:NORTHWIND//", "MS:NORTHWIND"},
		{"CSI is MS", "CSI:NORTHWIND/PO2", "MS:NORTHWIND/PO2"},
		{"the whole type", "MS:", "MS:"},
		{"the whole type by wildcard is not the same (Q152471)", "MS:*", "MS:*"},
		{"wildcards in elements", "MS:NORTH*/PO%/*", "MS:NORTH*/PO%/*"},
		{"a system box", "MS:NORTHWIND/PO2/$system", "MS:NORTHWIND/PO2/$SYSTEM"},
		{"a star may stand for nothing in a full element", "MS:NORTHWINDX*/PO2", "MS:NORTHWINDX*/PO2"},
		{"a % counts as the character that it stands for", "MS:NORTHWIND%/PO%", "MS:NORTHWIND%/PO%"},
		{"a star behind a slash in a DDA", "X400:c=US;dda:MS=NORTHWIND/*", "X400:c=US;dda:MS=NORTHWIND/*;"},
		{"an SMTP domain", "SMTP:*@Northwind.EXAMPLE", "SMTP:*@northwind.example"},
		{"an SMTP domain in U-labels", "SMTP:*@bücher.example", "SMTP:*@xn--bcher-kva.example"},
		{"an SMTP domain and those beneath", "SMTP:*northwind.example", "SMTP:*northwind.example"},
		{"wildcards right of the @", "SMTP:*@*.example", "SMTP:*@*.example"},
		{"one SMTP mailbox", "SMTP:Mira@northwind.example", "SMTP:mira@northwind.example"},
		{"all SMTP", "smtp:*", "SMTP:*"},
		{"part of an O/R address", "X400:c=US;a= ;p=Northwind", "X400:c=US;a= ;p=Northwind;"},
		{"the connector's form with a final star", "X400:/C=US/A= /P=Northwind/*", "X400:c=US;a= ;p=Northwind;"},
		{"the same with semicolons", "X400:c=US;a= ;p=Northwind;*", "X400:c=US;a= ;p=Northwind;"},
		{"a wildcard as a value", "X400:C=*", "X400:c=*;"},
		{"a wildcard in a value", "X400:c=US;a= ;p=N*", "X400:c=US;a= ;p=N*;"},
		{"a DDA", "X400:c=US;a= ;p=N;dda:MS=NORTHWIND/*", "X400:c=US;a= ;p=N;dda:MS=NORTHWIND/*;"},
		{"a star behind an escaped slash", "X400:/c=US/dda:MS=NORTHWIND$/*", "X400:c=US;dda:MS=NORTHWIND/*;"},
		{"another type", "FAX:555*", "FAX:555*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := address.ParseSpace(c.in)
			if err != nil || s.String() != c.want {
				t.Fatalf("got %v, %v, want %s", s, err, c.want)
			}
			if again, err := address.ParseSpace(s.String()); err != nil || again != s {
				t.Errorf("reads back as %v, %v", again, err)
			}
			s.Cost = 1
			if err := s.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseSpaceRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, says string }{
		{"no type", "NORTHWIND/PO2", "TYPE:pattern"},
		{"nothing", "", "TYPE:pattern"},
		{"an empty type", ":x", "1 to 8"},
		{"a long type", "MSMAILFAX:x", "1 to 8"},
		{"a keyword for a type", "DDA:MS=x", "O/R keyword"},
		{"four elements", "MS:A/B/C/D", "three elements"},
		{"a blank in the middle", "MS:A//C", "write *"},
		{"a blank network", "MS:/PO", "write *"},
		{"an element of eleven", "MS:NORTHWINDXX", "10 characters"},
		{"ten and a %, which is one more", "MS:NORTHWINDX%", "10 characters"},
		{"a bad character", "MS:NORTH-WIND", "neither letter nor digit"},
		{"an SMTP domain without its star (Q229961)", "SMTP:northwind.example", "write *@northwind.example"},
		{"a blank in an SMTP pattern", "SMTP:*@a b", "blank"},
		{"a domain that is none", "SMTP:*@a..b", "empty label"},
		{"nothing behind the @", "SMTP:mira@", "is empty"},
		{"an O/R keyword that nobody knows", "X400:zz=1", "keyword"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := address.ParseSpace(c.in)
			var e *address.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v, want an error that says %q", s, err, c.says)
			}
		})
	}
}

func TestSpaceValidate(t *testing.T) {
	good := address.Space{Type: address.MS, Pattern: "NET/PO", Cost: 1}
	change := func(f func(*address.Space)) address.Space { s := good; f(&s); return s }
	for _, c := range []struct {
		name  string
		space address.Space
		part  string
	}{
		{"least", good, ""},
		{"dearest, for the site", change(func(s *address.Space) { s.Cost, s.Scope = 100, "site" }), ""},
		{"free", change(func(s *address.Space) { s.Cost = 0 }), "cost"},
		{"too dear", change(func(s *address.Space) { s.Cost = 101 }), "cost"},
		{"another scope", change(func(s *address.Space) { s.Scope = "world" }), "scope"},
		{"no type", change(func(s *address.Space) { s.Type = "" }), address.PartType},
		{"a type in lower case", change(func(s *address.Space) { s.Type = "ms" }), address.PartType},
		{"a pattern that is not canonical", change(func(s *address.Space) { s.Pattern = "net/po" }), "pattern"},
		{"a pattern that is wrong", change(func(s *address.Space) { s.Pattern = "N T/PO" }), address.PartNetwork},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.space.Validate()
			var e *address.Error
			if c.part == "" && err != nil || c.part != "" && (!errors.As(err, &e) || e.Part != c.part) {
				t.Errorf("got %v, want a fault in %q", err, c.part)
			}
		})
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false},
		{"*", "", true}, {"*", "anything", true}, {"**", "", true},
		{"%", "", false}, {"%", "a", true}, {"%", "ab", false}, {"%", "ü", true}, {"%", "日", true}, {"%%", "日", false},
		{"*@northwind.example", "Mira@NORTHWIND.example", true},
		{"*@northwind.example", "mira@northwind.example.org", false},
		{"*@northwind.example", "mira@sub.northwind.example", false},
		{"*northwind.example", "mira@sub.northwind.example", true},
		{"PO%", "PO7", true}, {"PO%", "PO", false}, {"PO%", "PO77", false},
		{"a*b*c", "aXbYc", true}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false}, {"a*b*c", "abcbc", true},
		{"*ab", "aab", true}, {"*%b", "b", false}, {"*%b", "ab", true},
		{"MÜLL*", "müller", true}, {"müller", "MÜLLER", true},
		{"a.c", "abc", false}, {"[ab]", "a", false}, {"?", "a", false},
		{"*ü", "aüü", true}, {"*%ü", "ü", false},
	} {
		if got := address.Glob(c.pattern, c.s); got != c.want {
			t.Errorf("Glob(%q, %q) = %v, want %v", c.pattern, c.s, got, c.want)
		}
	}
}

// Without the bound on backtracking this pattern takes longer than the test's patience by many orders of magnitude.
func TestGlobDoesNotExplode(t *testing.T) {
	if address.Glob(strings.Repeat("a*", 200)+"b", strings.Repeat("a", 20000)) {
		t.Error("matches a text without b")
	}
	if address.Glob(strings.Repeat("*%", 200)+"b", strings.Repeat("ü", 5000)) {
		t.Error("matches a text without b")
	}
}
