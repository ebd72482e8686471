package address_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
)

func TestParseORAddress(t *testing.T) {
	mira := address.ORAddress{C: "US", A: " ", P: "Northwind", O: "SITEB", S: "Kumar", G: "Mira"}
	box := address.ORAddress{C: "US", A: " ", P: "Northwind", O: "SITEB", DDA: []address.DDA{{"MS", "NORTHWIND/PO2/MKUMAR"}}}
	for _, c := range []struct {
		name, in string
		want     address.ORAddress
	}{
		{"semicolons", "c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;", mira},
		{"no semicolon at the end", "c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira", mira},
		{"any order, any case, blanks around", " G = Mira ; S= Kumar;O=SITEB ;P=Northwind;A= ;C=US", mira},
		{"an empty a= is the blank ADMD", "c=US;a=;p=Northwind;o=SITEB;s=Kumar;g=Mira;", mira},
		{"other empty attributes are absent", "c=US;a= ;p=Northwind;o=SITEB;ou1=;s=Kumar;g=Mira;i= ;", mira},
		{"slashes", "/c=US/a= /p=Northwind/o=SITEB/s=Kumar/g=Mira", mira},
		{"MIXER, with its own keywords", "/G=Mira/S=Kumar/O=SITEB/PRMD=Northwind/ADMD= /C=US/", mira},
		{"long keywords", "country=US;admd= ;prmd=Northwind;organization=SITEB;surname=Kumar;givenname=Mira", mira},
		{"a slash is plain between semicolons (Q108732)", "c=US;a=TELENET;p=ABC;o=P/Q;g=JOHN;s=STEEL",
			address.ORAddress{C: "US", A: "TELENET", P: "ABC", O: "P/Q", G: "JOHN", S: "STEEL"}},
		{"a slash is $/ between slashes (Q108732)", "/c=US/a=TELENET/p=ABC/o=P$/Q/g=JOHN/s=STEEL",
			address.ORAddress{C: "US", A: "TELENET", P: "ABC", O: "P/Q", G: "JOHN", S: "STEEL"}},
		{"runs of blanks become one (Q108732)", "c=US;a= ;p=North    wind  Traders ;s=K",
			address.ORAddress{C: "US", A: " ", P: "North wind Traders", S: "K"}},
		{"a doubled semicolon is a semicolon (RFC 1685)", "c=US;a= ;p=N;dda:ID=a;;b;;;s=K",
			address.ORAddress{C: "US", A: " ", P: "N", S: "K", DDA: []address.DDA{{"ID", "a;b;"}}}},

		{"dda: (RFC 1685)", "c=US;a= ;p=Northwind;o=SITEB;dda:MS=NORTHWIND/PO2/MKUMAR;", box},
		{"doubled slashes in a DDA between semicolons (Q224565)", "c=US;a= ;p=Northwind;o=SITEB;dda:MS=NORTHWIND//PO2//MKUMAR;", box},
		{"doubled slashes in a DDA between slashes (Q156355)", "/c=US/a= /p=Northwind/o=SITEB/dda:MS=NORTHWIND//PO2//MKUMAR", box},
		{"single slashes in a DDA between slashes (Q156355)", "/c=US/a= /p=Northwind/dda:MS=NORTHWIND/PO2/MKUMAR/o=SITEB", box},
		{"escaped slashes in a DDA between slashes", "/c=US/a= /p=Northwind/o=SITEB/DD.MS=NORTHWIND$/PO2$/MKUMAR/", box},
		{"two fields (Q176425)", "/c=US/a= /p=Northwind/o=SITEB/DDA.TYPE=MS/DDA.VALUE=NORTHWIND$/PO2$/MKUMAR", box},
		{"two fields, semicolons", "c=US;a= ;p=Northwind;o=SITEB;dda.type=MS;dda.value=NORTHWIND/PO2/MKUMAR", box},
		{"the event log's two fields (Q147084)", `/c=US/a= /p=Northwind/o=SITEB/ddat=MS /ddav="NORTHWIND/PO2/MKUMAR"`, box},
		{"$SYSTEM keeps its dollar between slashes", `/ddat=ms /ddav="NORTHWIND/PO2/$SYSTEM"`,
			address.ORAddress{DDA: []address.DDA{{"ms", "NORTHWIND/PO2/$SYSTEM"}}}},
		{"and in an escaped value", "/c=US/a= /p=N/dda:MS=N$/P$/$SYSTEM",
			address.ORAddress{C: "US", A: " ", P: "N", DDA: []address.DDA{{"MS", "N/P/$SYSTEM"}}}},
		{"dollars that quote dollars and equals signs", "/c=US/a= /p=N/dda:ID=a$$$/b$=c",
			address.ORAddress{C: "US", A: " ", P: "N", DDA: []address.DDA{{"ID", "a$/b=c"}}}},
		{"doubled slashes that are no path stay", "c=US;a= ;p=N;dda:WEB=http://x.example/",
			address.ORAddress{C: "US", A: " ", P: "N", DDA: []address.DDA{{"WEB", "http://x.example/"}}}},
		{"nor are they halved in types that have no paths", "c=US;a= ;p=N;dda:WEB=http://x.example",
			address.ORAddress{C: "US", A: " ", P: "N", DDA: []address.DDA{{"WEB", "http://x.example"}}}},
		{"a path that really has an empty element", "c=US;a= ;p=N;dda:MS=N////M",
			address.ORAddress{C: "US", A: " ", P: "N", DDA: []address.DDA{{"MS", "N//M"}}}},
		{"RFC-822 alone (section 16)", "c=US;a= ;p=N;RFC-822=mira(a)x.example",
			address.ORAddress{C: "US", A: " ", P: "N", DDA: []address.DDA{{"RFC-822", "mira(a)x.example"}}}},
		{"four DDAs", "c=US;dda:RFC-822=a;DD.RFC822C1=b;dda:RFC822C2=c;DDA.RFC822C3=d",
			address.ORAddress{C: "US", DDA: []address.DDA{{"RFC-822", "a"}, {"RFC822C1", "b"}, {"RFC822C2", "c"}, {"RFC822C3", "d"}}}},

		{"numbered units", "c=US;a= ;p=N;ou2=B;ou1=A", address.ORAddress{C: "US", A: " ", P: "N", OU: [4]string{"A", "B"}}},
		{"plain units behind the organization run downwards", "c=US;a= ;p=N;o=O;ou=A;ou=B;ou=C",
			address.ORAddress{C: "US", A: " ", P: "N", O: "O", OU: [4]string{"A", "B", "C"}}},
		{"plain units before it run upwards", "/S=Kumar/OU=C/OU=B/OU=A/O=O/PRMD=N/ADMD= /C=US/",
			address.ORAddress{C: "US", A: " ", P: "N", O: "O", OU: [4]string{"A", "B", "C"}, S: "Kumar"}},
		{"every other attribute", "c=US;a=ATT;p=N;cn=Sales Desk;i=MK;q=Jr;s=Kumar;x.121=31345551234;n-id=42;t-id=T9;t-ty=ttx",
			address.ORAddress{C: "US", A: "ATT", P: "N", CN: "Sales Desk", I: "MK", Q: "Jr", S: "Kumar", X121: "31345551234", NID: "42", TID: "T9", TTY: "ttx"}},
		{"their other names", "c=US;a=ATT;p=N;common-name=Sales Desk;initials=MK;gq=Jr;sn=Kumar;x121=31345551234;ua-id=42;tid=T9;terminal-type=ttx",
			address.ORAddress{C: "US", A: "ATT", P: "N", CN: "Sales Desk", I: "MK", Q: "Jr", S: "Kumar", X121: "31345551234", NID: "42", TID: "T9", TTY: "ttx"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := address.ParseORAddress(c.in)
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
			for _, text := range []string{got.String(), got.Slash(), got.MIXER()} {
				again, err := address.ParseORAddress(text)
				if diff := cmp.Diff(got, again); diff != "" || err != nil {
					t.Errorf("%s reads back otherwise: %v\n%s", text, err, diff)
				}
			}
		})
	}
}

func TestParseORAddressRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, part string }{
		{"nothing", "", address.PartAddress},
		{"separators only", ";;; ;", address.PartAddress},
		{"only empty attributes", "c=;p=;s= ", address.PartAddress},
		{"no keyword", "c=US;Kumar;p=N", address.PartAttribute},
		{"an unknown keyword", "c=US;zip=12345", address.PartAttribute},
		{"a path in an attribute that has none", "/c=US/o=P/Q", address.PartAttribute},
		{"an attribute twice", "c=US;p=N;s=Kumar;surname=Kumar", "s"},
		{"five units", "c=US;ou=1;ou=2;ou=3;ou=4;ou=5", "ou"},
		{"units with and without a number", "c=US;ou1=A;ou=B", "ou"},
		{"a unit without the one above", "c=US;a= ;p=N;ou2=B", "ou2"},
		{"a DDA without a type", "c=US;dda:=x", address.PartAttribute},
		{"a DDA without a value", "c=US;dda:MS=", "dda:MS"},
		{"a DDA type without its value", "c=US;ddat=MS", address.PartAttribute},
		{"a DDA type whose value comes later", "ddat=MS;c=US;ddav=N/P/M", address.PartAttribute},
		{"a DDA value without its type", "c=US;ddav=N/P/M", address.PartAttribute},
		{"a DDA type with a run of blanks", "c=US;dda:A  B=x", address.PartAttribute},
		{"a DDA type with a slash", "c=US;dda:M/S=x", address.PartAttribute},
		{"more than 4096 octets", "c=US;s=" + strings.Repeat("x", 4096), address.PartAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := address.ParseORAddress(c.in)
			var e *address.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, %v, want an *Error", o, err)
			}
			if e.Part != c.part {
				t.Errorf("blames %q, want %q: %v", e.Part, c.part, err)
			}
		})
	}
}

