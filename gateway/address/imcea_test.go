package address_test

import (
	"strconv"
	"strings"
	"testing"

	"backbone/gateway/address"
)

const ourDomain = "gw.sitea.example"

func ours(domain string) bool { return domain == ourDomain }

func TestEncapsulationTable(t *testing.T) {
	for _, c := range []struct{ address, local string }{
		{"MS:NORTHWIND/PO2/MKUMAR", "IMCEAMS-NORTHWIND_PO2_MKUMAR"},
		{"MS:NORTHWIND/PO2/$SYSTEM", "IMCEAMS-NORTHWIND_PO2_+24SYSTEM"},
		{"X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;", "IMCEAX400-c=US+3Ba=+20+3Bp=Northwind+3Bo=SITEB+3Bs=Kumar+3Bg=Mira+3B"},
		{"EX:/o=Northwind/ou=SITEB/cn=Recipients/cn=MKUMAR", "IMCEAEX-_o=Northwind_ou=SITEB_cn=Recipients_cn=MKUMAR"},
		{"SMTP:mira.kumar@northwind.example", "IMCEASMTP-mira+2Ekumar+40northwind+2Eexample"},
		{"FAX:Mira_K@555", "IMCEAFAX-Mira+5FK+40555"},
		{"MS:NET/PO/MüLLER", "IMCEAMS-NET_PO_M+C3+BCLLER"},
		{"FAX:Mira^0D555^0D", "IMCEAFAX-Mira+5E0D555+5E0D"},
		{`SMTP:"a b"@x.example`, "IMCEASMTP-+22a+20b+22+40x+2Eexample"},
	} {
		t.Run(c.address, func(t *testing.T) {
			a := must(t, c.address)
			if a.String() != c.address {
				t.Fatalf("%s is not canonical: %s", c.address, a)
			}
			got := address.Encapsulate(a, ourDomain)
			if want := "SMTP:" + c.local + "@" + ourDomain; got.String() != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if again, err := address.Parse(got.String()); err != nil || again != got {
				t.Errorf("the encapsulated address does not parse: %v, %v", again, err)
			}
			if back, ok := address.Decapsulate(got, ours); !ok || back != a {
				t.Errorf("comes back as %v, %v", back, ok)
			}
			lower := strings.ToLower(c.local[:strings.Index(c.local, "-")]) + c.local[strings.Index(c.local, "-"):]
			if back, ok := address.Decapsulate(must(t, "SMTP:"+lower+"@"+ourDomain), ours); !ok || back != a {
				t.Errorf("with a lower-case prefix it comes back as %v, %v", back, ok)
			}
		})
	}
}

func TestDecapsulate(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"hex digits of either case (Q189492)", "IMCEASMTP-mira+2ekumar+40northwind+2Eexample@" + ourDomain, "SMTP:mira.kumar@northwind.example"},
		{"a dot that was not encoded", "IMCEASMTP-mira.kumar+40northwind.example@" + ourDomain, "SMTP:mira.kumar@northwind.example"},
		{"CSI becomes MS (Q156730)", "IMCEACSI-net_po_bob@" + ourDomain, "MS:NET/PO/BOB"},
		{"outer blanks go", "IMCEAFAX-+20555+20@" + ourDomain, "FAX:555"},
		{"an unknown type is carried", "IMCEASNADS-GW_DGN_DEN@" + ourDomain, "SNADS:GW/DGN/DEN"},
		{"MIXER's left-hand side", `"/S=Kumar/G=Mira/PRMD=Northwind/ADMD= /C=US/"@` + ourDomain, "X400:c=US;a= ;p=Northwind;s=Kumar;g=Mira;"},
		{"another domain is not ours", "IMCEAMS-NET_PO_BOB@elsewhere.example", ""},
		{"a plain address of ours", "bob@" + ourDomain, ""},
		{"no dash", "IMCEAMS@" + ourDomain, ""},
		{"no type", "IMCEA-foo@" + ourDomain, ""},
		{"a type of nine", "IMCEAABCDEFGHI-foo@" + ourDomain, ""},
		{"a keyword for a type", "IMCEADDA-MS=x@" + ourDomain, ""},
		{"only blanks", "IMCEAFAX-+20@" + ourDomain, ""},
		{"no value", "IMCEAFAX-@" + ourDomain, ""},
		{"a broken escape", "IMCEAFAX-a+4@" + ourDomain, ""},
		{"an escape that is not hex", "IMCEAFAX-a+4G@" + ourDomain, ""},
		{"a line end", "IMCEAFAX-a+0D+0AMAIL@" + ourDomain, ""},
		{"a NUL", "IMCEAMS-NET_PO_B+00B@" + ourDomain, ""},
		{"an escape sequence", "IMCEAFAX-a+1B@" + ourDomain, ""},
		{"an override", "IMCEAFAX-a+E2+80+AEb@" + ourDomain, ""},
		{"half a UTF-8 sequence", "IMCEAMS-NET_PO_M+C3@" + ourDomain, ""},
		{"an element of 11", "IMCEAMS-NORTHWINDXX_PO_BOB@" + ourDomain, ""},
		{"two elements", "IMCEAMS-NET_PO@" + ourDomain, ""},
		{"not a mailbox", "IMCEASMTP-nobody@" + ourDomain, ""},
		{"a MIXER side without a country", "/S=Kumar/@" + ourDomain, ""},
		{"a MIXER side at another domain", "/S=Kumar/C=US/@elsewhere.example", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := address.Decapsulate(must(t, "SMTP:"+c.in), ours)
			if c.want == "" {
				if ok || !got.IsZero() {
					t.Errorf("comes out as %v, %v, want nothing", got, ok)
				}
				return
			}
			if !ok || got.String() != c.want {
				t.Errorf("comes out as %v, %v, want %s", got, ok, c.want)
			}
		})
	}
	if got, ok := address.Decapsulate(must(t, "MS:NET/PO/BOB"), ours); ok {
		t.Errorf("an MS address comes out as %v", got)
	}
}

