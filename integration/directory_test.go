package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sitelink "backbone/connectors/site"
	"backbone/gateway/address"
	"backbone/gateway/directory/dirsync/dirsynctest"
	"backbone/integration/loopback"
	"backbone/shadowpo"
)

// How two sites of a test are joined.
const (
	replicatedByLink = "replication over the site link, no address space"
	replicatedByMail = "replication by mail over X.400, no address space"
	bySpaces         = "address spaces by hand, no replication"
	byDirSync        = "address spaces by hand, SITEB is a requestor of SITEA"
)

// fourOffices is SITEA with NET/PO1 and NET/PO2, SITEB with NET/PO3 and NET/PO4, each site the server of its two.
func fourOffices(t *testing.T, how string) (a, b *site) {
	t.Helper()
	dir := t.TempDir()
	sites := map[string]*site{}
	for _, name := range []string{"SITEA", "SITEB"} {
		s := &site{t: t, dir: filepath.Join(dir, name), link: loopback.Port(t)}
		s.config = filepath.Join(s.dir, "backbone.toml")
		if err := os.MkdirAll(filepath.Join(s.dir, "id"), 0o750); err != nil {
			t.Fatal(err)
		}
		if _, err := sitelink.CreateIdentity(filepath.Join(s.dir, "id"), name); err != nil {
			t.Fatal(err)
		}
		var err error
		if s.log, err = os.Create(filepath.Join(s.dir, "daemon.log")); err != nil {
			t.Fatal(err)
		}
		sites[name] = s
	}
	a, b = sites["SITEA"], sites["SITEB"]
	for name, s := range sites {
		peer, peerName, pos, peerPOs := b, "SITEB", []string{"NET/PO1", "NET/PO2"}, []string{"NET/PO3", "NET/PO4"}
		if name == "SITEB" {
			peer, peerName, pos, peerPOs = a, "SITEA", peerPOs, pos
		}
		var text strings.Builder
		fmt.Fprintf(&text, `
[site]
name = %[1]q
domains = ["%[2]s.example"]
partners = ["sitea.example", "siteb.example"]
ms = "NET/%[1]s"
x400 = "c=US;a= ;p=Northwind;o=%[1]s"
[control]
listen = ""
[retry]
open_interval = "1s"
transfer_interval = "1s"
[connector.msmail]
type = "msmail"
dir = "."
stable = "0s"
poll = "1s"
`, name, strings.ToLower(name))
		for _, po := range pos {
			fmt.Fprintf(&text, "[[connector.msmail.postoffice]]\naddress = %q\n[[dirsync.requestor]]\naddress = %q\n", po, po)
			p, err := address.ParsePostOffice(po)
			if err != nil {
				t.Fatal(err)
			}
			if err := shadowpo.Create(s.po(po), p); err != nil {
				t.Fatal(err)
			}
		}
		connector := "link"
		if how == replicatedByMail {
			connector = "x400"
			fmt.Fprintf(&text, `
[connector.x400]
type = "x400"
listen = %q
peer = %q
remote_mta = %q
local_password = "secret"
remote_password = "secret"
remote_address = "c=US;a= ;p=Northwind;o=%[3]s"
`, s.link, peer.link, peerName)
		} else {
			fmt.Fprintf(&text, `
[connector.link]
type = "site"
listen = %q
peer = %q
peer_site = %q
certificate = "id/site.crt"
key = "id/site.key"
peer_certificate = %q
`, s.link, peer.link, peerName, filepath.Join(peer.dir, "id", "site.crt"))
		}
		if how == bySpaces || how == byDirSync {
			fmt.Fprintf(&text, "space = [ { address = \"MS:%s\" }, { address = \"MS:%s\" }, { address = \"MS:NET/%s\" } ]\n", peerPOs[0], peerPOs[1], peerName)
			if how == byDirSync {
				fmt.Fprintf(&text, "[[dirsync.%s]]\naddress = \"NET/%s\"\npassword = \"between us\"\n", map[string]string{"SITEA": "requestor", "SITEB": "server"}[name], peerName)
				if name == "SITEA" {
					fmt.Fprintf(&text, "behind = [%q, %q]\n", peerPOs[0], peerPOs[1])
				}
			}
		} else {
			fmt.Fprintf(&text, "[replication]\ninterval = \"2s\"\n[[replication.partner]]\nsite = %q\nconnectors = [%q]\n", peerName, connector)
			if how == replicatedByMail {
				fmt.Fprintf(&text, "address = \"MS:NET/%s/$SYSTEM\"\nkey = \"shared by both\"\n", peerName)
			}
		}
		if err := os.WriteFile(s.config, []byte(text.String()), 0o640); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			s.stop()
			if t.Failed() {
				if log, err := os.ReadFile(s.log.Name()); err == nil {
					t.Logf("%s:\n%s", s.config, log)
				}
			}
		})
	}
	a.start()
	b.start()
	return a, b
}

