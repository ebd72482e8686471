package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// outbound opens a section that delivers to addr.
func outbound(t testing.TB, addr string, change func(*Config)) (*Connector, func() error) {
	t.Helper()
	cfg := NewConfig()
	cfg.Name, cfg.Type, cfg.Hostname = "out", "smtp", "mx.sitea.example"
	if addr != "" {
		cfg.Smarthosts = []string{addr}
	}
	cfg.ConnectTimeout = connectors.Duration(2 * time.Second)
	if change != nil {
		change(cfg)
	}
	if bad := cfg.Check(); len(bad) > 0 {
		t.Fatalf("configuration: %v", bad)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	opened, err := Open(connectors.Env{Site: testSite, Book: &connectortest.Book{}, Log: log, Base: t.TempDir()}, []connectors.Config{cfg})
	if err != nil {
		t.Fatal(err)
	}
	return opened.Connectors[0].(*Connector), opened.Close
}

// joined is a connector with a server of ours as its peer.
func joined(t testing.TB, partner bool, script func(*served)) connectortest.Link {
	s := serve(t, func(c *Config) {
		c.Relay = []Relay{{Networks: []string{"127.0.0.1"}, Partner: partner}}
		c.LineEnds = "reject"
	})
	if script != nil {
		script(s)
	}
	c, closeOut := outbound(t, s.addr, func(c *Config) { c.Partner = partner })
	return link(c, closeOut, s)
}

func link(c *Connector, closeOut func() error, s *served) connectortest.Link {
	return connectortest.Link{
		Connector: c,
		Received: func() []connectortest.Received {
			var out []connectortest.Received
			for _, m := range s.gw.Taken() {
				r := connectortest.Received{Originator: m.Envelope.Originator, Content: m.Content}
				for _, rcpt := range m.Envelope.Recipients {
					r.Recipients = append(r.Recipients, rcpt.Address)
				}
				out = append(out, r)
			}
			return out
		},
		Close: func() error {
			err := closeOut()
			if s != nil {
				s.stop()
			}
			return err
		},
	}
}

// sameMessage compares content with what arrived behind the trace fields; a last line without CRLF got one.
func sameMessage(sent, got []byte) error {
	for bytes.HasPrefix(got, []byte("Received: ")) {
		end := bytes.Index(got, []byte("\r\n"))
		for end+2 < len(got) && (got[end+2] == '\t' || got[end+2] == ' ') {
			end += 2 + bytes.Index(got[end+2:], []byte("\r\n"))
		}
		got = got[end+2:]
	}
	if !bytes.HasSuffix(sent, []byte("\r\n")) {
		sent = append(bytes.Clone(sent), "\r\n"...)
	}
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("sent %d octets, got %d: %.300q, want %.300q", len(sent), len(got), got, sent)
	}
	return nil
}

func conformance(partner bool) connectortest.Harness {
	return connectortest.Harness{
		Recipients:   connectortest.SMTPRecipients(4),
		PerRecipient: true,
		ExactlyOnce:  partner,
		Equal:        sameMessage,
		Working:      func(t testing.TB) connectortest.Link { return joined(t, partner, nil) },
		Dead: func(t testing.TB) connectortest.Link {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := ln.Addr().String()
			if err := ln.Close(); err != nil {
				t.Fatal(err)
			}
			c, closeOut := outbound(t, addr, nil)
			return connectortest.Link{Connector: c, Close: closeOut}
		},
		Refusing: func(t testing.TB, k int, f *mail.Failure) connectortest.Link {
			return joined(t, partner, func(s *served) { s.gw.Refuse(connectortest.SMTPRecipients(4)[k], f) })
		},
		Silent: func(t testing.TB) connectortest.Link {
			p := newPeer(t, "silent")
			c, closeOut := outbound(t, p.addr, nil)
			return connectortest.Link{Connector: c, Close: func() error { return errors.Join(closeOut(), p.close()) }}
		},
		LosingAnswer: func(t testing.TB) connectortest.Link {
			s := serve(t, func(c *Config) { c.Relay = []Relay{{Networks: []string{"127.0.0.1"}, Partner: partner}} })
			lossy := loseAnswer(t, s.addr, func() bool { return len(s.gw.Taken()) > 0 })
			c, closeOut := outbound(t, lossy.addr, func(c *Config) { c.Partner = partner })
			l := link(c, closeOut, s)
			inner := l.Close
			l.Close = func() error { return errors.Join(inner(), lossy.close()) }
			return l
		},
	}
}

func TestConformance(t *testing.T) { connectortest.Run(t, conformance(false)) }

func TestConformanceBetweenPartners(t *testing.T) { connectortest.Run(t, conformance(true)) }

// transferOf is an attempt's input.
func transferOf(c *Connector, content []byte, rcpts ...address.Address) *connectors.Transfer {
	now := time.Now()
	env := mail.Envelope{ID: "SITEA-1", Kind: mail.KindMessage, Originator: address.Address{Type: address.SMTP, Value: "origin@sitea.example"}, Arrived: now,
		Trace: []mail.Hop{{Site: "SITEA", At: now}}, Source: mail.Source{Connector: "drop"}, ContentType: "message/rfc822"}
	for _, r := range rcpts {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r})
	}
	hop, _ := c.NextHop(rcpts[0])
	return &connectors.Transfer{Key: "SITEA-1-abc", NextHop: hop, Envelope: env, Content: connectortest.Bytes(content), Attempt: 1, Note: func(mail.Note) {}}
}

func smtpAddress(s string) address.Address { return address.Address{Type: address.SMTP, Value: s} }

// states is each outcome's state and failure in short.
func states(out []mail.Outcome) string {
	var b strings.Builder
	for i, o := range out {
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(string(o.State))
		if f := o.Failure; f != nil {
			b.WriteString("/" + string(f.Class) + "/" + string(f.Scope) + "/" + strconv.Itoa(f.Code) + "/" + f.Enhanced)
		}
	}
	return b.String()
}
