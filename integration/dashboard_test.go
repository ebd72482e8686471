package integration

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/integration/loopback"
	"backbone/shadowpo"

	"github.com/chromedp/chromedp"
	gosmtp "github.com/emersion/go-smtp"
)

// moody is an SMTP host that takes everything, or refuses what its mood says. Mail for nobody it gives back, as mail for a
// mailbox that is not there.
type moody struct {
	addr   string
	back   string         // where it sends its reports: the site's SMTP
	giving sync.WaitGroup // reports under way
	greyed atomic.Bool    // recipients that begin with "slow" are put off
	took   atomic.Int64
}

func (m *moody) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &moodySession{m: m}, nil }

type moodySession struct {
	m        *moody
	from, to string
}

func (s *moodySession) Reset()        {}
func (s *moodySession) Logout() error { return nil }
func (s *moodySession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *moodySession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.to = to
	if strings.HasPrefix(to, "slow") && s.m.greyed.Load() {
		return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "greylisted, come back in five minutes"}
	}
	return nil
}

func (s *moodySession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.m.took.Add(1)
	if s.to == "nobody@example.com" {
		from := s.from
		s.m.giving.Go(func() { s.m.giveBack(from, string(text)) })
	}
	return nil
}

// giveBack reports that there is no such mailbox (RFC 3464). A report that is not taken shows in what waits for it.
func (m *moody) giveBack(to, text string) {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	report := "From: <postmaster@example.com>\r\nTo: <" + to + ">\r\nSubject: Undeliverable\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nNo such mailbox.\r\n" +
		"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.example.com\r\n\r\nFinal-Recipient: rfc822; nobody@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n" +
		"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n" + head + "\r\n\r\n--b--\r\n"
	if err := smtp.SendMail(m.back, nil, "", []string{to}, []byte(report)); err != nil {
		log.Printf("mail.example.com: %v", err)
	}
}

func startMoody(t *testing.T) *moody {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &moody{addr: l.Addr().String()}
	m.greyed.Store(true)
	srv := gosmtp.NewServer(m)
	srv.Domain = "mail.example.com"
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil && !errors.Is(err, gosmtp.ErrServerClosed) {
			t.Error(err)
		}
		m.giving.Wait()
	})
	return m
}

// operated is a site for an operator's jobs: a post office, a mail host that is moody, an X.400 peer that does not answer.
func operated(t *testing.T, m *moody, control string) (s *site, url string) {
	t.Helper()
	s = &site{t: t, dir: filepath.Join(t.TempDir(), "SITEA"), smtp: loopback.Port(t), link: loopback.Port(t)}
	s.config = filepath.Join(s.dir, "backbone.toml")
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.log, err = os.Create(filepath.Join(s.dir, "daemon.log")); err != nil {
		t.Fatal(err)
	}
	m.back = s.smtp
	listen := loopback.Port(t)
	text := fmt.Sprintf(`
[site]
name = "SITEA"
organization = "Northwind"
domains = ["sitea.example"]
partners = ["siteb.example"]
ms = "NET/SITEA"
x400 = "c=US;a= ;p=Northwind;o=SITEA"
[control]
listen = %q
%s
[retry]
open_interval = "30m"
smtp = ["30m"]
[[monitor.link]]
name = "mail.example.com"
to = "SMTP:nobody@example.com"
[connector.msmail]
type = "msmail"
dir = "."
stable = "0s"
poll = "1s"
[[connector.msmail.postoffice]]
address = "NET/PO1"
gateways = ["SMTP", "X400"]
[[connector.msmail.postoffice]]
address = "NET/PO3"
gateways = ["SMTP", "X400"]
[connector.imc]
type = "smtp"
listen = [%q]
smarthost = [%q]
tls = "off"
encapsulate_domain = "siteb.example"
space = [ { address = "SMTP:*" }, { address = "MS:NET/PO2", cost = 50 } ]
relay = [ { networks = ["127.0.0.1"], to = ["SMTP:*", "MS:*", "X400:*"] } ]
[connector.x400]
type = "x400"
peer = %q
remote_mta = "SITEB"
space = [ { address = "MS:NET/PO2", cost = 1 }, { address = "MS:NET/PO4", cost = 1 }, { address = "X400:c=US;a= ;p=Northwind;o=SITEB" } ]
`, listen, control, s.smtp, m.addr, loopback.Port(t))
	if err := os.WriteFile(s.config, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"NET/PO1", "NET/PO3"} {
		po, err := address.ParsePostOffice(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := shadowpo.Create(s.po(p), po); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("daemon:\n%s", read(t, s.log.Name()))
		}
	})
	s.start()
	return s, "http://" + listen
}