// agent is the program at a post office that synchronizes its directory.
type agent struct {
	*dirsynctest.PostOffice
	t    *testing.T
	site *site
	name string // of the site
	n    int
}

// export is T1: the requestor's mail into the drop.
func (a *agent) export() {
	a.t.Helper()
	text, err := a.Export(time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	drop(a.t, a.site.po(a.Name), fmt.Sprintf("DIR%05d", a.n), message(a.Name+"/$SYSTEM", "CSI:NET/"+a.name+"/$SYSTEM", text.Subject, text.Body, nil))
}

// collect is T3: the server's mail out of the drop. It tells how many there were.
func (a *agent) collect() (n int) {
	a.t.Helper()
	for _, f := range delivered(a.t, a.site.po(a.Name)) {
		b, err := os.ReadFile(f)
		if err != nil {
			a.t.Fatal(err)
		}
		head, rest, _ := bytes.Cut(b, []byte("\r\nTEXT:"))
		if !bytes.Contains(head, []byte("TO:CSI:"+a.Name+"/$SYSTEM")) {
			continue
		}
		size, content, _ := bytes.Cut(rest, []byte("\r\n"))
		var body int
		if _, err := fmt.Sscan(string(size), &body); err != nil {
			a.t.Fatal(err)
		}
		if err := a.Receive(string(content[:body]), string(content[body:])); err != nil {
			a.t.Fatalf("%s: %v\n%s", f, err, b)
		}
		if err := os.Remove(f); err != nil {
			a.t.Fatal(err)
		}
		n++
	}
	return n
}

// status is `dirsync status` of a site.
func status(s *site) (st struct {
	PostOffices []struct {
		PostOffice string    `json:"postoffice"`
		Received   time.Time `json:"last_received"`
		Sent       time.Time `json:"last_sent"`
		Applied    struct{ Added, Refused int }
		Problems   []struct{ Text string }
		Error      string
	}
	Replication []struct {
		Site   string
		Cursor struct{ USN uint64 }
		Head   struct{ USN uint64 }
	}
}) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.backbone("dirsync", "status", "--json")), &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// cycle is T1 at every post office, then T2 at both sites once each has heard all and, when replicated, the other
// site's directory is here, then T3.
func cycle(t *testing.T, replicated bool, agents []*agent) {
	t.Helper()
	start := time.Now()
	for _, x := range agents {
		x.export()
	}
	until(t, time.Minute, "the servers hear their requestors", func() bool {
		for _, x := range agents {
			for _, p := range status(x.site).PostOffices {
				if p.PostOffice == x.Name && !p.Received.After(start) {
					return false
				}
			}
		}
		return true
	})
	if replicated {
		until(t, time.Minute, "the directories are the same", func() bool { return sameDirectory(agents[0].site, agents[2].site) })
	}
	agents[0].site.backbone("dirsync", "run")
	agents[2].site.backbone("dirsync", "run")
	for _, x := range agents {
		until(t, time.Minute, x.Name+" gets its answer", func() bool { return x.collect() > 0 })
	}
}

