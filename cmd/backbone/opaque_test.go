package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/config"
	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"
)

// TestContentThatCantBeParsedArrivesWhole: what nobody can make sense of comes in over SMTP, over a site link and as a file of a
// post office, and arrives at a post office and at an SMTP host octet by octet. Nothing is refused, held or reported on. (Package
// x400 has the same test of P1, in both directions.)
func TestContentThatCantBeParsedArrivesWhole(t *testing.T) {
	contents := map[string]string{
		"no header":                  "this is no header\r\nneither is this\r\n",
		"nothing":                    "",
		"a multipart that breaks":    "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/pl",
		"no boundary":                "Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
		"a type that is none":        "Content-Type: \"\\\"; ;;=;\r\nContent-Transfer-Encoding: x-\xff\r\n\r\nx\xff\xfe\r\n",
		"broken base64":              "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA=A*A\r\n",
		"broken quoted-printable":    "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ=\x01=\r\n",
		"an unknown character set":   "Content-Type: text/plain; charset=klingon\r\n\r\n\x80\x81\xff\r\n",
		"octets":                     "X: \xff\xfe\x80\r\n\r\n" + strings.Repeat("\xff\xfe\x01", 300) + "\r\n",
		"10,000 parts":               "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 10_000) + "--b--\r\n",
		"a hundred thousand fields":  strings.Repeat("X: y\r\n", 100_000) + "\r\nx\r\n",
		"4,000 levels":               strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 4000) + "x\r\n",
		"TNEF that is none":          "Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\neJ8+IgEA////////\r\n",
		"a report that is none":      "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\xff::\r\n--b--\r\n",
		"a receipt that is none":     "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\n:\r\n",
		"an address list that loops": "From: " + strings.Repeat("(", 900) + "\r\nTo: " + strings.Repeat("a:", 450) + ";\r\n\r\nx\r\n",
	}
	dir := t.TempDir()
	far, near := listen(t), listen(t)
	var received sink
	var sunk sync.WaitGroup
	sunk.Go(func() { received.serve(far) })
	defer func() {
		far.Close()
		sunk.Wait()
	}()
	smtp := near.Addr().String()
	near.Close()
	path := filepath.Join(dir, "backbone.toml")
	check(t, os.WriteFile(path, fmt.Appendf(nil, hostileSite, "text", smtp, far.Addr()), 0o600))
	po, err := address.ParsePostOffice("NET/PO1")
	check(t, err)
	drop := filepath.Join(dir, "NET.PO1")
	check(t, shadowpo.Create(drop, po))
	cfg, err := config.Load(path, kinds)
	check(t, err)
	s, err := openSite(cfg, slog.New(slog.DiscardHandler), true)
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() { ended <- s.serve(ctx, func() { close(ready) }) }()
	defer func() {
		stop()
		check(t, <-ended)
	}()
	<-ready

	delivered := func() (out []*mmff.Message) {
		for _, f := range glob(t, drop, "deliver", "*.MSG") {
			b, err := os.ReadFile(f)
			check(t, err)
			m, err := mmff.NewDecoder(bytes.NewReader(b), int64(len(b)), mmff.Options{}).Next()
			check(t, err)
			out = append(out, m)
			check(t, os.Remove(f))
		}
		return out
	}
	opaque := 0
	octets := func(c mail.Content) string {
		t.Helper()
		r, err := c.Open()
		check(t, err)
		b, err := io.ReadAll(r)
		check(t, errors.Join(err, r.Close()))
		return string(b)
	}
	arrive := func(t *testing.T, c string, send func()) {
		t.Helper()
		before := len(received.messages())
		send()
		var got []*mmff.Message
		eventually(t, "both to arrive", func() bool {
			got = append(got, delivered()...)
			return len(got) > 0 && len(received.messages()) > before
		})
		if len(got) != 1 || got[0].Subject == "Mail failure" {
			t.Fatalf("%d files: %+v", len(got), got)
		}
		for _, a := range got[0].Attachments {
			if a.Name == "MESSAGE.EML" {
				if o := octets(a.Content); !strings.HasSuffix(o, c) {
					t.Errorf("the post office has not got it whole: %.300q, want %.300q", o, c)
				}
				opaque++
			}
		}
		// textproto has made LF of CRLF.
		if m := received.messages()[before]; !strings.HasSuffix(strings.TrimRight(m, "\n"), strings.TrimRight(strings.ReplaceAll(c, "\r\n", "\n"), "\n")) {
			t.Errorf("the SMTP host has not got it whole: %.300q, want %.300q", m, c)
		}
	}
	for name, c := range contents {
		t.Run(name+", over a site link", func(t *testing.T) {
			arrive(t, c, func() {
				_, err := s.gw.Accept(ctx, connectors.Submission{
					Envelope: mail.Envelope{
						Kind: mail.KindMessage, Originator: mailAddress(t, "SMTP:eve@elsewhere.example"), ContentType: "message/rfc822",
						Recipients: []mail.Recipient{{Address: mailAddress(t, "MS:NET/PO1/BJONES")}, {Address: mailAddress(t, "SMTP:ann@far.example")}},
						Source:     mail.Source{Connector: "site", Peer: "SITEB", Authenticated: true},
					},
					Content: strings.NewReader(c),
				})
				check(t, err)
			})
		})
		t.Run(name+", over SMTP", func(t *testing.T) {
			arrive(t, c, func() {
				dots := strings.ReplaceAll("\r\n"+c, "\r\n.", "\r\n..")[2:]
				if dots != "" && !strings.HasSuffix(dots, "\r\n") {
					dots += "\r\n"
				}
				talk(t, smtp, "EHLO client.example", "MAIL FROM:<eve@elsewhere.example> BODY=8BITMIME", "RCPT TO:<ann@far.example>",
					"RCPT TO:<IMCEAMS-NET_PO1_BJONES@sitea.example>", "DATA", dots+".", "QUIT")
			})
		})
		t.Run(name+", as a file of a post office", func(t *testing.T) {
			before := len(received.messages())
			check(t, os.WriteFile(filepath.Join(drop, "submit", "X.WRT"), fmt.Appendf(nil, "VERSION:3.00\r\nTO:SMTP:ann@far.example\r\nFROM:NET/PO1/ASMITH\r\nSUBJECT:x\r\nATTACHMENT:X.BIN %d\r\nTEXT:2\r\n\r\n%s", len(c), c), 0o600))
			check(t, os.Rename(filepath.Join(drop, "submit", "X.WRT"), filepath.Join(drop, "submit", "X.MSG")))
			eventually(t, "it to arrive", func() bool { return len(received.messages()) > before })
			m := received.messages()[before]
			_, rest, _ := strings.Cut(m, "X.BIN")
			_, rest, _ = strings.Cut(rest, "\n\n")
			rest, _, _ = strings.Cut(rest, "\n--")
			if b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(rest, "\n", "")); string(b) != c && rest != strings.TrimRight(strings.ReplaceAll(c, "\r\n", "\n"), "\n") {
				t.Errorf("the attachment is not what it was: %v: %.600q", err, m)
			}
		})
	}
	if opaque < 6 {
		t.Errorf("%d were carried opaque: the test looks at nothing", opaque)
	}
	if items, _, err := s.store.List(ctx, queue.Filter{}, "", 10); err != nil || len(items) != 0 {
		t.Errorf("%d entries are left in the queue, %v", len(items), err)
	}
}
