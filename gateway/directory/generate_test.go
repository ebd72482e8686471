package directory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
)

func TestGeneratedProxies(t *testing.T) {
	d := open(t, Options{Generate: true})
	add(t, d,
		Entry{Name: "Kumar, Mira", Alias: "Mira.Kumar", First: "Mira", Last: "Kumar", Target: addr(t, "SMTP:mira@elsewhere.example")},
		Entry{Name: "Kumar2", Alias: "Mira-Kumar", First: "Mira", Last: "Kumar", Target: addr(t, "SMTP:mira2@elsewhere.example")},
		Entry{Name: "Postmaster", Target: addr(t, "SMTP:p@elsewhere.example")},
		Entry{Name: "Post", Alias: "postmaster", Target: addr(t, "MS:NORTHWIND/PO2/PM")},
		Entry{Name: "HQ", Target: addr(t, "MS:NORTHWIND/PO2/HQ"), Proxies: addrs(t, "SMTP:head@northwind.example")},
		Entry{Name: "HQ2", Alias: "HQ", Target: addr(t, "MS:NORTHWIND/PO2/HQ2")},
		Entry{Name: "HQ3", Alias: "HQ", Target: addr(t, "MS:NORTHWIND/PO2/HQ3")},
	)
	for name, want := range map[string][]string{
		"Kumar, Mira": {"MS:NORTHWIND/SITEA/MIRAKUMAR", "X400:c=US;a= ;p=Northwind;o=SITEA;s=Kumar;g=Mira;"},
		"Kumar2":      {"MS:NORTHWIND/SITEA/MIRAKUMA0", "X400:c=US;a= ;p=Northwind;o=SITEA;s=Kumar2;g=Mira;"},
		"Postmaster":  {"MS:NORTHWIND/SITEA/POSTMAST0", "X400:c=US;a= ;p=Northwind;o=SITEA;s=Postmaster;"}, // Q175447
		"Post":        {"SMTP:postmaster2@sitea.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=postmaster2;"},
		"HQ":          {"SMTP:head@northwind.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=HQ;"},
		"HQ2":         {"SMTP:HQ@sitea.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=HQ2;"},
		"HQ3":         {"SMTP:HQ2@sitea.example", "X400:c=US;a= ;p=Northwind;o=SITEA;s=HQ3;"},
	} {
		e, err := d.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(addrs(t, want...), e.Proxies); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	t.Run("switched on later", func(t *testing.T) {
		d := open(t, Options{})
		add(t, d, Entry{Name: "A", Target: addr(t, "MS:N/P/A")})
		d.o.Generate = true
		d = reopen(t, d)
		if got := d.As(addr(t, "MS:N/P/A"), address.SMTP); got != addr(t, "SMTP:A@sitea.example") {
			t.Errorf("got %s", got)
		}
		if e, err := d.Get("A"); err != nil || e.Version != 2 {
			t.Errorf("version %d, %v; replicas would not hear of it", e.Version, err)
		}
	})
}
