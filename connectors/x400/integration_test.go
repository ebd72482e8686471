package x400

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/connectors/x400/pcap"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// wiretap relays connections to addr and keeps what each side said, as a capture would.
type wiretap struct {
	ln      net.Listener
	running sync.WaitGroup

	mu   sync.Mutex
	said []*pcap.Conversation
}

func tap(t testing.TB, addr string) *wiretap {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{ln: ln}
	w.running.Go(func() {
		for n := uint16(1); ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			// The answerer has another address than the caller: tshark keeps the two directions' TSDUs apart by address, not by port.
			conv := &pcap.Conversation{Caller: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 40000+n), Answerer: netip.MustParseAddrPort("127.0.0.2:102")}
			w.mu.Lock()
			w.said = append(w.said, conv)
			w.mu.Unlock()
			w.running.Go(func() { w.copy(up, c, conv, true) })
			w.running.Go(func() { w.copy(c, up, conv, false) })
		}
	})
	return w
}

func (w *wiretap) copy(dst, src net.Conn, c *pcap.Conversation, fromCaller bool) {
	defer func() { _, _ = dst.Close(), src.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			w.mu.Lock()
			if k := len(c.Turns); k > 0 && c.Turns[k-1].FromCaller == fromCaller {
				c.Turns[k-1].Octets = append(c.Turns[k-1].Octets, buf[:n]...)
			} else {
				c.Turns = append(c.Turns, pcap.Turn{FromCaller: fromCaller, Octets: bytes.Clone(buf[:n])})
			}
			w.mu.Unlock()
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// end stops the tap and writes each conversation as a capture file.
func (w *wiretap) end(t testing.TB) []string {
	if err := w.ln.Close(); err != nil {
		t.Error(err)
	}
	w.running.Wait()
	var files []string
	for i, c := range w.said {
		packets(c)
		name := filepath.Join(t.TempDir(), fmt.Sprintf("%d.pcap", i))
		if err := os.WriteFile(name, pcap.Append(nil, c, time.Unix(1e9, 0)), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	return files
}

// packets makes each TPKT a turn, and so a segment, of its own: where TCP cut them is chance.
func packets(c *pcap.Conversation) {
	var out []pcap.Turn
	rest := map[bool][]byte{}
	for _, t := range c.Turns {
		b := append(rest[t.FromCaller], t.Octets...)
		for len(b) >= 7 && len(b) >= int(b[2])<<8|int(b[3]) {
			n := int(b[2])<<8 | int(b[3])
			out = append(out, pcap.Turn{FromCaller: t.FromCaller, Octets: b[:n:n]})
			b = b[n:]
		}
		rest[t.FromCaller] = b
	}
	c.Turns = out
}

// tshark decodes a capture file; it is part of the tests' tools (Debian package tshark).
func tshark(t testing.TB, file string, args ...string) string {
	t.Helper()
	cmd := exec.Command("tshark", append([]string{"-n", "-r", file}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("tshark %v: %v\n%s", args, err, errs.String())
	}
	return out.String()
}

// clean fails the test when tshark finds anything malformed or left over in a capture. Its presentation dissector looks
// for a PDV in every DT and so can't read the data phase of X.410 mode, whoever speaks it: there, bare leaves DT out.
func clean(t testing.TB, file string, bare bool) {
	t.Helper()
	filter := "(_ws.malformed or _ws.unreassembled or data)"
	if bare {
		filter += " and not ses.type == 1"
	}
	if got := tshark(t, file, "-Y", filter); got != "" {
		t.Errorf("tshark shows for %q:\n%s\n%s", filter, got, first(tshark(t, file, "-V", "-Y", filter), 100))
	}
}

func first(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[:min(len(all), lines)], "\n")
}

// fields gives the values of fields that tshark finds, by name.
func fields(t testing.TB, file string, names ...string) map[string][]string {
	t.Helper()
	args := []string{"-T", "fields", "-E", "separator=|", "-E", "aggregator=;"}
	for _, n := range names {
		args = append(args, "-e", n)
	}
	out := map[string][]string{}
	for line := range strings.SplitSeq(tshark(t, file, args...), "\n") {
		for i, v := range strings.Split(line, "|") {
			if v != "" && i < len(names) {
				out[names[i]] = append(out[names[i]], strings.Split(v, ";")...)
			}
		}
	}
	return out
}

func TestAnotherDecoderReadsWhatWeSend(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"normal", "x410", "1984"} {
		t.Run(mode, func(t *testing.T) {
			b := open(t, "SITEB", answererIn(mode))
			w := tap(t, b.addr())
			caller := section("SITEA", "SITEB")
			caller.Transport, caller.Mode, caller.Peer, caller.RemoteTSelector = "rfc1006", mode, w.ln.Addr().String(), "x400"
			a := open(t, "SITEA", caller)
			c := a.opened.Connectors[0].(*Connector)

			plain := message("ID-PLAIN", 300)
			plain.Envelope.Priority, plain.Envelope.Subject = mail.Urgent, "figures"
			plain.Envelope.Recipients = append(plain.Envelope.Recipients, mail.Recipient{Address: address.Address{Type: address.MS, Value: "NORTHWIND/PO2/BOB"}})
			attached := message("ID-ATTACHED", 0)
			attached.Content = connectortest.Bytes([]byte(strings.ReplaceAll("From: Zoe <o@sitea.example>\nTo: user1@siteb.example\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <m2@sitea.example>\nMIME-Version: 1.0\n"+
				"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\nGr\u00fc\u00dfe\n--b\n"+
				"Content-Type: application/octet-stream; name=A.BIN\nContent-Disposition: attachment; filename=A.BIN\nContent-Transfer-Encoding: base64\n\nAAEC\n--b\n"+
				"Content-Type: message/rfc822\n\nSubject: inner\n\ninner\n--b--\n", "\n", "\r\n")))
			large := message("ID-LARGE", 300_000)
			report := message("ID-REPORT", 0)
			report.Envelope.Kind, report.Envelope.Originator = mail.KindReport, address.Address{}
			report.Content = connectortest.Bytes(connectortest.Report("nobody@sitea.example"))
			for _, m := range []*connectors.Transfer{plain, attached, large, report} {
				if got := c.Deliver(context.Background(), m)[0]; got.State != mail.Delivered {
					t.Fatalf("%s: %v", m.Key, got.Failure)
				}
			}
			probe := message("ID-PROBE", 10)
			if got := c.Probe(context.Background(), probe)[0]; got.State != mail.Delivered {
				t.Fatal(got.Failure)
			}
			if err := link(a, b).Close(); err != nil {
				t.Error(err)
			}
			files := w.end(t)
			if len(files) != 1 {
				t.Fatalf("%d connections", len(files))
			}
			f := files[0]
			if keep := os.Getenv("KEEP_CAPTURE"); keep != "" {
				data, err := os.ReadFile(f)
				if err == nil {
					err = os.WriteFile(keep+"-"+mode+".pcap", data, 0o600)
				}
				if err != nil {
					t.Error(err)
				}
			}
			clean(t, f, mode != "normal")
			want := [][2]string{{"p1.authenticated.initiator-name", "SITEA"}, {"p1.authenticated.responder-name", "SITEB"}, {"rtse.checkpointSize", "30"}, {"rtse.windowSize", "5"}}
			if mode == "normal" {
				want = append(want, [][2]string{{"p1.local_identifier", "ID-PLAIN"},
					{"p1.local_identifier", "ID-ATTACHED"}, {"p1.local_identifier", "ID-LARGE"}, {"p1.local_identifier", "ID-REPORT"}, {"p1.local_identifier", "ID-PROBE"},
					{"p22.subject", "test 1 of 300 octets"}, {"p22.subject", "Grüße"}, {"p22.subject", "inner"}, {"p1.MTS_APDU", "0"}, {"p1.MTS_APDU", "1"}, {"p1.MTS_APDU", "2"},
					{"p22.user_relative_identifier", "test-1-300(a)sitea.example"}, {"p1.printable", "Northwind"}, {"p1.organization_name", "SITEA"},
					{"p1.printable.type", "RFC-822"}, {"p1.value", "user1(a)siteb.example"}, {"p1.value", "NORTHWIND/PO2/BOB"}, {"p1.value", "o(a)sitea.example"},
					{"p1.priority", "2"}, {"p1.non_delivery_reason_code", "1"}, {"p1.non_delivery_diagnostic_code", "0"}, {"p1.built_in", "22"}, {"rtse.fragment.count", "10"}}...)
			}
			var names []string
			for _, x := range want {
				names = append(names, x[0])
			}
			got := fields(t, f, names...)
			for _, x := range want {
				if !slices.Contains(got[x[0]], x[1]) {
					t.Errorf("%s: tshark shows %q, want %q among them", x[0], got[x[0]], x[1])
				}
			}
		})
	}
}

func answererIn(mode string) *Config {
	c := section("SITEB", "SITEA")
	c.Listen, c.Transport, c.LocalTSelector = "127.0.0.1:0", "rfc1006", "x400"
	if mode == "1984" {
		c.Mode = "1984"
	}
	return c
}

func TestAnotherDecoderReadsARefusal(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{"normal": "p1.MTABindError", "x410": "rtse.refuseReason"} {
		b := open(t, "SITEB", answererIn(mode))
		w := tap(t, b.addr())
		caller := section("SITEA", "SITEB")
		caller.Transport, caller.Mode, caller.Peer, caller.LocalPassword, caller.RemoteTSelector = "rfc1006", mode, w.ln.Addr().String(), "guess", "x400"
		a := open(t, "SITEA", caller)
		got := a.opened.Connectors[0].Deliver(context.Background(), message("1", 10))[0]
		if got.State != mail.Deferred || (!strings.Contains(got.Failure.Error(), "authentication-error") && !strings.Contains(got.Failure.Error(), "validation failure")) {
			t.Errorf("%s: %v", mode, got.Failure)
		}
		if err := link(a, b).Close(); err != nil {
			t.Error(err)
		}
		f := w.end(t)[0]
		clean(t, f, false)
		if v := fields(t, f, want)[want]; !slices.Equal(v, []string{"2"}) {
			t.Errorf("%s: tshark shows %s = %q, want 2", mode, want, v)
		}
	}
}