// post hands the site a message by SMTP.
func (s *site) post(from, to, subject string) {
	s.t.Helper()
	text := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%d@elsewhere.example>\r\nDate: Mon, 23 Nov 2026 08:00:00 +0000\r\n\r\ntext\r\n", from, to, subject, time.Now().UnixNano())
	if err := smtp.SendMail(s.smtp, nil, from, []string{to}, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

const poison = "VERSION:3.00\r\nTO:CSI:NET/PO3/JLEE\r\nFROM:CSI:NET/PO1/ASMITH\r\nDATE:1997-03-14\r\nTIME:09:05\r\nSUBJECT:Stock counts\r\nPRIORITTY:3\r\nTEXT:6\r\nhello\n"

// fillSite gives the site something of everything: mail that went, mail that waits for each reason, poison.
func fillSite(t *testing.T, s *site) {
	t.Helper()
	s.backbone("directory", "add", "JLEE", "--display", "Lee, Jordan", "--target", "MS:NET/PO3/JLEE", "--proxy", "SMTP:jordan.lee@sitea.example")
	s.backbone("directory", "add", "MKUMAR", "--display", "Kumar, Mira", "--target", "MS:NET/PO2/MKUMAR", "--proxy", "SMTP:mira.kumar@siteb.example")
	for i := range 12 {
		drop(t, s.po("NET/PO1"), fmt.Sprintf("OUT%02d", i), message("NET/PO1/ASMITH", "SMTP:buyer@example.com", fmt.Sprintf("Offer %d of 12", i+1), "text\r\n", nil))
	}
	for i := range 6 {
		drop(t, s.po("NET/PO1"), fmt.Sprintf("IN%02d", i), message("NET/PO1/ASMITH", "CSI:NET/PO3/JLEE", fmt.Sprintf("Minutes of week %d", 40+i), "text\r\n", nil))
	}
	drop(t, s.po("NET/PO1"), "COUNTS", message("NET/PO1/ASMITH", "CSI:NET/PO4/MKUMAR", "Stock counts, third quarter", "text\r\n", []byte("bin 1: 40\r\n")))
	drop(t, s.po("NET/PO1"), "COUNTS2", message("NET/PO1/ASMITH", "CSI:NET/PO2/MKUMAR", "Stock counts again", "text\r\n", nil))
	drop(t, s.po("NET/PO1"), "SLOW", message("NET/PO1/ASMITH", "SMTP:slow@example.com", "Price list", "text\r\n", nil))
	drop(t, s.po("NET/PO1"), "POISON", poison)
	s.post("anna@elsewhere.example", "jordan.lee@sitea.example", "Welcome")
	until(t, 30*time.Second, "the mail has settled", func() bool {
		l := s.backbone("queue", "list", "--json")
		return strings.Contains(l, "greylisted") && strings.Contains(l, "third quarter") && strings.Count(l, "\n") == 2 && len(delivered(t, s.po("NET/PO3"))) == 7 &&
			strings.Contains(s.quarantined(), "POISON") && strings.Contains(s.backbone("status", "--json"), `"state":"normal"`)
	})
}

// quarantined lists what is in quarantine, "" when nothing is.
func (s *site) quarantined() string {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.po("NET/PO1"), "badmail", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// TestDashboard is an operator's day in a browser, against a running site. The jobs build on each other, as a day's do.
func TestDashboard(t *testing.T) {
	m := startMoody(t)
	s, url := operated(t, m, "")
	fillSite(t, s)
	c := startChromium(t)
	t.Cleanup(c.stop)
	if *screenshots != "" {
		pictures(t, c, url)
	}
	axe := read(t, "testdata/axe-core-4.14.1.min.js")
	t.Run("to read", func(t *testing.T) { // at once: nobody changes anything yet
		accessible := func(name, scheme, rules string, pages []screen) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := c.tab(t, url)
				b.scheme(scheme)
				for _, p := range pages {
					b.open(p.path)
					b.accessible(axe, rules, p.name+" in "+scheme)
				}
			})
		}
		half := len(everyPage) / 2
		accessible("pages are accessible", "light", "", everyPage[:half])
		accessible("the other pages, too", "light", "", everyPage[half:])
		// Only colours differ in the dark, and the last pages show none that the first ones do not.
		accessible("pages are accessible in the dark", "dark", `, runOnly: ["color-contrast"]`, everyPage[:4])
		t.Run("on a narrow screen no page is wider than the screen", func(t *testing.T) {
			t.Parallel()
			b := c.tab(t, url)
			b.run(chromedp.EmulateViewport(360, 740))
			for _, p := range everyPage {
				b.open(p.path)
				if w := eval[int](b, `document.documentElement.scrollWidth`); w > 360 {
					t.Errorf("%s is %d wide", p.name, w)
				}
			}
		})
	})
	for _, job := range []struct {
		name string
		do   func(*testing.T, *tab)
	}{
		{"find a stuck message and why", func(t *testing.T, b *tab) {
			b.open("/")
			b.open("/destinations")
			b.shows("Link monitor", "mail.example.com", "normal", "1 of 1")
			b.open("/")
			b.shows("x400:SITEB is down, 1 waiting", "connection refused", "1 in quarantine")
			b.fill("#find", "slow.msg\r")
			b.shows("Price list", "Waits for imc:", "greylisted, come back in five minutes", "attempt 1", "drop file SLOW.MSG", "chosen")
		}},
		{"suspend a destination with reason and end, and see it everywhere", func(t *testing.T, b *tab) {
			b.open("/destinations?connector=x400")
			b.press("tbody .act summary")
			b.fill("tbody .act input[name=reason]", "line works until tonight")
			b.fill("tbody .act input[name=until]", "3h")
			b.click("button", "Suspend SITEB")
			b.shows("Suspended x400:SITEB until", "suspended by browser on this host", "line works until tonight", "Resume SITEB")
			b.open("/")
			b.shows("X400:SITEB is suspended")
			b.open("/routes?address=MS:NET/PO2/MKUMAR")
			b.shows("it is suspended by browser on this host")
			if out := s.backbone("dest", "list"); !strings.Contains(out, "line works until tonight") {
				t.Errorf("the CLI does not show the suspension:\n%s", out)
			}
		}},
		{"resume it", func(t *testing.T, b *tab) {
			b.open("/destinations?connector=x400")
			b.click("button", "Resume SITEB")
			b.shows("Resumed x400:SITEB")
			b.holds(`!document.body.innerText.includes("line works")`)
		}},
		{"retry a destination once its trouble is over", func(t *testing.T, b *tab) {
			m.greyed.Store(false)
			before := m.took.Load()
			b.open("/destinations?connector=imc")
			b.click("button", "Retry 127.0.0.1")
			b.shows("Retry now: 1 entry", "Nothing has been changed yet", "Price list")
			b.fill(".confirm input[name=reason]", "they have mended it")
			b.click("button", "Retry now 1 entry")
			b.shows("1 entry due now")
			until(t, 15*time.Second, "the mail goes out", func() bool { return m.took.Load() == before+1 })
		}},
		{"trace a message to its delivery", func(t *testing.T, b *tab) {
			b.open("/message?key=SLOW.MSG")
			b.shows("Delivered", "retry by browser on this host: they have mended it", "attempt 2")
		}},
		{"see new mail arrive without a reload", func(t *testing.T, b *tab) {
			b.open("/queue")
			b.shows("third quarter")
			b.holds(`document.getElementById("pulse").textContent === "Live"`)
			eval[bool](b, `window.mark = true`)
			drop(t, s.po("NET/PO1"), "MORE1", message("NET/PO1/ASMITH", "CSI:NET/PO4/AJONES", "Arrived meanwhile", "text\r\n", nil))
			drop(t, s.po("NET/PO1"), "MORE2", message("NET/PO1/ASMITH", "CSI:NET/PO4/BJONES", "Arrived too", "text\r\n", nil))
			b.shows("Arrived meanwhile", "Arrived too")
			b.holds(`window.mark`)
		}},
		{"hold what is ticked, and release it", func(t *testing.T, b *tab) {
			b.open("/queue?to=*JONES&dest=x400:*")
			b.press("[data-all]")
			b.choose("select[name=verb]", "hold")
			b.fill(".bulk input[name=reason]", "checking with the sender")
			b.click("button", "Review")
			b.shows("Hold: 2 entries")
			b.click("button", "Hold 2 entries")
			b.shows("2 entries held", "browser on this host: checking with the sender")
			b.open("/queue?state=held")
			b.choose("select[name=verb]", "release")
			b.choose("select[name=scope]", "filter")
			b.fill(".bulk input[name=reason]", "it is fine")
			b.click("button", "Review")
			b.click("button", "Release 2 entries")
			b.shows("2 entries released", "No entry matches")
		}},
		{"delete by mistake, and undo", func(t *testing.T, b *tab) {
			b.open("/queue?to=*BJONES")
			b.press("tbody .tick input")
			b.choose("select[name=verb]", "delete")
			b.fill(".bulk input[name=reason]", "wrong one")
			b.click("button", "Review")
			b.click("button", "Delete 1 entry")
			b.shows("1 entry moved to the trash", "No entry matches")
			b.click("button", "Undo")
			b.shows("1 entry restored", "Arrived too")
		}},
		{"send waiting mail another way", func(t *testing.T, b *tab) {
			before := m.took.Load()
			b.open("/queue?to=*AJONES")
			b.press("tbody th a")
			b.click("button", "Reroute")
			b.choose("select[name=via]", "imc")
			b.fill(".confirm input[name=reason]", "X.400 is down for long")
			b.click("button", "Reroute 1 entry")
			b.shows("1 entry rerouted")
			until(t, 15*time.Second, "it goes by SMTP", func() bool { return m.took.Load() == before+1 })
		}},
		{"give a message back to its sender", func(t *testing.T, b *tab) {
			b.open("/message?key=COUNTS.MSG")
			b.fill(".entry input[name=reason]", "PO4 is closed")
			b.click("button", "Bounce")
			b.click("button", "Bounce 1 entry")
			b.shows("Failed; the originator was told", "bounce by browser on this host: PO4 is closed")
			until(t, 15*time.Second, "the report is in the drop", func() bool {
				for _, f := range delivered(t, s.po("NET/PO1")) {
					if text := read(t, f); strings.Contains(text, "PO4 is closed") && strings.Contains(text, "third quarter") {
						return true
					}
				}
				return false
			})
		}},
		{"mend poison mail and replay it", func(t *testing.T, b *tab) {
			b.open("/quarantine")
			b.click("a", "POISON")
			b.shows("PRIORITTY", "line 7, column 1")
			b.holds(`document.querySelector("textarea").value.endsWith("hello\\x0a")`)
			eval[bool](b, `{ const e = document.querySelector("textarea"); e.value = e.value.replace("PRIORITTY", "PRIORITY"); true }`)
			b.fill(".edit input[name=reason]", "a typing mistake in the key")
			b.click("button", "Replay the edited copy")
			b.shows("was put back into its drop", "Nothing is in quarantine")
			until(t, 15*time.Second, "it is delivered", func() bool { return len(delivered(t, s.po("NET/PO3"))) == 8 })
		}},
		{"explain a route while typing", func(t *testing.T, b *tab) {
			b.open("/routes")
			b.fill("input[name=address]", "mira.kumar@siteb.example")
			b.shows("Mail for mira.kumar@siteb.example goes to", "NET/PO2/MKUMAR", "chosen")
			b.fill("input[name=address]", "FAX:5550100")
			b.shows("goes nowhere")
		}},
		{"work by keyboard alone", func(t *testing.T, b *tab) {
			b.open("/")
			b.holds(`document.getElementById("pulse").textContent === "Live"`)
			b.run(chromedp.KeyEvent("gq"))
			b.holds(`location.pathname === "/queue" && document.getElementById("pulse").textContent === "Live"`)
			b.run(chromedp.KeyEvent("/"))
			b.holds(`document.activeElement.id === "find"`)
			b.open("/destinations")
			b.run(chromedp.KeyEvent("\t"))
			b.holds(`document.activeElement.classList.contains("skip")`)
		}},
		{"read who did what and why", func(t *testing.T, b *tab) {
			b.open("/audit")
			b.shows("line works until tonight", "quarantine replay", "NET.PO1/POISON as edited", "a typing mistake in the key", "queue bounce", "queue restore", "look at content")
			if out := s.backbone("audit"); !strings.Contains(out, "PO4 is closed") || !strings.Contains(out, "dashboard") {
				t.Errorf("backbone audit:\n%s", out)
			}
		}},
	} {
		t.Run(job.name, func(t *testing.T) { job.do(t, c.tab(t, url)) })
	}
}

