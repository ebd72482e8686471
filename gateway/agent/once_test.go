package agent

import (
	"testing"
	"time"
)

// Gateways that share a directory keep the same times: what is due is sent by the first of them alone.
func TestAnExportThatIsDueIsSentByOneOfTheGatewaysThatShareTheDirectory(t *testing.T) {
	w := newWorld(t, t.TempDir(), false)
	defer w.close()
	one := w.sites["SITEA"]
	one.o.Servers = []PostOffice{{Address: "NET/PO9", Attach: 5}}
	two, err := New(one.o) // on the same directory
	if err != nil {
		t.Fatal(err)
	}
	two.Join(nil, func() {})
	two.gw.Store(one.gw.Load())
	sent := func() int {
		n := w.underWay()
		w.mail = nil
		return n
	}
	sent()
	due := time.Now()
	for i, a := range []*Agent{one.Agent, two} {
		if err := a.exportOnce(due)(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if n := sent(); n != 1-i {
			t.Errorf("gateway %d sent %d messages", i+1, n)
		}
	}
	if err := two.exportOnce(due.Add(time.Hour))(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if n := sent(); n != 1 {
		t.Errorf("%d messages at the next time", n)
	}
	if err := two.export(t.Context(), ""); err != nil { // an operator's word
		t.Fatal(err)
	}
	if n := sent(); n != 1 {
		t.Errorf("%d messages by an operator's word", n)
	}
}
