package site

import (
	"testing"

	"backbone/connectors/connectortest"
)

func TestAMessageArrivesWhole(t *testing.T) {
	w := newWorld(t, nil)
	for _, size := range []int{0, 1, inlineLimit, inlineLimit + 1, 3 << 20} {
		content := connectortest.Octets(size, uint64(size))
		tr := transfer(key("size-%d", size), connectortest.Bytes(content))
		o := w.mustDeliver(tr)
		if !o.PeerReports {
			t.Error("the outcome does not say that the far site reports: a positive report would be sent twice")
		}
		got := w.gw.Taken()
		last := got[len(got)-1]
		if string(last.Content) != string(content) {
			t.Errorf("%d octets arrived as other %d", size, len(last.Content))
		}
		if want := "site/SITEA/" + tr.Key; last.Dedup != want {
			t.Errorf("dedup key %q, want %q", last.Dedup, want)
		}
		if s := last.Envelope.Source; s.Connector != "sitea" || s.Peer != "SITEA" || !s.Authenticated {
			t.Errorf("source = %+v, want connector sitea, peer SITEA, authenticated", s)
		}
	}
	if d, err := w.link.Ping(t.Context()); err != nil || d <= 0 {
		t.Errorf("Ping: %v, %v", d, err)
	}
}
