package msmail

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/shadowpo/mmff"
)

func TestConformance(t *testing.T) {
	link := func(s *site) connectortest.Link {
		return connectortest.Link{
			Connector: s.Connector,
			Received: func() []connectortest.Received {
				var out []connectortest.Received
				for _, m := range s.collected("NORTHWIND.PO2", mmff.CP850) {
					content := text(s.t, m)
					for _, a := range m.Attachments {
						content += text(s.t, &mmff.Message{Text: a.Content})
					}
					from := m.From
					if m.From.Value == "NORTHWIND/SITEA/POSTMASTER" {
						from = address.Address{}
					}
					out = append(out, connectortest.Received{Originator: from, Recipients: m.To, Content: []byte(content)})
				}
				return out
			},
			Close: s.opened.Close,
		}
	}
	connectortest.Run(t, connectortest.Harness{
		Recipients: connectortest.MSRecipients(4),
		Working:    func(t testing.TB) connectortest.Link { return link(open(t, nil)) },
		Dead: func(t testing.TB) connectortest.Link {
			s := open(t, nil)
			if err := os.RemoveAll(s.folder("NORTHWIND.PO2", "")); err != nil {
				t.Fatal(err)
			}
			return link(s)
		},
		// Nobody answers at the other side of a folder: it can't refuse, fall silent or lose an answer.
		ExactlyOnce: true,
		Equal: func(sent, got []byte) error {
			if body := connectortest.Body(sent); !bytes.Equal(body, got) {
				return fmt.Errorf("sent a text of %d octets, got %d", len(body), len(got))
			}
			return nil
		},
	})
}
