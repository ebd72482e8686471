package smtp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestSmugglingThroughTwoGateways sends the published ends of data, true and false, through a gateway with each policy and on
// to a second one: what the first takes as one message the second takes as one message, and nobody sees the smuggled one.
func TestSmugglingThroughTwoGateways(t *testing.T) {
	ends := []string{"\r\n.\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\n\n.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n..\r\n", "\r\n\t.\r\n"}
	for _, policy := range []string{"reject", "normalise"} {
		smarthost := serve(t, func(c *Config) { c.Relay = []Relay{{Networks: []string{"127.0.0.1"}}} })
		first := serve(t, func(c *Config) { c.LineEnds = policy })
		out, closeOut := outbound(t, smarthost.addr, nil)
		taken, through := 0, 0
		for _, end := range ends {
			name := fmt.Sprintf("%s %q", policy, end)
			c := first.dial().hello()
			c.envelope()
			c.raw("Subject: outer\r\n\r\nbefore" + end + "MAIL FROM:<evil@far.example>\r\nRCPT TO:<victim@sitea.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\nQUIT\r\n")
			acknowledged := 0
			for l := c.line(); l != ""; l = c.line() {
				if strings.HasPrefix(l, "250 2.0.0 Ok: queued") {
					acknowledged++
				}
			}
			got := first.gw.Taken()[taken:]
			taken += len(got)
			if len(got) != acknowledged || len(got) > 1 {
				t.Fatalf("%s: %d messages taken at the first gateway, %d acknowledged", name, len(got), acknowledged)
			}
			if clean := !strings.ContainsAny(strings.ReplaceAll(end, "\r\n", ""), "\r\n"); len(got) == 0 && (clean || policy == "normalise") {
				t.Errorf("%s: refused", name)
			}
			for _, m := range got {
				tr := transferOf(out, m.Content, smtpAddress("one@siteb.example"))
				tr.Envelope.Extra = m.Envelope.Extra
				if s := states(out.Deliver(t.Context(), tr)); s != "delivered" {
					t.Errorf("%s: %s", name, s)
				}
				second := smarthost.gw.Taken()[through:]
				through += len(second)
				if len(second) != 1 || second[0].Envelope.Originator == smtpAddress("evil@far.example") {
					t.Fatalf("%s: %d messages at the second gateway", name, len(second))
				}
				if err := sameMessage(bodyOf(m.Content), bytes.ReplaceAll(bodyOf(second[0].Content), []byte("=00"), []byte{0})); err != nil { // NUL goes quoted-printable
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	}
}

// bodyOf is a message behind its header.
func bodyOf(message []byte) []byte {
	_, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	return body
}