// TestDashboardSignIn: with users configured a browser signs in, sees what its role may, and signs out.
func TestDashboardSignIn(t *testing.T) {
	hash := func(password string) string {
		cmd := exec.Command(binary, "password")
		cmd.Stdin = strings.NewReader(password + "\n")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	s, url := operated(t, startMoody(t), fmt.Sprintf(`
[[control.user]]
name = "kim"
password = %q
role = "operate"
[[control.user]]
name = "lee"
password = %q
role = "read"
`, hash("correct horse"), hash("battery staple")))
	drop(t, s.po("NET/PO1"), "SLOW", message("NET/PO1/ASMITH", "SMTP:slow@example.com", "Price list", "text\r\n", nil))
	c := startChromium(t)
	t.Cleanup(c.stop)
	b := c.tab(t, url)
	signIn := func(name, password string) {
		b.fill("input[name=name]", name)
		b.fill("input[name=password]", password+"\r")
	}
	b.open("/queue")
	b.shows("Sign in", "Name", "Password")
	axe := read(t, "testdata/axe-core-4.14.1.min.js")
	b.accessible(axe, "", "sign-in")
	signIn("lee", "wrong password")
	b.shows("Wrong name or password")
	signIn("lee", "battery staple")
	b.shows("Price list", "lee (read)")
	b.holds(`document.querySelector(".bulk") === null`)
	b.accessible(axe, "", "the queue for a reader")
	b.open("/quarantine/entry?id=x")
	b.shows("Your role is read")
	b.click("button", "Sign out")
	b.shows("Password")
	signIn("kim", "correct horse")
	b.shows("kim (operate)")
	b.open("/queue")
	b.holds(`document.querySelector(".bulk") !== null`)
	if out := s.backbone("audit"); !strings.Contains(out, "wrong name or password") || !strings.Contains(out, "kim") {
		t.Errorf("backbone audit:\n%s", out)
	}
}

type screen struct{ name, path string }

// everyPage is each page once, with the path that shows something.
var everyPage = []screen{
	{"map", "/"}, {"queue", "/queue"}, {"message", "/message?key=SLOW.MSG"}, {"destinations", "/destinations"}, {"routes", "/routes?address=MS:NET/PO2/MKUMAR"},
	{"directory", "/directory"}, {"entry", "/directory/entry?name=MKUMAR"}, {"synchronization", "/synchronization"}, {"quarantine", "/quarantine"}, {"quarantined", "/quarantine/entry?id=NET.PO1/POISON"},
	{"figures", "/figures"}, {"audit", "/audit"}, {"empty", "/queue?from=nobody@nowhere.example"}, {"missing", "/message?key=NONE"},
}

// pictures makes the manual's.
func pictures(t *testing.T, c *chromium, url string) {
	b := c.tab(t, url)
	paths := map[string]string{}
	for _, p := range everyPage {
		paths[p.name] = p.path
	}
	for scheme, names := range map[string][]string{"light": {"map", "queue", "message", "destinations", "quarantined"}, "dark": {"map", "routes", "figures"}} {
		b.scheme(scheme)
		for _, name := range names {
			b.open(paths[name])
			if name == "figures" {
				b.holds(`document.querySelectorAll(".charts canvas").length === 3`)
			}
			b.shot(name + "-" + scheme)
		}
	}
	b.scheme("light")
	b.run(chromedp.EmulateViewport(390, 844))
	b.open(paths["queue"])
	b.shot("queue-narrow")
}
