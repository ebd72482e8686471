package integration

import (
	"bytes"
	"fmt"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/integration/loopback"
)

// postfix is an instance of Debian's Postfix of the test's own: nothing of it is outside the test's folder. It takes mail
// for elsewhere.example into Maildirs and hands mail for the sites' domains to where routes says.
type postfix struct {
	t    *testing.T
	addr string
	etc  string
	mail string
}

func startPostfix(t *testing.T, addr string, routes map[string]string) *postfix {
	t.Helper()
	dir, err := os.MkdirTemp("", "pf") // short: Postfix has socket names in there, at most 100 characters long
	if err != nil {
		t.Fatal(err)
	}
	p := &postfix{t: t, addr: addr, etc: filepath.Join(dir, "etc"), mail: filepath.Join(dir, "mail")}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for d, owner := range map[string]string{"etc": "root", "spool": "root", "data": "postfix", "mail": "nobody"} {
		d = filepath.Join(dir, d)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("chown", owner, d).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	var transport strings.Builder
	for domain, addr := range routes {
		host, port, _ := strings.Cut(addr, ":")
		fmt.Fprintf(&transport, " {%s = smtp:[%s]:%s}", domain, host, port)
	}
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf(`
compatibility_level = 3.6
myhostname = mx.elsewhere.example
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
virtual_mailbox_domains = elsewhere.example
virtual_mailbox_maps = static:box/
virtual_mailbox_base = %[1]s/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
transport_maps = inline:{%[2]s }
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{ {refused.example = 550 5.1.1 no such user} }, permit
smtp_tls_security_level = none
`, dir, transport.String()),
		"master.cf": p.addr + ` inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`,
	} {
		if err := os.WriteFile(filepath.Join(p.etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("postfix", "-c", p.etc, "start").CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("postfix: %v\n%s%s", err, out, log)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("postfix", "-c", p.etc, "stop").CombinedOutput(); err != nil {
			t.Errorf("postfix stop: %v\n%s", err, out)
		}
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil {
				t.Logf("Postfix:\n%s", log)
			}
		}
	})
	return p
}

// received lists what is in the mailbox.
func (p *postfix) received() []string {
	p.t.Helper()
	names, err := filepath.Glob(filepath.Join(p.mail, "box", "new", "*"))
	if err != nil {
		p.t.Fatal(err)
	}
	return names
}

func swaks(t *testing.T, server string, args ...string) {
	t.Helper()
	if out, err := exec.Command("swaks", append([]string{"--server", server}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
}

// field is the value of an MMFF header line of a delivered file.
func field(t *testing.T, file, name string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.SplitSeq(text, []byte("\r\n")) {
		if v, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			return string(v)
		}
	}
	t.Fatalf("no %s in:\n%s", name, text)
	return ""
}

// TestPostfixAndPostOfficesAnswerEachOther: Site A has the way to the Internet; PO2 behind Site B uses it too, without a
// connector of its own and without directory replication.
func TestPostfixAndPostOfficesAnswerEachOther(t *testing.T) {
	link, outside := overSite(t), loopback.Port(t)
	a, b := pair(t, func(self, peer *site, selfName, peerName, peerPO string) string {
		text := link(self, peer, selfName, peerName, peerPO)
		if selfName == "SITEA" {
			return strings.Replace(text, "type = \"smtp\"\n", fmt.Sprintf("type = \"smtp\"\nsmarthost = [%q]\ntls = \"off\"\nspace = [ { address = \"SMTP:*\" } ]\n", outside), 1)
		}
		return strings.Replace(text, "space = [", "space = [ { address = \"SMTP:*\" },", 1)
	})
	p := startPostfix(t, outside, map[string]string{"sitea.example": a.smtp, "siteb.example": b.smtp})

	// Out of PO1, and the answer back.
	drop(t, a.po("NET/PO1"), "OUT1",
		strings.Replace(message("NET/PO1/ASMITH", "X", "To the Internet", "Hello Kim\r\n", []byte("attached")), "TO:X", "TO:SMTP:kim@elsewhere.example", 1))
	until(t, time.Minute, "it reaches Postfix's mailbox", func() bool { return len(p.received()) == 1 })
	from := sender(t, p.received()[0])
	swaks(t, p.addr, "--from", "kim@elsewhere.example", "--to", from, "--h-Subject", "Re: To the Internet", "--body", "Hello Anna")
	until(t, time.Minute, "the answer reaches PO1", func() bool { return len(delivered(t, a.po("NET/PO1"))) == 1 })
	answer := delivered(t, a.po("NET/PO1"))[0]
	if got := field(t, answer, "TO"); !strings.Contains(got, "NET/PO1/ASMITH") {
		t.Errorf("the answer is for %s", got)
	}

	// Into PO2 behind the other site, and its answer out again.
	swaks(t, p.addr, "--from", "kim@elsewhere.example", "--to", "IMCEAMS-NET_PO2_MKUMAR@sitea.example", "--h-Subject", "To PO2", "--body", "Hello Mira")
	until(t, time.Minute, "it reaches PO2", func() bool { return len(delivered(t, b.po("NET/PO2"))) == 1 })
	back := field(t, delivered(t, b.po("NET/PO2"))[0], "FROM")
	drop(t, b.po("NET/PO2"), "REPLY", strings.Replace(message("NET/PO2/MKUMAR", "X", "Re: To PO2", "Hello Kim\r\n", nil), "TO:X", "TO:"+back, 1))
	until(t, time.Minute, "the answer reaches Postfix's mailbox", func() bool { return len(p.received()) == 2 })
	var last string
	for _, f := range p.received() {
		if strings.Contains(read(t, f), "Re: To PO2") {
			last = f
		}
	}
	if last == "" {
		t.Fatal("the answer is not in the mailbox")
	}
	// And the answer's answer, to the address that Postfix's user sees.
	swaks(t, p.addr, "--from", "kim@elsewhere.example", "--to", sender(t, last), "--h-Subject", "Re: Re: To PO2", "--body", "Again")
	until(t, time.Minute, "the answer to the answer reaches PO2", func() bool { return len(delivered(t, b.po("NET/PO2"))) == 2 })

	// A recipient whom Postfix refuses comes back to PO1 as a report with Postfix's words.
	drop(t, a.po("NET/PO1"), "OUT2", strings.Replace(message("NET/PO1/ASMITH", "X", "To nowhere", "text\r\n", nil), "TO:X", "TO:SMTP:kim@refused.example", 1))
	until(t, time.Minute, "a report reaches PO1", func() bool { return len(delivered(t, a.po("NET/PO1"))) == 2 })
	for _, f := range delivered(t, a.po("NET/PO1")) {
		if f != answer && (!strings.Contains(read(t, f), "kim@refused.example") || !strings.Contains(read(t, f), "[002]")) {
			t.Errorf("the report does not name the recipient and the code [002]:\n%s", read(t, f))
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sender is the address that a reply to a message goes to.
func sender(t *testing.T, file string) string {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(read(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	from, err := mail.ParseAddress(m.Header.Get("From"))
	if err != nil {
		t.Fatalf("From %q: %v", m.Header.Get("From"), err)
	}
	return from.Address
}
