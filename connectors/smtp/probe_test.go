package smtp

import (
	"path"
	"slices"
	"strings"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/gateway/mail"
)

func TestAProbeAsksForTheRecipientsAndSendsNothing(t *testing.T) {
	const down = "deferred/transient/link"
	for _, tt := range []struct {
		name  string
		size  int
		steps []string
		want  string // a glob
	}{
		{"both would be taken", 1000, nil, "delivered delivered"},
		{"one is unknown", 1000, []string{"RCPT 550 5.1.1 no such user", "RCPT 250 ok"}, "failed/permanent/recipient/550/5.1.1 delivered"},
		{"one is busy", 1000, []string{"RCPT 250 ok", "RCPT 450 4.2.1 busy"}, "delivered deferred/transient/recipient/450/4.2.1"},
		{"the originator is refused", 1000, []string{"MAIL 550 5.1.8 bad originator"}, "failed/permanent/message/550/5.1.8 failed/permanent/message/550/5.1.8"},
		{"too large", 5000, []string{`EHLO 250-peer.example\n250 SIZE 4000`}, "failed/policy/message/552/5.3.4 failed/policy/message/552/5.3.4"},
		{"the peer closes in the middle", 1000, []string{"RCPT 550 5.1.1 no", "RCPT 421 4.3.2 closing then drop"}, "failed/permanent/recipient/550/5.1.1 " + down + "/421/4.3.2"},
		{"the peer is gone in the middle", 1000, []string{"RCPT drop"}, down + "/451/4.4.1 " + down + "/451/4.4.1"},
		{"nobody answers", 1000, []string{"greeting drop"}, down + "/451/4.4.1 " + down + "/451/4.4.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, tt.steps...)
			c, closeOut := outbound(t, p.addr, nil)
			tr := transferOf(c, connectortest.Message(tt.size, 1), smtpAddress("a@far.example"), smtpAddress("b@far.example"))
			tr.Envelope.Kind = mail.KindProbe
			out := c.Probe(t.Context(), tr)
			if ok, err := path.Match(strings.ReplaceAll(tt.want, "/", "-"), strings.ReplaceAll(states(out), "/", "-")); err != nil || !ok {
				t.Errorf("got %s, want %s", states(out), tt.want)
			}
			for _, o := range out {
				if o.State == mail.Delivered && (o.PeerReports || !strings.Contains(o.Peer, ": 250 ")) {
					t.Errorf("the peer's word is %q, with reports %t", o.Peer, o.PeerReports)
				}
			}
			if err := closeOut(); err != nil {
				t.Error(err)
			}
			if err := p.close(); err != nil {
				t.Error(err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if i := slices.IndexFunc(p.log, func(s string) bool { return strings.HasPrefix(s, "DATA") || strings.HasPrefix(s, "BDAT") }); i >= 0 {
				t.Errorf("a probe sent a message: %q", p.log)
			}
		})
	}
}
