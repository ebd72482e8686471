package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/config"
	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/shadowpo"
)

// hostile is what strangers write to speak to a terminal, a log, a header or a browser: a title sequence with its BEL, a
// screen that is cleared, a line of its own, NUL, DEL, C1's CSI and NEL, the direction turned around, line and paragraph
// separators, what can't be seen, broken UTF-8, and a script.
const hostile = "h\x1b]0;owned\x07\x1b[2J\r\nX-Injected: yes\x00\x7f\u009b31m\u0085\u202egnp\u2066\u2028\u2029\u200b\xff\xfe<script>alert(1)</script>"

// hostileLine is hostile for places that end at a line's end.
var hostileLine = strings.NewReplacer("\r", "", "\n", " ", "\x00", "").Replace(hostile)

// sink is an SMTP host that takes everything and keeps it as it came.
type sink struct {
	mu  sync.Mutex
	got []string
}

func (s *sink) messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *sink) serve(l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { s.talk(conn) })
	}
}

func (s *sink) talk(conn net.Conn) {
	defer conn.Close()
	c := textproto.NewConn(conn)
	say := func(text string) error { return c.PrintfLine("%s", text) }
	for err := say("220 sink"); err == nil; {
		var line string
		if line, err = c.ReadLine(); err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO":
			err = say("250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN")
		case "DATA":
			if err = say("354 go on"); err != nil {
				return
			}
			var b []byte
			if b, err = c.ReadDotBytes(); err != nil {
				return
			}
			s.mu.Lock()
			s.got = append(s.got, string(b))
			s.mu.Unlock()
			err = say("250 taken " + strings.NewReplacer("\r", "", "\n", "").Replace(hostile)) // a peer's words are a stranger's
		case "QUIT":
			err = errors.Join(say("221 bye"), io.EOF)
		default:
			err = say("250 ok")
		}
	}
}

// soil puts hostile text into every text of v, whatever it is, but where an identifier or a kind is checked on its way in.
func soil(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type != reflect.TypeFor[address.Address]() && f.Type != reflect.TypeFor[mail.Kind]() && f.Name != "ContentType" && f.Name != "Connector" {
				soil(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			soil(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			v.SetMapIndex(k, reflect.ValueOf(hostile))
		}
	case reflect.String:
		v.SetString(hostile)
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestHostileTextComesOutHarmless: text of a stranger in every field that he can fill goes through a running site, and
// everything that the site puts out for people or other programs is looked at: log, command line (text and JSON), pages,
// metrics, event stream, the files of the drop, headers of mail that leaves, reports, the audit log.
func TestHostileTextComesOutHarmless(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) { hostileThrough(t, format) })
	}
}

const hostileSite = `
[site]
name = "SITEA"
domains = ["sitea.example"]
ms = "NET/SITEA"
x400 = "c=US;a= ;p=Northwind;o=SITEA"
[control]
listen = ""
loopback = "operate"
[log]
level = "debug"
format = %q
[connector.msmail]
type = "msmail"
dir = "."
stable = "0s"
[[connector.msmail.postoffice]]
address = "NET/PO1"
gateways = ["SMTP", "X400"]
[connector.imc]
type = "smtp"
listen = [%q]
smarthost = [%q]
tls = "off"
encapsulate_domain = "sitea.example"
space = [ { address = "SMTP:*" } ]
relay = [ { networks = ["127.0.0.1"], to = ["SMTP:*", "MS:*"] } ]
[connector.dead]
type = "smtp"
smarthost = ["127.0.0.1:1"]
space = [ { address = "SMTP:*@dead.example" } ]
`

