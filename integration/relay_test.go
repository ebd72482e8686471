package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sitelink "backbone/connectors/site"
)

func smtpIn(self *site) string {
	return fmt.Sprintf("\n[connector.imc]\ntype = \"smtp\"\nlisten = [%q]\n", self.smtp)
}

func overX400(self, peer *site, selfName, peerName, peerPO string) string {
	return smtpIn(self) + fmt.Sprintf(`
[connector.x400]
type = "x400"
listen = %q
peer = %q
remote_mta = %q
local_password = "secret"
remote_password = "secret"
remote_address = "c=US;a= ;p=Northwind;o=%[3]s"
space = [ { address = "MS:%[4]s" } ]
`, self.link, peer.link, peerName, peerPO)
}

func overLoopback(self, peer *site, selfName, peerName, peerPO string) string {
	return strings.Replace(overX400(self, peer, selfName, peerName, peerPO), "type = \"x400\"", "type = \"x400\"\ntransport = \"loopback\"", 1)
}

func overSMTP(self, peer *site, selfName, peerName, peerPO string) string {
	return smtpIn(self) + fmt.Sprintf(`smarthost = [%q]
partner = true
tls = "off"
encapsulate_domain = "%s.example"
space = [ { address = "MS:%s" } ]
relay = [ { networks = ["127.0.0.1"], partner = true } ]
`, peer.smtp, strings.ToLower(peerName), peerPO)
}

func overSite(t *testing.T) func(self, peer *site, selfName, peerName, peerPO string) string {
	return func(self, peer *site, selfName, peerName, peerPO string) string {
		for s, name := range map[*site]string{self: selfName, peer: peerName} {
			if err := os.MkdirAll(filepath.Join(s.dir, "id"), 0o700); err != nil {
				t.Fatal(err)
			}
			if _, err := sitelink.CreateIdentity(filepath.Join(s.dir, "id"), name); err != nil {
				t.Fatal(err)
			}
		}
		return smtpIn(self) + fmt.Sprintf(`
[connector.link]
type = "site"
listen = %q
peer = %q
peer_site = %q
certificate = "id/site.crt"
key = "id/site.key"
peer_certificate = %q
space = [ { address = "MS:%s" } ]
`, self.link, peer.link, peerName, filepath.Join(peer.dir, "id", "site.crt"), peerPO)
	}
}

// times is how often each message may arrive.
type times int

const (
	once times = iota
	atLeastOnce
)

// exchange drops n messages with attachments in PO1, calls dropped (when not nil) after each, and compares every octet
// of what arrives in PO2.
func exchange(t *testing.T, a, b *site, n int, how times, dropped func(i int)) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	want := map[string][]byte{}
	for i := range n {
		data := make([]byte, 200+rnd.IntN(4000))
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		subject := fmt.Sprintf("Message %05d", i)
		body := fmt.Sprintf("Body of %d\r\nwith a second line\r\n", i)
		want[subject] = append([]byte(body), data...)
		drop(t, a.po("NET/PO1"), fmt.Sprintf("M%07d", i), message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", subject, body, data))
		if dropped != nil {
			dropped(i)
		}
	}
	until(t, 3*time.Minute, fmt.Sprintf("%d messages arrive", n), func() bool { return len(delivered(t, b.po("NET/PO2"))) >= n })
	seen := map[string]int{}
	for _, f := range delivered(t, b.po("NET/PO2")) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, ok := bytes.Cut(text, []byte("\r\nTEXT:"))
		if !ok {
			t.Fatalf("%s has no TEXT line", f)
		}
		_, content, _ := bytes.Cut(rest, []byte("\r\n"))
		_, subject, _ := bytes.Cut(head, []byte("SUBJECT:"))
		subject, _, _ = bytes.Cut(subject, []byte("\r\n"))
		seen[string(subject)]++
		if !bytes.Equal(content, want[string(subject)]) {
			t.Errorf("%s: content differs from what was sent", subject)
		}
		if !bytes.Contains(head, []byte("FROM:CSI:NET/PO1/ASMITH")) {
			t.Errorf("%s can't be answered:\n%s", subject, head)
		}
	}
	for subject := range want {
		if n := seen[subject]; n == 0 || n > 1 && how == once {
			t.Errorf("%s arrived %d times", subject, n)
		}
	}
}

func TestAThousandMessagesOverTheSiteLink(t *testing.T) {
	a, b := pair(t, overSite(t))
	exchange(t, a, b, 1000, once, nil)
}

func TestAThousandMessagesOverSMTPBetweenSites(t *testing.T) {
	a, b := pair(t, overSMTP)
	exchange(t, a, b, 1000, once, nil)
}

func TestAThousandMessagesOverX400P1(t *testing.T) {
	a, b := pair(t, overX400)
	exchange(t, a, b, 1000, once, nil)
}

func TestAThousandMessagesOverTheX400Loopback(t *testing.T) {
	a, b := pair(t, overLoopback)
	exchange(t, a, b, 1000, once, nil)
}

func TestASwaksMessageReachesPO2AndIsAnswered(t *testing.T) {
	a, b := pair(t, overSite(t))
	b.backbone("directory", "add", "MKUMAR", "--target", "MS:NET/PO2/MKUMAR", "--display", "Mira Kumar", "--proxy", "SMTP:mkumar@siteb.example")
	for _, to := range []string{"IMCEAMS-NET_PO2_MKUMAR@sitea.example", "IMCEAMS-NET_PO2_JLEE@sitea.example"} {
		out, err := exec.Command("swaks", "--server", a.smtp, "--from", "kim@elsewhere.example", "--to", to, "--h-Subject", "From swaks", "--body", "Hello").CombinedOutput()
		if err != nil {
			t.Fatalf("swaks: %v\n%s", err, out)
		}
	}
	until(t, time.Minute, "both arrive", func() bool { return len(delivered(t, b.po("NET/PO2"))) == 2 })
	text, err := os.ReadFile(delivered(t, b.po("NET/PO2"))[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FROM:SMTP:kim@elsewhere.example", "SUBJECT:From swaks", "Hello"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	out, err := exec.Command("swaks", "--server", a.smtp, "--from", "kim@elsewhere.example", "--to", "nobody@sitea.example").CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("550 5.1.1")) {
		t.Errorf("an unknown recipient must be refused with 550 5.1.1:\n%s", out)
	}
}

func TestAnUnroutableRecipientIsReportedToTheSenderInMMFF(t *testing.T) {
	a, _ := pair(t, overSite(t))
	drop(t, a.po("NET/PO1"), "LOST", message("NET/PO1/ASMITH", "NET/PO9/NOBODY", "Lost", "text\r\n", nil))
	until(t, time.Minute, "the report arrives", func() bool { return len(delivered(t, a.po("NET/PO1"))) == 1 })
	text, err := os.ReadFile(delivered(t, a.po("NET/PO1"))[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"TO:CSI:NET/PO1/ASMITH", "FROM:CSI:NET/PO1/POSTMASTER", "[001]", "NET/PO9/NOBODY"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}
