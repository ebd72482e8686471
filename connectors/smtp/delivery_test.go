package smtp

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/google/go-cmp/cmp"
)

// large is more than socket buffers hold.
var large = append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog.\r\n"), 450_000)...)

var letterText = []byte("From: origin@sitea.example\r\nSubject: x\r\n\r\nhello\r\n.dot\r\n")

// TestEveryAnswerAtEveryStage gives two recipients to a peer that answers in a given way.
func TestEveryAnswerAtEveryStage(t *testing.T) {
	const (
		down    = "deferred/transient/link"
		noPipe  = `EHLO 250-peer.example\n250 DSN`
		goOn    = "delivered delivered"
		message = "deferred/transient/message/"
	)
	both := func(s string) string { return s + " " + s }
	for _, tt := range []struct {
		name  string
		steps []string
		want  string // a glob
	}{
		{"all is well", nil, goOn},
		{"all is well without pipelining", []string{noPipe}, goOn},
		{"HELO for who does not know EHLO", []string{"EHLO 502 what"}, goOn},
		{"a greeting on several lines", []string{`greeting 220-hello\n220 there`}, goOn},

		{"no greeting", []string{"greeting drop"}, both(down + "/451/4.4.1")},
		{"a temporary greeting", []string{"greeting 421 4.3.2 busy"}, both(down + "/421/4.3.2")},
		{"a permanent greeting is no verdict on the message", []string{"greeting 554 5.7.1 we do not like you"}, both(down + "/451/4.7.1")},
		{"something else than SMTP", []string{"greeting SSH-2.0-OpenSSH"}, both(down + "/451/4.4.1")},
		{"EHLO refused for now", []string{"EHLO 421 4.7.0 later"}, both(down + "/421/4.7.0")},
		{"EHLO and HELO refused", []string{"EHLO 550 no", "HELO 550 no"}, both(down + "/451/*")},
		{"break at EHLO", []string{"EHLO drop"}, both(down + "/451/4.4.1")},

		{"MAIL refused for now", []string{"MAIL 451 4.3.0 disk"}, both(message + "451/4.3.0")},
		{"MAIL refused for good", []string{"MAIL 550 5.1.8 bad originator"}, both("failed/permanent/message/550/5.1.8")},
		{"MAIL refused by policy", []string{"MAIL 550 5.7.1 not you"}, both("failed/policy/message/550/5.7.1")},
		{"MAIL refused for good without pipelining", []string{noPipe, "MAIL 550 5.1.8 bad originator"}, both("failed/permanent/message/550/5.1.8")},
		{"MAIL wants a password", []string{"MAIL 530 5.7.0 authenticate first"}, both(down + "/451/4.7.0")},
		{"421 at MAIL", []string{"MAIL 421 4.3.2 closing then drop"}, both(down + "/421/4.3.2")},
		{"break at MAIL", []string{"MAIL drop"}, both(down + "/451/4.4.1")},

		{"first recipient unknown", []string{"RCPT 550 5.1.1 no such user", "RCPT 250 ok"}, "failed/permanent/recipient/550/5.1.1 delivered"},
		{"second recipient busy", []string{"RCPT 250 ok", "RCPT 450 4.2.1 busy"}, "delivered deferred/transient/recipient/450/4.2.1"},
		{"the same without pipelining", []string{noPipe, "RCPT 250 ok", "RCPT 450 4.2.1 busy"}, "delivered deferred/transient/recipient/450/4.2.1"},
		{"codes without enhanced ones", []string{"RCPT 550 nobody", "RCPT 452 full"}, "failed/permanent/recipient/550/5.1.1 deferred/transient/recipient/452/4.3.0"},
		{"251 is a yes", []string{"RCPT 251 will forward"}, goOn},
		{"relaying denied", []string{"RCPT 554 5.7.1 relaying denied"}, both("failed/policy/recipient/554/5.7.1")},
		{"nobody taken and DATA refused", []string{"RCPT 550 5.1.1 no", "DATA 554 5.5.1 no valid recipients"}, both("failed/permanent/recipient/550/5.1.1")},
		{"nobody taken and DATA accepted all the same", []string{"RCPT 550 5.1.1 no", "body 554 5.5.1 nothing to do"}, both("failed/permanent/recipient/550/5.1.1")},
		{"nobody taken without pipelining", []string{noPipe, "RCPT 550 5.1.1 no"}, both("failed/permanent/recipient/550/5.1.1")},
		{"421 at the second recipient", []string{"RCPT 250 ok", "RCPT 421 4.7.0 enough then drop"}, both(down + "/421/4.7.0")},
		{"a refusal stands when the connection breaks after it", []string{"RCPT 550 5.1.1 no", "RCPT drop"}, "failed/permanent/recipient/550/5.1.1 " + down + "/451/4.4.1"},

		{"DATA refused for now", []string{"DATA 451 4.3.0 later"}, both(message + "451/4.3.0")},
		{"DATA refused for good", []string{"DATA 554 5.6.0 never"}, both("failed/permanent/message/554/5.6.0")},
		{"break at DATA", []string{"DATA drop"}, both(down + "/451/4.4.1")},
		{"421 at DATA", []string{"DATA 421 4.3.2 closing then drop"}, both(down + "/421/4.3.2")},

		{"content refused for now", []string{"body 451 4.7.1 greylisted"}, both(message + "451/4.7.1")},
		{"content refused for good", []string{"body 554 5.6.0 spam"}, both("failed/permanent/message/554/5.6.0")},
		{"content too large", []string{"body 552 5.3.4 too big"}, both("failed/policy/message/552/5.3.4")},
		{"421 after the content", []string{"body 421 4.3.2 closing then drop"}, both(down + "/421/4.3.2")},
		{"no answer to the final dot", []string{"body drop"}, both(message + "451/4.4.2")},
		{"a lie of a code", []string{"body 299 fine"}, both("deferred/*")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, tt.steps...)
			c, closeOut := outbound(t, p.addr, nil)
			defer func() {
				if err := closeOut(); err != nil {
					t.Error(err)
				}
			}()
			out := c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example"), smtpAddress("two@siteb.example")))
			if got := states(out); !match(tt.want, got) {
				t.Errorf("outcomes %s, want %s\npeer heard %q", got, tt.want, p.heard())
			}
			for _, o := range out {
				if f := o.Failure; f != nil && f.Text == "" {
					t.Errorf("failure without words: %+v", f)
				}
			}
		})
	}
}

