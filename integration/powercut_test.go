package integration

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"backbone/gateway/address"
	"backbone/integration/loopback"
	"backbone/shadowpo"
)

// goingDown is EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, which are one number: _IOR('X', 125, __u32). From then on the
// filesystem writes nothing any more, as if the power had gone; with logFlush its journal is written out first.
const (
	goingDown  = 0x8004587d
	logFlush   = 1
	noLogFlush = 2
)

// TestPowerCut runs the real daemon on a filesystem of its own, takes that away under load at a random moment, and
// compares what is there after mounting it again with what had been acknowledged: a 250, or a drop file that was durable.
// The daemon must notice by itself and end with an error. CUTS=n makes n cuts of each filesystem (make powercut), and
// then it is an error when this machine can't do it. In a plain test run there are two of ext4, and a machine without
// root or loop devices says that it tests nothing (scripts/can-cut-power).
func TestPowerCut(t *testing.T) {
	cuts, kinds := 2, []string{"ext4"}
	wanted := os.Getenv("CUTS")
	if wanted != "" {
		var err error
		if cuts, err = strconv.Atoi(wanted); err != nil || cuts < 1 {
			t.Fatalf("CUTS=%q is no number", wanted)
		}
		kinds = append(kinds, "xfs")
	}
	if out, err := exec.Command("../scripts/can-cut-power", kinds...).CombinedOutput(); err != nil {
		if wanted != "" {
			t.Fatalf("%s", out)
		}
		fmt.Fprintf(os.Stderr, "%s", out)
		return
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			var sum tally
			for n := range cuts {
				cutOnce(t, kind, n, &sum)
				if t.Failed() {
					return
				}
			}
			t.Logf("%s: %d cuts; %d messages acknowledged by SMTP and %d durable in the drop, all there and none twice; %d more had not been acknowledged before the cut and came, too; %d were acknowledged after the cut and did not",
				kind, cuts, sum.smtp, sum.drop, sum.more, sum.late)
		})
	}
}

type tally struct{ smtp, drop, more, late int }

// volume is a filesystem in a file.
type volume struct {
	t                  *testing.T
	kind, image, mount string
}