func sameDirectory(a, b *site) bool {
	list := func(s *site) string {
		out, _ := s.try("directory", "list", "--json")
		var lines []string
		for line := range strings.Lines(out) {
			var e struct {
				Site, Name, Display string
				Target              json.RawMessage
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				s.t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("%s %s %s %s", e.Site, e.Name, e.Display, e.Target))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	return list(a) == list(b)
}

func agentsOf(t *testing.T, a, b *site) []*agent {
	var out []*agent
	for i, po := range []string{"NET/PO1", "NET/PO2", "NET/PO3", "NET/PO4"} {
		x := &agent{PostOffice: dirsynctest.New(po), t: t, site: a, name: "SITEA"}
		if i > 1 {
			x.site, x.name = b, "SITEB"
		}
		x.Set("ASMITH", "Alex Smith of "+po[4:])
		x.Set("JLEE", "Jin Lee of "+po[4:])
		out = append(out, x)
	}
	return out
}

// everyone checks that each post office lists the users of all the others that it can know of.
func everyone(t *testing.T, agents []*agent) {
	t.Helper()
	for _, x := range agents {
		want := map[string]string{}
		for _, o := range agents {
			if o != x {
				for m, name := range o.Users {
					want["MS:"+o.Name+"/"+m] = name
				}
			}
		}
		if !maps.Equal(want, x.List) {
			t.Errorf("%s lists %v, want %v", x.Name, x.List, want)
		}
	}
}

func TestUsersOfFourPostOfficesFindAndWriteToEachOther(t *testing.T) {
	for _, how := range []string{replicatedByLink, replicatedByMail} {
		t.Run(how, func(t *testing.T) {
			a, b := fourOffices(t, how)
			agents := agentsOf(t, a, b)
			until(t, time.Minute, "the routes follow", func() bool {
				out, err := a.try("route", "explain", "MS:NET/PO4/JLEE")
				return err == nil && strings.Contains(out, "SITEB/connector/msmail")
			})
			cycle(t, true, agents)
			everyone(t, agents)
			agents[0].Set("MKUMAR", "Kumar, Mira")
			agents[1].Delete("JLEE")
			cycle(t, true, agents)
			everyone(t, agents)
			if agents[3].List["MS:NET/PO1/MKUMAR"] != "Kumar, Mira" {
				t.Error("a change at PO1 is not in PO4's list after one cycle")
			}
			flow(t, a, b, how)
		})
	}
}

// TestASiteIsTheRequestorOfAnother: the server is not a post office but a site, which has post offices of its own.
func TestASiteIsTheRequestorOfAnother(t *testing.T) {
	a, b := fourOffices(t, byDirSync)
	agents := agentsOf(t, a, b)
	round := func() {
		t.Helper()
		start := time.Now()
		for _, x := range agents {
			x.export()
		}
		heard := func(s *site, po string, what func(at, sent time.Time) bool) {
			t.Helper()
			until(t, time.Minute, po+" at "+s.config, func() bool {
				for _, p := range status(s).PostOffices {
					if p.PostOffice == po {
						return what(p.Received, p.Sent)
					}
				}
				return false
			})
		}
		after := func(at, _ time.Time) bool { return at.After(start) }
		for _, x := range agents {
			heard(x.site, x.Name, after)
		}
		b.backbone("dirsync", "run", "NET/SITEA") // T1: what SITEB has
		heard(a, "NET/SITEB", after)
		a.backbone("dirsync", "run") // T2: SITEA answers all
		heard(b, "NET/SITEA", after)
		b.backbone("dirsync", "run") // and SITEB its own
		for _, x := range agents {
			until(t, time.Minute, x.Name+" gets its answer", func() bool { return x.collect() > 0 })
		}
	}
	round()
	everyone(t, agents)
	agents[0].Set("MKUMAR", "Kumar, Mira")
	agents[2].Delete("JLEE")
	round()
	everyone(t, agents)
	flow(t, a, b, bySpaces)
}

func TestTheSeedsFlowWithAddressSpacesAndNoReplication(t *testing.T) {
	a, b := fourOffices(t, bySpaces)
	flow(t, a, b, bySpaces)
}

// flow is the seed's: PO1 writes to PO4, which answers.
func flow(t *testing.T, a, b *site, how string) {
	t.Helper()
	if out := a.backbone("route", "explain", "MS:NET/PO4/JLEE"); (how != bySpaces) != strings.Contains(out, "directory: SITEB/connector/msmail, version ") {
		t.Errorf("%s: route explain says\n%s", how, out)
	}
	drop(t, a.po("NET/PO1"), "ASK", message("NET/PO1/MKUMAR", "NET/PO4/JLEE", "Counts?", "How many?\r\n", nil))
	until(t, time.Minute, "the question arrives", func() bool { return len(delivered(t, b.po("NET/PO4"))) == 1 })
	text, err := os.ReadFile(delivered(t, b.po("NET/PO4"))[0])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("FROM:CSI:NET/PO1/MKUMAR")) {
		t.Errorf("it can't be answered:\n%s", text)
	}
	drop(t, b.po("NET/PO4"), "ANSWER", message("NET/PO4/JLEE", "NET/PO1/MKUMAR", "RE: Counts?", "Twelve.\r\n", nil))
	until(t, time.Minute, "the answer arrives", func() bool { return len(delivered(t, a.po("NET/PO1"))) == 1 })
}

func TestAnUnregisteredRequestorIsRefusedWithTheKBsError(t *testing.T) {
	a, b := fourOffices(t, replicatedByLink)
	// PO3 is registered at SITEB, not at SITEA.
	x := &agent{PostOffice: dirsynctest.New("NET/PO1"), t: t, site: a, name: "SITEA"}
	stranger := &agent{PostOffice: dirsynctest.New("NET/PO3"), t: t, site: b, name: "SITEA"}
	until(t, time.Minute, "the routes follow", func() bool {
		out, err := b.try("route", "explain", "MS:NET/SITEA/$SYSTEM")
		return err == nil && strings.Contains(out, "SITEA/connector/directory")
	})
	stranger.export()
	until(t, time.Minute, "the refusal arrives", func() bool { return stranger.collect() > 0 })
	if !strings.HasPrefix(stranger.Refusal, "[136] ") || !strings.Contains(stranger.Refusal, "NET/PO3") {
		t.Errorf("refusal %q", stranger.Refusal)
	}
	x.Set("LONGNAME", strings.Repeat("N", 31))
	x.Set("GOOD", "Good One")
	x.export()
	until(t, time.Minute, "it is taken", func() bool { return status(a).PostOffices[0].Applied.Added == 1 })
	if p := status(a).PostOffices[0].Problems; len(p) != 1 || !strings.Contains(p[0].Text, "31 characters, at most 30") {
		t.Errorf("the name that is too long is reported as %+v", p)
	}
	a.backbone("dirsync", "run", "NET/PO1")
	until(t, time.Minute, "the answer arrives", func() bool { return x.collect() > 0 })
	if len(x.Told) != 1 || x.Told[0].Code != 72 {
		t.Errorf("the requestor is told %+v, want [72]", x.Told)
	}
}

func TestAMSMailUserAnswersWhoeverWroteToHim(t *testing.T) {
	a, _ := pair(t, func(self, _ *site, name, _, _ string) string {
		if name == "SITEB" {
			return ""
		}
		return smtpIn(self) + "smarthost = [\"127.0.0.1:1\"]\nspace = [ { address = \"SMTP:*\" } ]\n"
	})
	a.stop()
	text, err := os.ReadFile(a.config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("gateways = [\"SMTP\", \"X400\"]", "gateways = []", "name = \"SITEA\"", "name = \"SITEA\"\nms = \"NET/SITEA\"").Replace(string(text))
	if err := os.WriteFile(a.config, []byte(changed), 0o640); err != nil {
		t.Fatal(err)
	}
	a.start()
	a.backbone("directory", "add", "BEN", "--display", "Ben", "--target", "SMTP:ben@example.org", "--proxy", "MS:NET/SITEA/BEN")
	for _, from := range []string{"ben@example.org", "kim@elsewhere.example"} {
		out, err := exec.Command("swaks", "--server", a.smtp, "--from", from, "--to", "IMCEAMS-NET_PO1_ASMITH@sitea.example", "--h-Subject", from, "--body", "Hello").CombinedOutput()
		if err != nil {
			t.Fatalf("swaks: %v\n%s", err, out)
		}
	}
	until(t, time.Minute, "both arrive", func() bool { return len(delivered(t, a.po("NET/PO1"))) == 2 })
	for i, f := range delivered(t, a.po("NET/PO1")) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := bytes.Cut(text, []byte("FROM:CSI:"))
		from, _, _ := bytes.Cut(rest, []byte("\r\n"))
		_, rest, _ = bytes.Cut(text, []byte("SUBJECT:"))
		subject, _, _ := bytes.Cut(rest, []byte("\r\n"))
		if known := string(from) == "NET/SITEA/BEN"; !bytes.HasPrefix(from, []byte("NET/SITEA/")) || known != (string(subject) == "ben@example.org") {
			t.Errorf("%s can be answered at %q", subject, from)
		}
		drop(t, a.po("NET/PO1"), fmt.Sprintf("ANSWER%d", i), message("NET/PO1/ASMITH", "CSI:"+string(from), "RE: "+string(subject), "Hello back\r\n", nil))
	}
	for _, to := range []string{"ben@example.org", "kim@elsewhere.example"} {
		until(t, time.Minute, "an answer to "+to+" is on its way", func() bool {
			out, err := a.try("queue", "list", "--to", "*"+to, "--json")
			return err == nil && strings.Contains(out, to)
		})
	}
}