func hostileThrough(t *testing.T, format string) {
	dir, log := t.TempDir(), &lockedBuffer{}
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
	check(t, os.WriteFile(path, fmt.Appendf(nil, hostileSite, format, smtp, far.Addr()), 0o600))
	po, err := address.ParsePostOffice("NET/PO1")
	check(t, err)
	drop := filepath.Join(dir, "NET.PO1")
	check(t, shadowpo.Create(drop, po))
	t.Setenv("BACKBONE_CONFIG", path)
	cfg, err := config.Load(path, kinds)
	check(t, err)
	s, err := openSite(cfg, newLog(cfg.Log, log), true)
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() { ended <- s.serve(ctx, func() { close(ready) }) }()
	defer func() {
		stop()
		check(t, <-ended)
	}()
	<-ready

	looked := 0
	harmless := func(where, text string) {
		t.Helper()
		looked++
		if !utf8.ValidString(text) {
			t.Errorf("%s: broken UTF-8: %q", where, clip(text, strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError })))
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != '\u202f' }); i >= 0 {
			t.Errorf("%s: %q", where, clip(text, i))
		}
		if i := strings.Index(text, "\nX-Injected"); i >= 0 && !strings.HasPrefix(text, "<!doctype html>") {
			t.Errorf("%s: a line of a stranger's: %q", where, clip(text, i))
		}
	}
	backbone := func(args ...string) string {
		t.Helper()
		var out, errw bytes.Buffer
		run(ctx, args, strings.NewReader(""), &out, &errw)
		name := strings.Join(args, " ")
		harmless("backbone "+printable(name), strings.ReplaceAll(out.String(), "\r\n", "\n"))
		harmless("stderr of backbone "+printable(name), errw.String())
		return out.String()
	}

	// In over the contract, as any source could: everything that is text in an envelope.
	content := "From: \"" + hostileLine + "\" <eve@elsewhere.example>\r\nTo: " + hostileLine + "\r\nSubject: " + hostileLine +
		"\r\nMessage-ID: <" + hostileLine + "@x>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n" +
		"Content-Type: application/octet-stream; name=\"" + hostileLine + "\"\r\nContent-Disposition: attachment; filename=\"" + hostileLine + "\"\r\n\r\nx\r\n--b--\r\n"
	accept := func(kind mail.Kind, from address.Address, to ...string) {
		t.Helper()
		e := mail.Envelope{Kind: kind, Originator: from, Trace: make([]mail.Hop, 2), Extra: map[string]string{"p1.content-identifier": "", "mmff.priority": ""}}
		for _, a := range to {
			e.Recipients = append(e.Recipients, mail.Recipient{Address: mailAddress(t, a), Notify: mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay})
		}
		sub := connectors.Submission{Envelope: e, Content: strings.NewReader(content), Notes: make([]mail.Note, 1), Dedup: hostile + to[0]}
		soil(reflect.ValueOf(&sub.Envelope).Elem())
		soil(reflect.ValueOf(&sub.Notes[0]).Elem())
		sub.Envelope.Source.Connector = "imc"
		sub.Envelope.ContentType = "message/rfc822"
		if _, err := s.gw.Accept(ctx, sub); err != nil {
			t.Errorf("not taken: %v", err)
		}
	}
	asmith := mailAddress(t, "MS:NET/PO1/ASMITH")
	accept(mail.KindMessage, asmith, "MS:NET/PO1/BJONES", "SMTP:ann@far.example", "SMTP:late@dead.example", "MS:NET/PO9/NOBODY", "SMTP:nobody@sitea.example")
	for _, a := range []string{`"` + hostileLine + `"@far.example`, "ann@" + hostileLine + ".example", `"` + hostileLine + `"@dead.example`} {
		if parsed, err := address.Parse("SMTP:" + a); err == nil {
			accept(mail.KindMessage, parsed, parsed.String())
		}
		backbone("route", "explain", "SMTP:"+a)
		backbone("route", "explain", "SMTP:"+a, "--json")
	}
	backbone("route", "explain", "FAX:"+hostileLine)
	backbone("dest", "suspend", "dead:"+hostileLine, "--reason", hostile)
	// In as the protocols have it: a file of a post office, SMTP.
	put := func(name, text string) {
		t.Helper()
		check(t, os.WriteFile(filepath.Join(drop, "submit", name), []byte(text), 0o666))
	}
	mmff := func(subject, attachment string) string {
		return "VERSION:3.00\r\nTO:NET/PO1/BJONES\r\nTO:SMTP:ann@far.example\r\nTO:NET/PO9/NOBODY\r\nFROM:NET/PO1/ASMITH\r\nSUBJECT:" + subject + "\r\nATTACHMENT:" + attachment + " 1\r\nTEXT:2\r\n\r\nx"
	}
	put("a\x1b[2J\u202e\xff\u2028b.MSG", mmff(hostileLine, "X.TXT"))
	put("b\x07\nX-Injected: yes.MSG", mmff("x", hostileLine))
	put("bad\x1b\u202e.MSG", strings.Replace(mmff("x", "X.TXT"), "SUBJECT", hostileLine, 1))
	talk(t, smtp, "EHLO "+hostileLine, "EHLO client.example", "MAIL FROM:<"+hostileLine+"@x.example>", "MAIL FROM:<eve@elsewhere.example> ENVID="+hostileLine,
		"RCPT TO:<"+hostileLine+">", `RCPT TO:<"`+hostileLine+`"@far.example>`, "RCPT TO:<ann@far.example> ORCPT=rfc822;"+hostileLine, "NOOP",
		"RSET", "MAIL FROM:<eve@elsewhere.example>", "RCPT TO:<ann@far.example>", "RCPT TO:<late@dead.example>", "RCPT TO:<IMCEAMS-NET_PO1_BJONES@sitea.example>", "DATA", content+".", hostileLine, "AUTH PLAIN "+hostileLine, "QUIT")
	// From an operator's keyboard, and from who sits at his browser.
	pages := s.dash.Handler(ctx)
	visit := func(method, path, form string) string {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(form))
		r.RemoteAddr, r.Host = "127.0.0.1:4000", "127.0.0.1"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		where := method + " " + printable(path)
		body := w.Body.String()
		harmless(where, strings.ReplaceAll(body, "\r\n", "\n"))
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") && strings.Contains(body, "<script>") {
			t.Errorf("%s: %q", where, clip(body, strings.Index(body, "<script>")))
		}
		for k, vs := range w.Header() {
			harmless(where+": "+k, strings.Join(vs, ","))
		}
		return body
	}
	q := url.QueryEscape(hostile)
	visit("POST", "/sign-in", "name="+q+"&password="+q)
	for _, p := range []string{"/queue?from=" + q + "&to=" + q, "/message?key=" + q, "/routes?address=" + q, "/directory?text=" + q, "/quarantine/entry?id=" + q, "/sign-in?to=" + q, "/" + url.PathEscape(hostile)} {
		visit("GET", p, "")
	}
	api := s.service.Handler()
	for _, p := range []string{"/v1/queue/" + url.PathEscape(hostile), "/v1/queue?state=" + q + "&id=" + q, "/v1/route?address=" + q, "/v1/timeline?key=" + q, "/v1/events?after=" + q, "/v1/quarantine/" + url.PathEscape(hostile)} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest("GET", p, nil))
		harmless(printable(p), w.Body.String())
	}

	// What leaves.
	headers := func(where, text string) {
		t.Helper()
		head, _, _ := strings.Cut(text, "\n\n")
		harmless(where, head)
	}
	eventually(t, "mail at the far host", func() bool { return len(received.messages()) >= 4 })
	for _, m := range received.messages() {
		head, _, _ := strings.Cut(m, "\n\n")
		if strings.Contains(head, "filename") || strings.Contains(m, "boundary=b\n") { // passed on as it came: what we put before it is ours
			head, _, _ = strings.Cut(head, "From:")
		}
		headers("mail at the far host", head)
	}
	// Two drop files with two local recipients each; the first Accept, SMTP; reports on what can't be served.
	eventually(t, "files in deliver", func() bool { return len(glob(t, drop, "deliver", "*.MSG")) >= 6 })
	eventually(t, "a reason in badmail", func() bool { return len(glob(t, drop, "badmail", "*.ERR")) >= 1 })
	for _, f := range glob(t, drop, "deliver", "*.MSG") {
		harmless("name in deliver", f)
		head, body, _ := strings.Cut(read(t, f), "\nTEXT:")
		for _, b := range []byte(head) {
			if b < ' ' && b != '\n' && b != '\r' || b == 0x7f {
				t.Errorf("header of a delivered file has %q: %q", b, head)
				break
			}
		}
		if strings.Contains(head, "\nX-Injected") || strings.Contains(body, "\x1b]0;") && !strings.Contains(body, "<script>") {
			t.Errorf("delivered: %q", head)
		}
	}
	for _, f := range append(glob(t, drop, "badmail", "*.ERR"), glob(t, drop, "log", "*")...) {
		harmless(f, strings.ReplaceAll(read(t, f), "\r\n", "\n"))
	}

	// What operators see of it, and what they type.
	eventually(t, "the dead link's mail waits", func() bool { return strings.Contains(backbone("queue", "list"), "dead") })
	ids := strings.Fields(backbone("queue", "list", "--json"))
	if len(ids) == 0 {
		t.Fatal("nothing waits")
	}
	backbone("queue", "hold", "--connector", "dead", "--reason", hostile)
	backbone("connector", "suspend", "dead", "--reason", hostile)
	backbone("send", "--to", hostile, "--subject", hostile)
	for _, args := range [][]string{
		{"queue", "list"}, {"queue", "stats"}, {"queue", "list", "--from", hostile}, {"queue", "show", hostile}, {"dest", "list"}, {"connector", "list"}, {"status"}, {"audit"},
		{"quarantine", "list"}, {"quarantine", "show", hostile}, {"directory", "list"}, {"directory", "resolve", "SMTP:" + hostile}, {"trace"}, {"trace", hostile}, {"trace", "--type", "failed"},
		{"trace", "--exchange"}, {"route", "table"}, {"config", "show"}, {"probe", "SMTP:" + hostile}, {"help", hostile}, {hostile}, {"--" + hostile}, {"queue", "list", "--older", hostile},
	} {
		backbone(args...)
		if args[0] != "trace" || len(args) < 2 || args[1] != "--exchange" {
			backbone(append(args, "--json")...)
		}
	}
	items, _, err := s.store.List(ctx, queue.Filter{}, "", 1000)
	check(t, err)
	for _, it := range items {
		for _, args := range [][]string{{"queue", "show", it.ID.String()}, {"queue", "log", it.ID.String()}, {"trace", it.ID.String()}} {
			backbone(args...)
			backbone(append(args, "--json")...)
		}
		visit("GET", "/message?key="+it.ID.String(), "")
	}
	quarantined := strings.Fields(backbone("quarantine", "list", "--json"))
	if len(quarantined) == 0 {
		t.Error("nothing is in quarantine")
	}
	for _, p := range []string{"/", "/queue", "/destinations", "/routes", "/directory", "/quarantine", "/figures", "/figures/history", "/audit", "/metrics", "/readyz"} {
		visit("GET", p, "")
	}
	harmless("audit.log", read(t, filepath.Join(cfg.Site.Data, "audit.log")))
	sctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
		pr, pw := io.Pipe()
		r := httptest.NewRequestWithContext(sctx, "GET", "/v1/events?after=start", nil)
		r.Header.Set("Accept", accept)
		go func() { api.ServeHTTP(&piped{ResponseRecorder: httptest.NewRecorder(), w: pw}, r) }()
		sc := bufio.NewScanner(pr)
		sc.Buffer(nil, 1<<20)
		for n := 0; n < 30 && sc.Scan(); n++ {
			harmless("event stream", sc.Text())
		}
		check(t, errors.Join(sc.Err(), pr.Close()))
	}
	cancel()
	harmless("log", log.String())
	if !strings.Contains(log.String(), "owned") || looked < 150 {
		t.Errorf("%d outputs looked at: the test looks at nothing", looked)
	}
	// What nobody printed is still there for whoever wants to know.
	if !strings.Contains(backbone("trace", "--json"), `\u202egnp`) {
		t.Error("the JSON has lost what does not print")
	}
}

// piped is a recorder whose body can be read while it is written.
type piped struct {
	*httptest.ResponseRecorder
	w *io.PipeWriter
}

func (p *piped) Write(b []byte) (int, error) { return p.w.Write(b) }

// talk says each line to a server, whatever it answers.
func talk(t *testing.T, server string, lines ...string) {
	t.Helper()
	conn, err := net.Dial("tcp", server)
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	c := textproto.NewConn(conn)
	_, _, err = c.ReadResponse(0)
	for i := 0; i < len(lines) && err == nil; i++ {
		if err = c.PrintfLine("%s", lines[i]); err == nil {
			var words string
			_, words, err = c.ReadResponse(0)
			if strings.ContainsFunc(words, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
				t.Errorf("SMTP answers %q", words)
			}
		}
		var proto *textproto.Error
		if errors.As(err, &proto) {
			err = nil
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	return l
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func glob(t *testing.T, elem ...string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(elem...))
	check(t, err)
	return names
}

func mailAddress(t *testing.T, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	check(t, err)
	return a
}

// clip is the text around octet i.
func clip(s string, i int) string { return s[max(0, i-60):min(len(s), i+60)] }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
