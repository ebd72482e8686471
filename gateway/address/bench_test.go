package address_test

import (
	"testing"

	"backbone/gateway/address"
)

func BenchmarkParse(b *testing.B) {
	for _, in := range []string{"MS:NORTHWIND/PO2/MKUMAR", "ms:northwind/po2/mkumar", "SMTP:mira.kumar@northwind.example",
		"SMTP:Mira.Kumar@Northwind.Example", "X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;"} {
		b.Run(in, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := address.Parse(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	for _, in := range []string{"MS:NORTHWIND/PO2/MKUMAR", "SMTP:mira.kumar@northwind.example", "X400:c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;"} {
		b.Run(in, func(b *testing.B) {
			a, err := address.Parse(in)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if a.Key() == "" {
					b.Fatal("no key")
				}
			}
		})
	}
}

// The way of each recipient through the gateway: canonical text must cost no copy, a key only itself.
func TestHotPathDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		what string
		max  float64
		do   func()
	}{
		{"parsing canonical MS", 0, func() { mustParse(t, "MS:NORTHWIND/PO2/MKUMAR") }},
		{"parsing canonical SMTP", 0, func() { mustParse(t, "SMTP:mira.kumar@northwind.example") }},
		{"parsing a quoted mailbox", 4, func() { mustParse(t, `SMTP:"mira kumar"@northwind.example`) }},
		{"the key of MS", 1, func() { key(t, address.Address{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"}) }},
		{"the key of SMTP", 1, func() { key(t, address.Address{Type: address.SMTP, Value: "mira@northwind.example"}) }},
		{"matching a pattern", 0, func() { address.Glob("*@northwind.example", "mira.kumar@northwind.example") }},
	} {
		if got := testing.AllocsPerRun(100, c.do); got > c.max {
			t.Errorf("%s makes %v allocations, want at most %v", c.what, got, c.max)
		}
	}
}

func mustParse(t *testing.T, s string) {
	if _, err := address.Parse(s); err != nil {
		t.Fatal(err)
	}
}

func key(t *testing.T, a address.Address) {
	if a.Key() == "" {
		t.Fatal("no key")
	}
}