func TestNestingIsBounded(t *testing.T) {
	a := must(t, "MS:NET/PO/BOB")
	if e := address.Encapsulate(address.Encapsulate(a, ourDomain), ourDomain); e != address.Encapsulate(a, ourDomain) {
		t.Errorf("encapsulated twice for one domain: %v", e)
	}
	if e := address.Encapsulate(address.Address{}, ourDomain); !e.IsZero() {
		t.Errorf("the null originator becomes %v", e)
	}

	// Gateways that throw an address to and fro: it must stop growing, and still lead back.
	e := a
	for i := range 20 {
		e = address.Encapsulate(e, []string{ourDomain, "gw.siteb.example"}[i%2])
	}
	if n := strings.Count(strings.ToUpper(e.Value), "IMCEA"); n != 2 {
		t.Errorf("%d layers after 20 rounds between two gateways, want 2", n)
	}
	for i := range 20 {
		e = address.Encapsulate(e, "gw"+strconv.Itoa(i)+".example")
	}
	if n := strings.Count(strings.ToUpper(e.Value), "IMCEA"); n != 4 {
		t.Errorf("%d layers after 20 gateways more, want 4", n)
	}
	all := func(string) bool { return true }
	if back, ok := address.Decapsulate(e, all); !ok || back != a {
		t.Errorf("four layers come back as %v, %v", back, ok)
	}

	five := must(t, "SMTP:IMCEASMTP-"+hexed(e.Value)+"@"+ourDomain)
	if back, ok := address.Decapsulate(five, all); ok {
		t.Errorf("five layers come back as %v, want refusal", back)
	}
	if back, ok := address.Decapsulate(five, ours); !ok || back != e {
		t.Errorf("five layers of which one is ours come back as %v, %v", back, ok)
	}
}

// hexed writes every octet as +HH.
func hexed(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("+" + digits[s[i]>>4:s[i]>>4+1] + digits[s[i]&15:s[i]&15+1])
	}
	return b.String()
}

func TestLargestORAddressSurvivesEncapsulation(t *testing.T) {
	o := address.ORAddress{C: "US", A: rep(16), P: rep(16), O: rep(64), OU: [4]string{rep(32), rep(32), rep(32), rep(32)},
		S: rep(40), G: rep(16), I: rep(5), Q: rep(3), CN: rep(64), X121: strings.Repeat("1", 15), NID: strings.Repeat("1", 32), TID: rep(24), TTY: rep(3),
		DDA: []address.DDA{{rep(8), rep(128)}, {rep(8), rep(128)}, {rep(8), rep(128)}, {rep(8), rep(128)}}}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := o.Address()
	if err != nil {
		t.Fatal(err)
	}
	e := address.Encapsulate(a, ourDomain)
	if back, ok := address.Decapsulate(e, ours); !ok || back != a {
		t.Errorf("comes back as %v, %v", back, ok)
	}
	m, err := e.SMTP()
	if err != nil || !m.Long() {
		t.Errorf("%v: Long %v, want a warning", err, m.Long())
	}
}
