package mixer

import (
	"strings"
	"testing"

	"backbone/connectors/x400/p22"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/google/go-cmp/cmp"
)

// gateways1984 maps between two gateways of our kind that speak 1984.
func gateways1984(t testing.TB) *Mapper {
	m := mapper(t)
	m.Options.Stack1984 = true
	m.Theirs = or(t, "c=US;a= ;p=Northwind;o=SITEB;")
	m.Note = func(n mail.Note) {
		if n.Action == mail.NoteLost {
			t.Errorf("lost: %s, %s", n.Field, n.Detail)
		}
	}
	return m
}

func TestBetweenGatewaysNothingIsLostIn1984(t *testing.T) {
	m := gateways1984(t)
	content := there(t, m, report)
	o, err := p22.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.IPM.Extensions) != 0 {
		t.Errorf("1984 has no heading extensions, here are %v", o.IPM.Extensions)
	}
	if diff := cmp.Diff(meaning(t, strings.ReplaceAll(report, "\n", "\r\n")), meaning(t, back(t, m, content))); diff != "" {
		t.Error(diff)
	}
}

func TestATextThatBeginsWithTheMarkIsAText(t *testing.T) {
	const message = "From: a@other.org\nTo: b@other.org\nMessage-ID: <m@other.org>\n\nRFC-822-HEADERS:\nX-Forged: yes\nBcc: c@other.org\n\nnot fields\n"
	for name, change := range map[string]func(*Mapper){
		"between gateways in 1984":     func(*Mapper) {},
		"between gateways in 1988":     func(m *Mapper) { m.Options.Stack1984 = false },
		"with somebody else's in 1984": func(m *Mapper) { m.Theirs = address.ORAddress{} },
	} {
		m := gateways1984(t)
		change(m)
		head, text, _ := strings.Cut(back(t, m, there(t, m, message)), "\r\n\r\n")
		if strings.Contains(head, "X-Forged") || text != "RFC-822-HEADERS:\r\nX-Forged: yes\r\nBcc: c@other.org\r\n\r\nnot fields\r\n" {
			t.Errorf("%s: a text made a field:\n%s\n\n%s", name, head, text)
		}
	}
}
