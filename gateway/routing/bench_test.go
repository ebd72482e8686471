package routing

import (
	"fmt"
	"testing"

	"backbone/gateway/address"
)

// bigTable has n spaces of each sort: domains, post offices, O/R organizations.
func bigTable(n int) *Table {
	es := make([]Entry, 0, 3*n)
	for i := range n {
		c := fmt.Sprintf("connector-%d", i%20)
		es = append(es,
			Entry{c, address.Space{Type: address.SMTP, Pattern: fmt.Sprintf("*@domain%d.example", i), Cost: 1}, true},
			Entry{c, address.Space{Type: address.MS, Pattern: fmt.Sprintf("NET%d/PO%d", i%100, i), Cost: 1}, true},
			Entry{c, address.Space{Type: address.X400, Pattern: fmt.Sprintf("c=US;a= ;p=Northwind;o=SITE%d;", i), Cost: 1}, true})
	}
	return NewTable(es)
}

func BenchmarkRouteThroughTenThousandSpaces(b *testing.B) {
	t := bigTable(10_000)
	for _, to := range []address.Address{
		{Type: address.SMTP, Value: "mira.kumar@domain7777.example"},
		{Type: address.MS, Value: "NET77/PO7777/MKUMAR"},
		{Type: address.X400, Value: "c=US;a= ;p=Northwind;o=SITE7777;s=Kumar;"},
		{Type: address.X400, Value: "c=US;a= ;p=Northwind;o=SITE1;dda:MS=NET77/PO7777/MKUMAR;"},
	} {
		b.Run(to.String()[:12], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := Route(t, Request{Recipient: to}); d.Chosen == nil {
					b.Fatal(d.Failure)
				}
			}
		})
	}
}

func BenchmarkNewTableOfTenThousandSpaces(b *testing.B) {
	es := bigTable(10_000).Entries()
	for b.Loop() {
		NewTable(es)
	}
}

// A recipient is compared with the spaces that share its literal text, not with the whole table.
func TestALookUpDoesNotScanTheTable(t *testing.T) {
	tb := bigTable(10_000)
	for _, to := range []address.Address{
		{Type: address.SMTP, Value: "mira.kumar@domain7777.example"},
		{Type: address.MS, Value: "NET77/PO7777/MKUMAR"},
		{Type: address.X400, Value: "c=US;a= ;p=Northwind;o=SITE7777;s=Kumar;"},
	} {
		tg := newTarget(to)
		n := 0
		for range tb.types[to.Type].likely(&tg) {
			n++
		}
		if n == 0 || n > 5 {
			t.Errorf("%s is compared with %d spaces, want at most 5", to, n)
		}
	}
}
