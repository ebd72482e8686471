package address_test

import (
	"errors"
	"testing"

	"backbone/gateway/address"
)

func TestParseMMFF(t *testing.T) {
	for _, c := range []struct{ name, in, want, out string }{
		{"CSI", "CSI:NORTHWIND/PO2/MKUMAR", "MS:NORTHWIND/PO2/MKUMAR", "CSI:NORTHWIND/PO2/MKUMAR"},
		{"no type", "NORTHWIND/PO2/JLEE", "MS:NORTHWIND/PO2/JLEE", "CSI:NORTHWIND/PO2/JLEE"},
		{"the DirSync box (Q106623)", "csi:NORTHWIND/HUB/$system", "MS:NORTHWIND/HUB/$SYSTEM", "CSI:NORTHWIND/HUB/$SYSTEM"},
		{"the user list box", "NORTHWIND/HUB/*SPECIAL", "MS:NORTHWIND/HUB/*SPECIAL", "CSI:NORTHWIND/HUB/*SPECIAL"},
		{"SMTP", "SMTP:Mira.Kumar@Northwind.example", "SMTP:Mira.Kumar@northwind.example", "SMTP:Mira.Kumar@northwind.example"},
		{"an escaped octet in SMTP", "SMTP:a^2Bb@x.example", "SMTP:a+b@x.example", "SMTP:a+b@x.example"},
		{"a caret that would read as an escape", "SMTP:a^5E0Db@x.example", "SMTP:a^0Db@x.example", "SMTP:a^5E0Db@x.example"},
		{"a caret that would not", "SMTP:a^b@x.example", "SMTP:a^b@x.example", "SMTP:a^b@x.example"},
		{"X.400 with slashes", "X400:/c=US/admd= /prmd=Northwind/o=P$/Q/s=Kumar", "X400:c=US;a= ;p=Northwind;o=P/Q;s=Kumar;", "X400:/c=US/a= /p=Northwind/o=P$/Q/s=Kumar"},
		{"X.400 with semicolons", "X400:c=US;a= ;p=Northwind;s=Kumar", "X400:c=US;a= ;p=Northwind;s=Kumar;", "X400:/c=US/a= /p=Northwind/s=Kumar"},
		{"FAX keeps its ^0D (Q94410)", "Fax:Mira^0DHQ^0DNorthwind^0D555^0D", "FAX:Mira^0DHQ^0DNorthwind^0D555^0D", "FAX:Mira^0DHQ^0DNorthwind^0D555^0D"},
		{"MCI keeps its blanks", "MCI:John Doe^0D EMS:MCI Mail^0D MBX:123-4567", "MCI:John Doe^0D EMS:MCI Mail^0D MBX:123-4567", "MCI:John Doe^0D EMS:MCI Mail^0D MBX:123-4567"},
		{"MHS", "MHS:User@Host {NET/PO/User}", "MHS:User@Host {NET/PO/User}", "MHS:User@Host {NET/PO/User}"},
		{"AppleTalk 1.0b", "MSMail:User@Server", "MSMAIL:User@Server", "MSMAIL:User@Server"},
		{"SNADS", "SNADS:Gateway/DGN/DEN", "SNADS:Gateway/DGN/DEN", "SNADS:Gateway/DGN/DEN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := address.ParseMMFF(c.in)
			if err != nil || a.String() != c.want {
				t.Fatalf("got %v, %v, want %s", a, err, c.want)
			}
			if got := a.MMFF(); got != c.out {
				t.Errorf("writes %q, want %q", got, c.out)
			}
			if again, err := address.ParseMMFF(a.MMFF()); err != nil || again != a {
				t.Errorf("reads back as %v, %v", again, err)
			}
		})
	}
	if got := (address.Address{}).MMFF(); got != "" {
		t.Errorf("the null originator is %q", got)
	}
}

func TestParseMMFFTellsUnknownServiceFromBadAddress(t *testing.T) {
	for _, c := range []struct {
		name, in string
		service  bool // 151, else 142
	}{
		{"PCM belongs into DirSync text (Q106623)", "PCM:NORTHWIND/PO2/MKUMAR", true},
		{"MS is the client's spelling", "MS:NORTHWIND/PO2/MKUMAR", true},
		{"a type that is none", "CC-MAIL:foo", true},
		{"a type of nine letters", "MSMAILFAX:foo", true},
		{"an empty type", ":NORTHWIND/PO2/MKUMAR", true},
		{"a mailbox of eleven", "CSI:NORTHWIND/PO2/MKUMARMKUMA", false},
		{"two elements", "NORTHWIND/PO2", false},
		{"an SMTP user without a host", "SMTP:mira", false},
		{"an O/R address without attributes", "X400:/", false},
		{"a carriage return in an SMTP address", "SMTP:mira^0D@x.example", false},
		{"a line end in an O/R address", "X400:/c=US/s=Ku^0Amar", false},
		{"no address", "CSI:", false},
		{"nothing", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := address.ParseMMFF(c.in)
			var e *address.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, %v, want an *Error", a, err)
			}
			if (e.Part == address.PartType) != c.service {
				t.Errorf("blames the %s, want unknown service = %v: %v", e.Part, c.service, err)
			}
		})
	}
}

func TestMMFFEscapes(t *testing.T) {
	for _, c := range []struct{ plain, escaped string }{
		{"Mira\rHQ\r", "Mira^0DHQ^0D"},
		{"a^b", "a^b"},
		{"a^0D", "a^5E0D"},
		{"a^ff", "a^ff"},
		{"\x00\x1f\x7f", "^00^1F^7F"},
		{"^", "^"},
		{"^^0D^", "^^5E0D^"},
	} {
		if got := address.EscapeMMFF(c.plain); got != c.escaped {
			t.Errorf("%q escaped is %q, want %q", c.plain, got, c.escaped)
		}
		if got := address.UnescapeMMFF(c.escaped); got != c.plain {
			t.Errorf("%q unescaped is %q, want %q", c.escaped, got, c.plain)
		}
	}
	if got := address.UnescapeMMFF("a^0db"); got != "a\rb" {
		t.Errorf("a lower-case escape becomes %q", got)
	}
}
