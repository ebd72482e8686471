package address_test

import (
	"strings"
	"testing"

	"backbone/gateway/address"
)

func TestMailboxCharacters(t *testing.T) {
	// Q199676: in a mailbox name ASCII 1-47, 58-64, 91-96 and 123-127 are invalid.
	for c := rune(1); c < 128; c++ {
		legal := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		_, err := address.ParseMSMail("NET/PO/A" + string(c) + "B")
		if (err == nil) != legal {
			t.Errorf("character %d in a mailbox: %v, want legal = %v", c, err, legal)
		}
		_, err = address.ParsePostOffice("N" + string(c) + "T/PO")
		if (err == nil) != legal {
			t.Errorf("character %d in a network: %v, want legal = %v", c, err, legal)
		}
	}
	for _, c := range "äÄöæÆßéÿñøЖд日ﾊ" {
		if _, err := address.ParseMSMail("NET/PO/A" + string(c)); err != nil {
			t.Errorf("letter %q of a code page is refused: %v", c, err)
		}
	}
	for _, c := range "‘’“”€§½±─" {
		if _, err := address.ParseMSMail("NET/PO/A" + string(c)); err == nil {
			t.Errorf("%q is no letter, but a mailbox may hold it", c)
		}
	}
}

func TestElementsCountCharactersNotOctets(t *testing.T) {
	ten := strings.Repeat("Ü", 10)
	if _, err := address.ParseMSMail("NET/PO/" + ten); err != nil {
		t.Error(err)
	}
	if _, err := address.ParseMSMail("NET/PO/" + ten + "X"); err == nil {
		t.Error("a mailbox of 11 characters is taken")
	}
}

func TestSystemBoxes(t *testing.T) {
	for _, c := range []struct {
		mailbox                     string
		system, special, postmaster bool
	}{
		{"$SYSTEM", true, false, false},
		{"$system", true, false, false},
		{"SYSTEM1", true, false, false},
		{"SYSTEM12", true, false, false},
		{"SYSTEM", false, false, false},
		{"SYSTEMS", false, false, false},
		{"*SPECIAL", false, true, false},
		{"*special", false, true, false},
		{"SPECIAL", false, false, false},
		{"POSTMASTER", false, false, true},
		{"Postmaster", false, false, true},
		{"POSTMAST0", false, false, false},
		{"", false, false, false},
	} {
		m := address.MSMail{Net: "NET", PO: "PO", Mailbox: c.mailbox}
		if m.System() != c.system || m.Special() != c.special || m.Postmaster() != c.postmaster {
			t.Errorf("%q: system %v special %v postmaster %v, want %v %v %v", c.mailbox,
				m.System(), m.Special(), m.Postmaster(), c.system, c.special, c.postmaster)
		}
	}
}

func TestMSMailPartsCannotSmuggleElements(t *testing.T) {
	for _, m := range []address.MSMail{
		{Net: "A/B", PO: "C", Mailbox: "D"}, {Net: "A", PO: "B/C"}, {Net: "A", PO: "B", Mailbox: "C/D"},
		{Net: "A", PO: "B"}, {Net: "A", PO: "B", Mailbox: "C\r\nRCPT"}, {},
	} {
		if a, err := m.Address(); err == nil {
			t.Errorf("%+v makes the address %v", m, a)
		}
	}
}

func TestPostOffice(t *testing.T) {
	p, err := address.ParsePostOffice("northwind/po2")
	if err != nil || p.String() != "NORTHWIND/PO2" {
		t.Errorf("got %v, %v", p, err)
	}
	m, err := address.ParseMSMail("NORTHWIND/PO2/MKUMAR")
	if err != nil || m.PostOffice() != p {
		t.Errorf("%v's post office is %v, %v, want %v", m, m.PostOffice(), err, p)
	}
	for _, bad := range []string{"", "/", "NET", "NET/", "/PO", "NET/PO/BOX", "NET/P O", "N*/PO"} {
		if p, err := address.ParsePostOffice(bad); err == nil {
			t.Errorf("%q is taken as the post office %v", bad, p)
		}
	}
}

func TestReservedNetworks(t *testing.T) {
	for _, n := range []string{"SMTP", "msmail", "X400", "*EMS", "Profs", "SOURCE", "VMGATE", "COMPUSERVE"} {
		if !address.ReservedNetwork(n) {
			t.Errorf("%s is on Q175978's list but not reserved", n)
		}
	}
	for _, n := range []string{"NORTHWIND", "SMTP1", ""} {
		if address.ReservedNetwork(n) {
			t.Errorf("%q is reserved", n)
		}
	}
}

func TestProxyElement(t *testing.T) {
	taken := map[string]bool{"BOB": true, "BOB0": true, "MARIABLACK": true, "ANNABELLA1": true}
	for _, c := range []struct{ name, in, want string }{
		{"an alias is raised", "mariabl", "MARIABL"},
		{"what is not a letter or digit goes", "NAmerica-W", "NAMERICAW"},
		{"blanks go and ten characters stay", "Northwind Traders Inc.", "NORTHWINDT"},
		{"accents go", "Jürg Müßig-Ærø", "JURGMUIGR"},
		{"POSTMASTER becomes POSTMAST0 (Q175447)", "postmaster", "POSTMAST0"},
		{"a DirSync box is nobody's", "System1", "SYSTE"},
		{"nor is a name that a digit would make one", "system", "SYSTE"},
		{"a taken short name gets the next free digit", "bob", "BOB1"},
		{"a taken long name makes room for its digit", "maria.black", "MARIABLA0"},
		{"nothing usable", "日本", "USER"},
		{"nothing", "", "USER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := address.ProxyElement(c.in, func(e string) bool { return taken[e] })
			if got != c.want {
				t.Errorf("ProxyElement(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func TestProxyElementsStayUniqueAndLegal(t *testing.T) {
	taken := map[string]bool{}
	for range 1500 {
		e := address.ProxyElement("Johannes Smithson", func(e string) bool { return taken[e] })
		if taken[e] {
			t.Fatalf("%s is given out twice", e)
		}
		taken[e] = true
		if _, err := address.ParseMSMail(e + "/" + e + "/" + e); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []string{"JOHANNESSM", "JOHANNES0", "JOHANNES99", "JOHANNE100"} {
		if !taken[e] {
			t.Errorf("%s is not among the proxies given out", e)
		}
	}
	if got := address.ProxyElement("bob", func(string) bool { return true }); got != "" {
		t.Errorf("with every name taken it still gives %q", got)
	}
}
