package x400

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"backbone/connectors/connectortest"
	"backbone/connectors/x400/cotp"
	"backbone/connectors/x400/golden"
	"backbone/connectors/x400/pcap"
	"backbone/connectors/x400/session"
	"backbone/connectors/x400/tpkt"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// conversation is the one between MTAs in a capture: that to selector x88n of pp-e2e.pcap, else the only one.
func conversation(t testing.TB, file string) *pcap.Conversation {
	for _, c := range golden.Conversations(t, file) {
		if file != "pp-e2e.pcap" || bytes.Contains(c.Turns[0].Octets, []byte("x88n")) {
			return c
		}
	}
	t.Fatal(file)
	return nil
}

// ppSection is a section for the captures' MTAs: we are one, the other is mta-a or mta-b.
func ppSection(local, remote string) *Config {
	c := section("mta-"+local, "mta-"+remote)
	c.LocalPassword, c.RemotePassword, c.Transport = "secret-"+c.LocalPassword[len(c.LocalPassword)-1:], "secret-"+c.RemotePassword[len(c.RemotePassword)-1:], "rfc1006"
	return c
}

// TestACallerFromTheCapturesIsAnswered replays what another MTA said as a caller, turn by turn.
func TestACallerFromTheCapturesIsAnswered(t *testing.T) {
	for _, tt := range []struct {
		file, password string
		want           []string // SPDUs of the answer
		taken          int
	}{
		{"pp-ping88.pcap", "secret-a", []string{"ACCEPT", "DISCONNECT"}, 0},
		{"pp-ping88o.pcap", "secret-a", []string{"ACCEPT", "DISCONNECT"}, 0},
		{"pp-ping84.pcap", "secret-a", []string{"ACCEPT", "DISCONNECT"}, 0},
		{"pp-badpw88.pcap", "another", []string{"REFUSE reason 2"}, 0},
		{"pp-badpw-x410.pcap", "another", []string{"REFUSE reason 2"}, 0},
		{"pp-e2e.pcap", "secret-a", []string{"ACCEPT", "ACTIVITY END ACK 1", "DISCONNECT"}, 1},
	} {
		t.Run(tt.file, func(t *testing.T) {
			cfg := ppSection("b", "a")
			cfg.RemotePassword = "secret-a"
			if tt.password != "secret-a" {
				cfg.RemotePassword = "another"
			}
			cfg.Listen = "127.0.0.1:0"
			b := open(t, "SITEB", cfg)
			conn, err := net.Dial("tcp", b.addr())
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			in := tpkt.New(conn)
			var got []string
			for _, turn := range conversation(t, tt.file).Turns {
				if turn.FromCaller {
					if _, err := conn.Write(turn.Octets); err != nil {
						break
					}
					continue
				}
				answer, err := in.ReadPacket()
				if err != nil {
					break // the capture's last turn is a disconnect, which we say by hanging up
				}
				if u, err := cotp.Parse(answer); err == nil && u.Code == cotp.DT {
					all, err := session.Parse(u.Data)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, all[0].String())
				}
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := b.stop(); err != nil {
				t.Error(err)
			}
			if strings.Join(got, ", ") != strings.Join(tt.want, ", ") {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
			taken := b.gw.Taken()
			if len(taken) != tt.taken {
				t.Fatalf("%d messages taken, want %d", len(taken), tt.taken)
			}
			if tt.taken == 1 {
				m := taken[0]
				if m.Envelope.Subject != "Hello over P1" || m.Envelope.Originator.Value != "c=GB;a=TEST;p=TestA;o=OrgA;s=pp;" || m.Envelope.EnvID != "[/PRMD=TestA/ADMD=TEST/C=GB/;<m1@testa.test>]Subject: Hello over P1,\nMessage-ID: <m1@testa.test>,\nTo: pp@testb.test\n" && m.Envelope.EnvID != "[/PRMD=TestA/ADMD=TEST/C=GB/;<m1@testa.test>]" ||
					!bytes.Contains(m.Content, []byte("Message-ID: <m1@testa.test>")) || m.Envelope.Recipients[0].Notify != mail.NotifyFailure {
					t.Errorf("%+v\n%s", m.Envelope, m.Content)
				}
			}
		})
	}
}

// TestAnAnswererFromTheCapturesIsCalled replays what another MTA answered, with our references in its connection confirm.
func TestAnAnswererFromTheCapturesIsCalled(t *testing.T) {
	for _, tt := range []struct {
		file, mode, want string // "" is delivered
	}{
		{"pp-e2e.pcap", "normal", ""},
		{"pp-badpw88.pcap", "normal", "authentication-error"},
		{"pp-badpw-x410.pcap", "x410", "validation failure"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- replayAnswers(ln, conversation(t, tt.file)) }()
			cfg := ppSection("a", "b")
			cfg.LocalMTA, cfg.Mode, cfg.Peer, cfg.RemoteTSelector = "mta-a", tt.mode, ln.Addr().String(), "x88n"
			a := open(t, "SITEA", cfg)
			got := a.opened.Connectors[0].Deliver(context.Background(), message("m1", 10))[0]
			if err := a.stop(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
			switch {
			case tt.want == "" && got.State != mail.Delivered:
				t.Error(got.Failure)
			case tt.want != "" && (got.State != mail.Deferred || !strings.Contains(got.Failure.Error(), tt.want)):
				t.Errorf("%s, %v: want deferred with %q", got.State, got.Failure, tt.want)
			}
		})
	}
}