func (v *volume) run(name string, args ...string) {
	v.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		v.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func newVolume(t *testing.T, kind string) *volume {
	t.Helper()
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "cut")
	if err != nil {
		t.Fatal(err)
	}
	v := &volume{t: t, kind: kind, image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "m")}
	if err := errors.Join(os.WriteFile(v.image, nil, 0o600), os.Truncate(v.image, 400<<20), os.Mkdir(v.mount, 0o700)); err != nil {
		t.Fatal(err)
	}
	v.run("mkfs."+kind, "-q", v.image)
	v.on()
	t.Cleanup(func() {
		if exec.Command("mountpoint", "-q", v.mount).Run() == nil {
			v.off()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return v
}

func (v *volume) on()  { v.t.Helper(); v.run("mount", "-o", "loop", v.image, v.mount) }
func (v *volume) off() { v.t.Helper(); v.run("umount", v.mount) }

func (v *volume) cut(how int) {
	v.t.Helper()
	d, err := os.Open(v.mount)
	if err != nil {
		v.t.Fatal(err)
	}
	if err := errors.Join(unix.IoctlSetPointerInt(int(d.Fd()), goingDown, how), d.Close()); err != nil {
		v.t.Fatalf("the filesystem does not go down: %v", err)
	}
}

// alone writes a site with two post offices and an SMTP listener, all its files in dir.
func alone(t *testing.T, dir string) *site {
	t.Helper()
	s := &site{t: t, dir: dir, smtp: loopback.Port(t), config: filepath.Join(dir, "backbone.toml")}
	text := fmt.Sprintf(`
[site]
name = "SITEA"
domains = ["sitea.example"]
[control]
listen = ""
[queue]
reserve = 1048576
[retry]
open_interval = "1s"
transfer_interval = "1s"
[connector.msmail]
type = "msmail"
dir = "."
stable = "0s"
poll = "100ms"
[[connector.msmail.postoffice]]
address = "NET/PO1"
gateways = ["SMTP"]
[[connector.msmail.postoffice]]
address = "NET/PO2"
gateways = ["SMTP"]
[connector.imc]
type = "smtp"
listen = [%q]
`, s.smtp)
	if err := os.WriteFile(s.config, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"NET/PO1", "NET/PO2"} {
		po, err := address.ParsePostOffice(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := shadowpo.Create(s.po(name), po); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func cutOnce(t *testing.T, kind string, n int, sum *tally) {
	v := newVolume(t, kind)
	rnd := rand.New(rand.NewPCG(rand.Uint64(), uint64(n)))
	s := alone(t, v.mount)
	v.run("sync", "-f", v.mount) // the site was there before
	log, err := os.Create(filepath.Join(filepath.Dir(v.image), "daemon.log"))
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	t.Cleanup(func() { // before the volume's
		if s.cmd != nil && s.cmd.ProcessState == nil {
			s.kill()
		}
	})
	defer func() {
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("cut %d of %s:\n%s", n, kind, text)
		}
		log.Close()
	}()
	s.start()
	l := &load{site: s, done: make(chan struct{}), text: map[string]string{}}
	l.run()
	<-time.After(time.Duration(rnd.IntN(1500)) * time.Millisecond)
	how := logFlush
	if rnd.IntN(2) == 0 {
		how = noLogFlush
	}
	l.bind()
	v.cut(how)
	s.failStops() // somebody must knock for it to notice
	close(l.done)
	l.wg.Wait()
	v.off()
	v.on()
	s.backbone("queue", "check", "--offline")
	s.start()
	until(t, time.Minute, "everything has moved", func() bool { // .BSY: claimed, and not yet taken
		left, err := filepath.Glob(filepath.Join(s.po("NET/PO1"), "submit", "*.[MB]S[GY]"))
		return err == nil && len(left) == 0 && strings.TrimSpace(s.backbone("queue", "list", "--json")) == ""
	})
	l.compare(delivered(t, s.po("NET/PO2")), sum)
	s.stop()
	v.off()
}

// failStops waits until the daemon ends by itself, with an error: systemd starts it again then.
func (s *site) failStops() {
	s.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil {
			s.t.Error("its disk is gone, and the daemon ended as if all were well")
		}
	case <-time.After(30 * time.Second):
		s.t.Error("its disk is gone, and the daemon did not end")
		if err := s.cmd.Process.Kill(); err != nil {
			s.t.Error(err)
		}
		<-ended
	}
}

// load sends to a site on all its sources until done, and remembers what was acknowledged.
type load struct {
	site *site
	done chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	text    map[string]string // by subject: everything that was offered
	smtp    []string          // subjects that were answered with 250
	dropped []string          // subjects of drop files that were durable
	// How many of smtp and dropped there were before the cut. With the power a 250 goes, too; here the daemon lives on
	// for a moment, and a kernel that was syncing when its filesystem went down may still answer that it has.
	boundSMTP, boundDropped int
}

func (l *load) bind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.boundSMTP, l.boundDropped = len(l.smtp), len(l.dropped)
}

func (l *load) offer(prefix string, n int) (subject, body string) {
	subject = fmt.Sprintf("%s %05d", prefix, n)
	body = strings.Repeat(fmt.Sprintf("This is %s and nothing else.\r\n", subject), 1+n%7*20)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text[subject] = body
	return subject, body
}

func (l *load) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *load) run() {
	for w := range 3 {
		l.wg.Go(func() {
			for n := 0; !l.over(); n++ {
				subject, body := l.offer(fmt.Sprint("Mail ", w), n)
				if err := sendSMTP(l.site.smtp, subject, body, "IMCEAMS-NET_PO2_MKUMAR@sitea.example"); err != nil {
					continue // refused, or the daemon has gone: not acknowledged
				}
				l.mu.Lock()
				l.smtp = append(l.smtp, subject)
				l.mu.Unlock()
			}
		})
	}
	l.wg.Go(func() {
		for n := 0; !l.over(); n++ {
			subject, body := l.offer("Drop", n)
			if err := dropDurably(l.site.po("NET/PO1"), fmt.Sprintf("D%07d", n), message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", subject, body, nil)); err != nil {
				return
			}
			l.mu.Lock()
			l.dropped = append(l.dropped, subject)
			l.mu.Unlock()
		}
	})
}

// dropDurably puts a file into a drop as an agent does who wants it to survive.
func dropDurably(po, name, text string) error {
	dir := filepath.Join(po, "submit")
	tmp := filepath.Join(dir, name+".WRT")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, name+".MSG")); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// compare holds what was delivered against what was acknowledged. The post office gets each message once: no client
// repeated anything.
func (l *load) compare(files []string, sum *tally) {
	t := l.site.t
	t.Helper()
	seen := map[string]int{}
	for _, name := range files {
		text := read(t, name)
		_, subject, _ := strings.Cut(text, "SUBJECT:")
		subject, _, _ = strings.Cut(subject, "\r\n")
		seen[subject]++
		if !bytes.Contains([]byte(text), []byte(strings.TrimSuffix(l.text[subject], "\r\n"))) || l.text[subject] == "" {
			t.Errorf("%s is not what was sent:\n%.300s", subject, text)
		}
	}
	for _, c := range []struct {
		how  string
		acks []string
	}{{"answered with 250", l.smtp[:l.boundSMTP]}, {"in the drop, durably", l.dropped[:l.boundDropped]}} {
		for _, subject := range c.acks {
			if seen[subject] == 0 {
				t.Errorf("lost: %s was %s", subject, c.how)
			}
		}
	}
	for subject, n := range seen {
		if n > 1 {
			t.Errorf("%s came %d times", subject, n)
		}
	}
	for _, subject := range append(l.smtp[l.boundSMTP:], l.dropped[l.boundDropped:]...) {
		if seen[subject] == 0 {
			sum.late++
		}
	}
	sum.smtp, sum.drop, sum.more = sum.smtp+l.boundSMTP, sum.drop+l.boundDropped, sum.more+len(seen)-l.boundSMTP-l.boundDropped
}