func TestORAddressForms(t *testing.T) {
	o := address.ORAddress{C: "US", A: " ", P: "North/wind", O: "A=B", OU: [4]string{"Sales", "West"}, S: "Kumar", G: "Mira", Q: "Jr",
		DDA: []address.DDA{{"MS", "NORTHWIND/PO2/$SYSTEM"}, {"ID", "a;b$/c"}}}
	for _, c := range []struct{ form, got, want string }{
		{"semicolon", o.String(), "c=US;a= ;p=North/wind;o=A=B;ou1=Sales;ou2=West;s=Kumar;g=Mira;q=Jr;dda:MS=NORTHWIND/PO2/$SYSTEM;dda:ID=a;;b$/c;"},
		{"slash", o.Slash(), "/c=US/a= /p=North$/wind/o=A=B/ou1=Sales/ou2=West/s=Kumar/g=Mira/q=Jr/dda:MS=NORTHWIND$/PO2$/$SYSTEM/dda:ID=a;b$$$/c"},
		{"MIXER", o.MIXER(), "/DD.MS=NORTHWIND$/PO2$/$SYSTEM/DD.ID=a;b$$$/c/G=Mira/S=Kumar/GQ=Jr/OU=West/OU=Sales/O=A$=B/PRMD=North$/wind/ADMD= /C=US/"},
	} {
		if c.got != c.want {
			t.Errorf("%s form\ngot  %s\nwant %s", c.form, c.got, c.want)
		}
	}
}

func TestORAddressWithoutTextFormIsRefused(t *testing.T) {
	for what, o := range map[string]address.ORAddress{
		"empty":                    {},
		"a line end in a value":    {C: "US", S: "Kumar\r\nBcc: x"},
		"a NUL in a DDA":           {C: "US", DDA: []address.DDA{{"MS", "N/P/\x00"}}},
		"a DDA type with =":        {C: "US", DDA: []address.DDA{{"MS=N/P/M;dda:X", "y"}}},
		"a DDA type with ;":        {C: "US", DDA: []address.DDA{{"MS;c", "y"}}},
		"a DDA without a type":     {C: "US", DDA: []address.DDA{{"", "y"}}},
		"a DDA without a value":    {C: "US", DDA: []address.DDA{{"MS", " "}}},
		"a gap in the units":       {C: "US", OU: [4]string{"", "West"}},
		"an override in a surname": {C: "US", S: "Ku\u202emar"},
	} {
		if a, err := o.Address(); err == nil {
			t.Errorf("%s: makes the address %q", what, a)
		}
	}
}