func replayAnswers(ln net.Listener, c *pcap.Conversation) error {
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	defer conn.Close() // over either way
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	in := tpkt.New(conn)
	var src uint16
	// Each answer is due after as many of our packets as the capture's caller had sent before it.
	for _, turn := range c.Turns {
		if turn.FromCaller {
			for range packetsIn(turn.Octets) {
				b, err := in.ReadPacket()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
				if u, err := cotp.Parse(b); err == nil && u.Code == cotp.CR {
					src = u.Src
				}
			}
			continue
		}
		out := bytes.Clone(turn.Octets)
		if out[5] == byte(cotp.CC) {
			binary.BigEndian.PutUint16(out[6:], src)
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
	}
	return nil
}

func packetsIn(b []byte) (n int) {
	for len(b) >= 4 {
		b = b[min(len(b), int(b[2])<<8|int(b[3])):]
		n++
	}
	return n
}

// TestWhatCantBeServedIsReportedOn: P1 refuses a message only for now. One that will never do is taken, and its originator
// gets a report; so does the originator of a probe.
func TestWhatCantBeServedIsReportedOn(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) { caller.Transport, answerer.Transport = "rfc1006", "rfc1006" })
	c := a.opened.Connectors[0].(*Connector)
	b.gw.Script(mail.TooLarge("too large for us"))
	if got := c.Deliver(context.Background(), message("LARGE", 10))[0]; got.State != mail.Delivered {
		t.Fatal(got.Failure)
	}
	b.gw.Script(&mail.Failure{Class: mail.Local, Text: "disk full"})
	if got := c.Deliver(context.Background(), message("LATER", 10))[0]; got.State != mail.Deferred || got.Failure.Class != mail.Transient || got.Failure.Scope == mail.ScopeLink {
		t.Errorf("%s: %+v", got.State, got.Failure)
	}
	probe := message("PROBE", 10)
	probe.Envelope.Recipients = append(probe.Envelope.Recipients, mail.Recipient{Address: connectortest.SMTPRecipients(2)[1], Notify: mail.NotifySuccess | mail.NotifyFailure})
	b.gw.Refuse(probe.Envelope.Recipients[0].Address, mail.UnknownRecipient("no such mailbox"))
	if got := c.Probe(context.Background(), probe)[0]; got.State != mail.Delivered {
		t.Error(got.Failure)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
	taken := b.gw.Taken()
	if len(taken) != 2 {
		t.Fatalf("%d taken, want the report and the answer to the probe", len(taken))
	}
	for i, want := range [][]string{{"Action: failed", "Status: 5.3.4", "[/PRMD=Northwind/ADMD= /C=US/;LARGE]"}, {"Action: failed", "Status: 5.1.1", "Action: delivered", ";PROBE]"}} {
		e := taken[i].Envelope
		if e.Kind != mail.KindReport || !e.Originator.IsZero() || e.Recipients[0].Address != (address.Address{Type: address.SMTP, Value: "o@sitea.example"}) {
			t.Errorf("%+v", e)
		}
		for _, s := range want {
			if !bytes.Contains(taken[i].Content, []byte(s)) {
				t.Errorf("no %q in\n%s", s, taken[i].Content)
			}
		}
	}
}

// TestAMessageThatComesBackIsShownAsALoop: our domain in the trace, another after it.
func TestAMessageThatComesBackIsShownAsALoop(t *testing.T) {
	b := open(t, "SITEB", func() *Config {
		c := section("SITEB", "SITEA")
		c.Transport, c.Listen, c.GDI = "rfc1006", "127.0.0.1:0", "c=US;a= ;p=Ours;"
		return c
	}())
	caller := section("SITEA", "SITEB")
	caller.Transport, caller.Peer, caller.GDI = "rfc1006", b.addr(), "c=GB;a=gold;p=Theirs;"
	a := open(t, "SITEA", caller)
	m := message("LOOP", 10)
	ours, err := address.ParseORAddress("c=US;a= ;p=Ours;")
	if err != nil {
		t.Fatal(err)
	}
	m.Envelope.Extra = map[string]string{extraTrace: traceOf(ours)}
	if got := a.opened.Connectors[0].Deliver(context.Background(), m)[0]; got.State != mail.Delivered {
		t.Fatal(got.Failure)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
	var sites []string
	for _, h := range b.gw.Taken()[0].Envelope.Trace {
		sites = append(sites, h.Site)
	}
	if len(sites) == 0 || sites[len(sites)-1] != "SITEB" {
		t.Errorf("hops %q do not end with ours", sites)
	}
}