// TestBreakAnywhere cuts the connection after each octet of the client's side of a conversation: nobody is ever told
// delivered unless the peer took the message.
func TestBreakAnywhere(t *testing.T) {
	whole := 0
	for cut := 0; ; cut += 7 {
		p := newCutter(t, cut)
		c, closeOut := outbound(t, p.addr, func(c *Config) { c.ReuseIdle = 0 })
		out := c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))
		if err := closeOut(); err != nil {
			t.Fatal(err)
		}
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
		taken := out[0].State == mail.Delivered
		if taken != (p.bodies == 1) {
			t.Fatalf("cut after %d octets: outcome %s, %d messages at the peer", cut, states(out), p.bodies)
		}
		if taken {
			if whole++; whole == 3 {
				return
			}
		}
	}
}

func TestCommandsCarryTheEnvelope(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ehlo   string
		change func(*connectors.Transfer)
		to     address.Address
		want   []string // commands between EHLO and DATA
	}{
		{"plain, to a peer that knows nothing", "250 peer", nil, smtpAddress("one@siteb.example"),
			[]string{"MAIL FROM:<origin@sitea.example>", "RCPT TO:<one@siteb.example>"}},
		{"size is announced", `250-peer\n250 SIZE 100000`, nil, smtpAddress("one@siteb.example"),
			[]string{"MAIL FROM:<origin@sitea.example> SIZE=55", "RCPT TO:<one@siteb.example>"}},
		{"DSN goes along", `250-peer\n250 dsn`, func(t *connectors.Transfer) {
			t.Envelope.EnvID, t.Envelope.RetFull = "a b+c", true
			t.Envelope.Recipients[0].Notify = mail.NotifySuccess | mail.NotifyDelay
			t.Envelope.Recipients[0].ORCPT = "x400;/C=US/A= /S=Kumar/"
		}, smtpAddress("one@siteb.example"),
			[]string{"MAIL FROM:<origin@sitea.example> RET=FULL ENVID=a+20b+2Bc", "RCPT TO:<one@siteb.example> NOTIFY=SUCCESS,DELAY ORCPT=x400;/C+3DUS/A+3D+20/S+3DKumar/"}},
		{"NEVER", `250-peer\n250 DSN`, func(t *connectors.Transfer) { t.Envelope.Recipients[0].Notify = mail.NotifyNever }, smtpAddress("one@siteb.example"),
			[]string{"MAIL FROM:<origin@sitea.example> RET=HDRS", "RCPT TO:<one@siteb.example> NOTIFY=NEVER"}},
		{"a report has no originator", "250 peer", func(t *connectors.Transfer) {
			t.Envelope.Kind, t.Envelope.Originator = mail.KindReport, address.Address{}
		}, smtpAddress("one@siteb.example"), []string{"MAIL FROM:<>", "RCPT TO:<one@siteb.example>"}},
		{"an MS Mail originator and recipient are encapsulated", "250 peer", func(t *connectors.Transfer) {
			t.Envelope.Originator = address.Address{Type: address.MS, Value: "NORTHWIND/PO1/JBERG"}
		}, address.Address{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"},
			[]string{"MAIL FROM:<IMCEAMS-NORTHWIND_PO1_JBERG@sitea.example>", "RCPT TO:<IMCEAMS-NORTHWIND_PO2_MKUMAR@siteb.example>"}},
		{"quotes stay where they belong", "250 peer", nil, smtpAddress(`"x@evil> NOTIFY=NEVER "@siteb.example`),
			[]string{"MAIL FROM:<origin@sitea.example>", `RCPT TO:<"x@evil> NOTIFY=NEVER "@siteb.example>`}},
		{"SMTPUTF8 where the address needs it", `250-peer\n250 SMTPUTF8`, nil, smtpAddress("müller@siteb.example"),
			[]string{"MAIL FROM:<origin@sitea.example> SMTPUTF8", "RCPT TO:<müller@siteb.example>"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, "EHLO "+tt.ehlo)
			c, closeOut := outbound(t, p.addr, nil)
			tr := transferOf(c, letterText, tt.to)
			if tt.change != nil {
				tt.change(tr)
			}
			if got := states(c.Deliver(t.Context(), tr)); got != "delivered" && got != "relayed" {
				t.Errorf("outcome %s", got)
			}
			if err := closeOut(); err != nil {
				t.Error(err)
			}
			heard := p.heard()
			if len(heard) < 4 {
				t.Fatalf("heard %q", heard)
			}
			if diff := cmp.Diff(tt.want, heard[1:3]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSuccessReportsAreTheirsOrOurs(t *testing.T) {
	for _, tt := range []struct {
		name, ehlo string
		notify     mail.Notify
		want       string
		theirs     bool
	}{
		{"a peer with DSN reports for itself", `250-peer\n250 DSN`, mail.NotifySuccess, "delivered", true},
		{"without DSN the report that was asked for is ours", "250 peer", mail.NotifySuccess, "relayed", false},
		{"without DSN and without a request there is none", "250 peer", mail.NotifyDefault, "delivered", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, "EHLO "+tt.ehlo)
			c, closeOut := outbound(t, p.addr, nil)
			tr := transferOf(c, letterText, smtpAddress("one@siteb.example"))
			tr.Envelope.Recipients[0].Notify = tt.notify
			out := c.Deliver(t.Context(), tr)
			if got := states(out); got != tt.want || out[0].PeerReports != tt.theirs {
				t.Errorf("outcome %s, peer reports %v", got, out[0].PeerReports)
			}
			if err := closeOut(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMoreRecipientsThanOneTransactionTakes(t *testing.T) {
	rcpts := make([]address.Address, 250)
	for i := range rcpts {
		rcpts[i] = smtpAddress(fmt.Sprintf("user%d@siteb.example", i))
	}
	for _, tt := range []struct {
		name   string
		steps  []string
		bodies int
	}{
		{"a hundred at a time", nil, 3},
		{"as many as LIMITS says", []string{`EHLO 250-peer\n250-PIPELINING\n250 LIMITS RCPTMAX=50`}, 5},
		{"the rest again when the peer has enough", append(many("RCPT 250 ok", 60), append(many("RCPT 452 4.5.3 too many", 40), "RCPT 250 ok")...), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, tt.steps...)
			c, closeOut := outbound(t, p.addr, nil)
			out := c.Deliver(t.Context(), transferOf(c, letterText, rcpts...))
			if got, want := states(out), strings.TrimSpace(strings.Repeat("delivered ", 250)); got != want {
				t.Errorf("outcomes %s", got)
			}
			if err := closeOut(); err != nil {
				t.Error(err)
			}
			if n := len(p.received()); n != tt.bodies {
				t.Errorf("%d transactions, want %d", n, tt.bodies)
			}
			if n := p.connections(); n != 1 {
				t.Errorf("%d connections, want one", n)
			}
		})
	}
}

func many(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// TestAPeerMaySayEnoughInTheMiddle: its reason counts although the message could not be sent to its end.
func TestAPeerMaySayEnoughInTheMiddle(t *testing.T) {
	p := newPeer(t, "DATA 354 go on\\n552 5.3.4 that is enough then drop")
	c, closeOut := outbound(t, p.addr, nil)
	out := c.Deliver(t.Context(), transferOf(c, large, smtpAddress("one@siteb.example")))
	if got := states(out); got != "failed/policy/message/552/5.3.4" {
		t.Errorf("%s: %v", got, out[0].Failure)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

// TestABreakInTheMiddleIsTheMessagesOwn: other mail for the peer goes on.
func TestABreakInTheMiddleIsTheMessagesOwn(t *testing.T) {
	p := newPeer(t, "DATA 354 go on then drop")
	c, closeOut := outbound(t, p.addr, nil)
	out := c.Deliver(t.Context(), transferOf(c, large, smtpAddress("one@siteb.example")))
	if got := states(out); !match("deferred/transient/message/*", got) {
		t.Errorf("%s: %v", got, out[0].Failure)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

func TestAPeerThatTakesOneMessageAConnection(t *testing.T) {
	p := newPeer(t, `EHLO 250-peer\n250-PIPELINING\n250 LIMITS MAILMAX=1 RCPTMAX=2`)
	c, closeOut := outbound(t, p.addr, nil)
	to := connectortest.SMTPRecipients(5)
	if got := states(c.Deliver(t.Context(), transferOf(c, letterText, to...))); got != "delivered delivered delivered delivered delivered" {
		t.Error(got)
	}
	if n := p.connections(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	p := newPeer(t)
	c, closeOut := outbound(t, p.addr, func(c *Config) { c.ReuseMessages = 3 })
	for range 7 {
		if got := states(c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))); got != "delivered" {
			t.Fatal(got)
		}
	}
	if n := p.connections(); n != 3 {
		t.Errorf("%d connections for 7 messages of at most 3 each, want 3", n)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

func TestAConnectionThatDiedWhileItWaitedCostsNothing(t *testing.T) {
	for _, end := range []string{"MAIL drop", "MAIL 421 4.4.2 idle too long then drop"} {
		p := newPeer(t, "MAIL 250 ok", end, "MAIL 250 ok")
		c, closeOut := outbound(t, p.addr, nil)
		for i := range 2 {
			if got := states(c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))); got != "delivered" {
				t.Errorf("%s: message %d: %s", end, i+1, got)
			}
		}
		if n := p.connections(); n != 2 {
			t.Errorf("%s: %d connections, want 2", end, n)
		}
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	}
}

func TestATooLargeMessageIsNotSent(t *testing.T) {
	p := newPeer(t, `EHLO 250-peer\n250 SIZE 20`)
	c, closeOut := outbound(t, p.addr, nil)
	if got := states(c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))); got != "failed/policy/message/552/5.3.4" {
		t.Error(got)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
	for _, l := range p.heard() {
		if strings.HasPrefix(l, "MAIL") {
			t.Errorf("peer heard %q", l)
		}
	}
}

func TestTheNextSmarthostIsTried(t *testing.T) {
	dead, busy, p := newPeer(t, "greeting drop"), newPeer(t, "greeting 421 4.3.2 busy"), newPeer(t)
	c, closeOut := outbound(t, dead.addr, func(c *Config) { c.Smarthosts = append(c.Smarthosts, busy.addr, p.addr) })
	if hop, err := c.NextHop(smtpAddress("one@siteb.example")); err != nil || hop != dead.addr {
		t.Errorf("next hop %q, %v", hop, err)
	}
	if got := states(c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))); got != "delivered" {
		t.Error(got)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

func TestTheMessageOnTheWire(t *testing.T) {
	p := newPeer(t)
	c, closeOut := outbound(t, p.addr, func(c *Config) { c.Partner = true })
	tr := transferOf(c, []byte("Return-Path: <x@y.example>\r\nX-Backbone-Trace: FORGED; 2026-01-01T00:00:00Z\r\nSubject: x\r\n\r\n.one dot\r\n..two\r\nlast"), smtpAddress("one@siteb.example"))
	tr.Envelope.Arrived = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	tr.Envelope.Trace = []mail.Hop{{Site: "NORTHWIND/PO1", At: tr.Envelope.Arrived.Add(-time.Minute)}, {Site: "SITEA", At: tr.Envelope.Arrived}}
	if got := states(c.Deliver(t.Context(), tr)); got != "delivered" {
		t.Fatal(got)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
	want := strings.ReplaceAll(`X-Backbone-Transfer: 5c8d4c6bf0ffc4d8d9d52a9ae9ee1b35ee2c2d1b
X-Backbone-Id: SITEA-1
X-Backbone-Trace: SITEA; 2026-11-22T10:00:00Z
X-Backbone-Trace: NORTHWIND/PO1; 2026-11-22T09:59:00Z
Received: by mx.sitea.example via drop id SITEA-1;
	Sun, 22 Nov 2026 10:00:00 +0000
Subject: x

..one dot
...two
last
`, "\n", "\r\n")
	got := p.received()[0]
	want = got[:strings.Index(got, "\r\n")] + want[strings.Index(want, "\r\n"):] // the hash is its own test
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestATransferHasOneIdentifierPerSetOfRecipients(t *testing.T) {
	id := func(rcpt2 string) string {
		p := newPeer(t, "RCPT 250 ok", rcpt2)
		c, closeOut := outbound(t, p.addr, func(c *Config) { c.Partner = true })
		c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example"), smtpAddress("two@siteb.example")))
		if err := closeOut(); err != nil {
			t.Error(err)
		}
		line, _, _ := strings.Cut(p.received()[0], "\r\n")
		return line
	}
	if a, b := id("RCPT 250 ok"), id("RCPT 250 ok"); a != b || !strings.HasPrefix(a, "X-Backbone-Transfer: ") {
		t.Errorf("the same hand-over twice: %q and %q", a, b)
	}
	if a, b := id("RCPT 250 ok"), id("RCPT 450 later"); a == b {
		t.Error("a recipient who was refused the first time would be taken for served")
	}
}

func TestCancelEndsAnAttemptAtOnce(t *testing.T) {
	for _, word := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA", "body"} {
		p := newPeer(t, word+" silent")
		c, closeOut := outbound(t, p.addr, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		got := states(c.Deliver(ctx, transferOf(c, letterText, smtpAddress("one@siteb.example"))))
		cancel()
		if !match("deferred/transient/*", got) || time.Since(start) > 5*time.Second {
			t.Errorf("silence at %s: %s after %v", word, got, time.Since(start))
		}
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	}
}

func TestASilentPeerTimesOut(t *testing.T) {
	for _, word := range []string{"greeting", "MAIL", "body"} {
		p := newPeer(t, word+" silent")
		c, closeOut := outbound(t, p.addr, func(c *Config) {
			c.ReplyTimeout, c.FinalTimeout = connectors.Duration(50*time.Millisecond), connectors.Duration(50*time.Millisecond)
		})
		if got := states(c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))); !match("deferred/transient/*", got) {
			t.Errorf("silence at %s: %s", word, got)
		}
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	}
}

func TestAPeerThatFloodsIsCutOff(t *testing.T) {
	for name, greeting := range map[string]string{
		"a line without end":  "220 " + strings.Repeat("x", 100000),
		"lines without end":   strings.Repeat("220-more\n", 100000) + "220 done",
		"a code that changes": "220-one\n250 two",
	} {
		p := newPeer(t, "greeting "+greeting)
		c, closeOut := outbound(t, p.addr, nil)
		if got := states(c.Deliver(t.Context(), transferOf(c, letterText, smtpAddress("one@siteb.example")))); !match("deferred/transient/link/*", got) {
			t.Errorf("%s: %s", name, got)
		}
		if err := closeOut(); err != nil {
			t.Error(err)
		}
	}
}

func TestOtherAddressTypesNeedADomain(t *testing.T) {
	c, closeOut := outbound(t, "127.0.0.1:1", nil)
	c.domain = ""
	out := c.Deliver(t.Context(), transferOf(c, letterText, address.Address{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"}))
	if got := states(out); got != "failed/permanent/recipient/550/5.4.4" {
		t.Error(got)
	}
	if _, err := c.NextHop(address.Address{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"}); err == nil {
		t.Error("NextHop gave a destination")
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
}

// TestFromServerToServer sends through our client into our server, with what both must do to a message.
func TestFromServerToServer(t *testing.T) {
	s := serve(t, func(c *Config) { c.Relay = []Relay{{Networks: []string{"127.0.0.1"}, Partner: true}} })
	c, closeOut := outbound(t, s.addr, func(c *Config) { c.Partner = true })
	content := connectortest.Message(3<<20, 1)
	tr := transferOf(c, content, address.Address{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"}, smtpAddress(`"odd name"@sitea.example`))
	tr.Envelope.EnvID = "QQ=1+2"
	tr.Envelope.Recipients[0].Notify, tr.Envelope.Recipients[0].ORCPT = mail.NotifySuccess, "ms;NORTHWIND/PO2/MKUMAR"
	if got := states(c.Deliver(t.Context(), tr)); got != "delivered delivered" {
		t.Fatal(got)
	}
	if err := closeOut(); err != nil {
		t.Error(err)
	}
	m := s.gw.Wait(t, 1)[0]
	if err := sameMessage(content, m.Content); err != nil {
		t.Error(err)
	}
	want := []mail.Recipient{
		{Address: smtpAddress("IMCEAMS-NORTHWIND_PO2_MKUMAR@siteb.example"), Notify: mail.NotifySuccess, ORCPT: "ms;NORTHWIND/PO2/MKUMAR"},
		{Address: smtpAddress(`"odd name"@sitea.example`)},
	}
	if diff := cmp.Diff(want, m.Envelope.Recipients); diff != "" {
		t.Error(diff)
	}
	if m.Envelope.EnvID != "QQ=1+2" || m.Envelope.ID != "SITEA-1" || len(m.Envelope.Trace) != 1 || m.Envelope.Trace[0].Site != "SITEA" {
		t.Errorf("envelope %+v", m.Envelope)
	}
}