func TestORAddressValidate(t *testing.T) {
	ok := address.ORAddress{C: "US", A: " ", P: "Northwind", O: "SITEB", S: "Kumar", G: "Mira"}
	change := func(f func(*address.ORAddress)) address.ORAddress { o := ok; f(&o); return o }
	for _, c := range []struct {
		name string
		o    address.ORAddress
		part string // "" when it is valid
	}{
		{"a personal name", ok, ""},
		{"country by number", change(func(o *address.ORAddress) { o.C = "840" }), ""},
		{"only a PRMD", address.ORAddress{C: "US", A: "ATT", P: "N"}, ""},
		{"a numeric address", address.ORAddress{C: "US", A: "ATT", NID: "4711"}, ""},
		{"a terminal address", address.ORAddress{C: "US", A: "ATT", X121: "31345551234"}, ""},
		{"limits reached", address.ORAddress{C: "US", A: rep(16), P: rep(16), O: rep(64), OU: [4]string{rep(32), rep(32), rep(32), rep(32)},
			S: rep(40), G: rep(16), I: rep(5), Q: rep(3), CN: rep(64), TID: rep(24), TTY: rep(3),
			DDA: []address.DDA{{rep(8), rep(128)}, {"B", "b"}, {"C", "c"}, {"D", "d"}}}, ""},
		{"outer blanks do not count", change(func(o *address.ORAddress) { o.C = " US " }), ""},
		{"every PrintableString character", change(func(o *address.ORAddress) { o.O = "a Z09'()+,-./:=?" }), ""},
		{"no country", change(func(o *address.ORAddress) { o.C = "" }), "c"},
		{"country of three letters", change(func(o *address.ORAddress) { o.C = "USA" }), "c"},
		{"country of two digits", change(func(o *address.ORAddress) { o.C = "84" }), "c"},
		{"no ADMD", change(func(o *address.ORAddress) { o.A = "" }), "a"},
		{"nobody named", address.ORAddress{C: "US", A: " "}, address.PartAddress},
		{"a given name without a surname", change(func(o *address.ORAddress) { o.S = "" }), "s"},
		{"ADMD of 17", change(func(o *address.ORAddress) { o.A = rep(17) }), "a"},
		{"surname of 41", change(func(o *address.ORAddress) { o.S = rep(41) }), "s"},
		{"unit of 33", change(func(o *address.ORAddress) { o.OU[0] = rep(33) }), "ou1"},
		{"common name of 65", change(func(o *address.ORAddress) { o.CN = rep(65) }), "cn"},
		{"letters in an X.121 address", change(func(o *address.ORAddress) { o.X121 = "31A" }), "x.121"},
		{"letters in a user id", change(func(o *address.ORAddress) { o.NID = "4711x" }), "n-id"},
		{"an umlaut", change(func(o *address.ORAddress) { o.S = "Müller" }), "s"},
		{"an @", change(func(o *address.ORAddress) { o.O = "a@b" }), "o"},
		{"an underscore in a DDA", change(func(o *address.ORAddress) { o.DDA = []address.DDA{{"ID", "a_b"}} }), "dda:ID"},
		{"five DDAs", change(func(o *address.ORAddress) {
			o.DDA = []address.DDA{{"A", "a"}, {"B", "b"}, {"C", "c"}, {"D", "d"}, {"E", "e"}}
		}), address.PartAttribute},
		{"a DDA type of nine", change(func(o *address.ORAddress) { o.DDA = []address.DDA{{rep(9), "x"}} }), "dda:" + rep(9)},
		{"a DDA value of 129", change(func(o *address.ORAddress) { o.DDA = []address.DDA{{"ID", rep(129)}} }), "dda:ID"},
		{"a unit without the one above", change(func(o *address.ORAddress) { o.OU[1] = "West" }), "ou2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.o.Validate()
			if c.part == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e *address.Error
			if !errors.As(err, &e) || e.Part != c.part {
				t.Errorf("got %v, want a fault in %s", err, c.part)
			}
		})
	}
}

func rep(n int) string { return strings.Repeat("x", n) }

func TestORAddressEqual(t *testing.T) {
	a := address.ORAddress{C: "US", A: " ", P: "North  wind ", S: "KUMAR", DDA: []address.DDA{{"MS", "net/po/bob"}}}
	b := address.ORAddress{C: "us", A: "0", P: "north WIND", S: "Kumar", DDA: []address.DDA{{"ms", "NET/PO/BOB"}}}
	if !a.Equal(b) || !b.Equal(a) {
		t.Errorf("%v and %v are not equal", a, b)
	}
	b.G = "Mira"
	if a.Equal(b) {
		t.Errorf("%v and %v are equal", a, b)
	}
}
