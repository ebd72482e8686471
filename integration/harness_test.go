package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/integration/loopback"
	"backbone/shadowpo"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "backbone-integration")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "backbone")
	cmd := exec.Command("go", "build", "-o", binary, "backbone/cmd/backbone")
	cmd.Stderr = os.Stderr
	code := 1
	if err := cmd.Run(); err == nil {
		code = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// site is one `serve` process.
type site struct {
	t      *testing.T
	dir    string
	config string
	smtp   string
	link   string // where the peer calls
	cmd    *exec.Cmd
	log    *os.File
}

// po is a post office's folder.
func (s *site) po(address string) string {
	return filepath.Join(s.dir, strings.ReplaceAll(address, "/", "."))
}

// start runs the site's daemon and waits until its control socket answers.
func (s *site) start() {
	s.t.Helper()
	s.cmd = exec.Command(binary, "serve", "--config", s.config)
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, 30*time.Second, "the daemon answers", func() bool {
		return exec.Command(binary, "status", "--config", s.config).Run() == nil
	})
}

// rewrite changes the configuration for the next start.
func (s *site) rewrite(change func(string) string) {
	s.t.Helper()
	text := read(s.t, s.config)
	if err := os.WriteFile(s.config, []byte(change(text)), 0o640); err != nil {
		s.t.Fatal(err)
	}
}

// stop ends it in good order; it must exit with 0.
func (s *site) stop() {
	if s.cmd == nil || s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("%s ended with %v", s.config, err)
	}
}

// backbone runs a command on the site and returns its stdout.
func (s *site) backbone(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(args, "--config", s.config)...)
	var errb bytes.Buffer
	cmd.Stderr = &errb
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("backbone %s: %v\n%s%s", strings.Join(args, " "), err, out, errb.String())
	}
	return string(out)
}

// try runs a command that may fail for now.
func (s *site) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, append(args, "--config", s.config)...).Output()
	return string(out), err
}

// interrupted runs a command that goes on until Ctrl-C, and gives what it printed until then.
func (s *site) interrupted(after time.Duration, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), after)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(args, "--config", s.config)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.Output()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.t.Fatalf("backbone %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s in vain: %s", limit, what)
		}
	}
}

// delivered lists the files that wait for a post office's agent.
func delivered(t *testing.T, po string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(po, "deliver", "*.MSG"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// drop puts a message into a post office's submit folder, as an agent does.
func drop(t *testing.T, po, name, text string) {
	t.Helper()
	tmp := filepath.Join(po, "submit", name+".WRT")
	if err := os.WriteFile(tmp, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(po, "submit", name+".MSG")); err != nil {
		t.Fatal(err)
	}
}

func message(from, to, subject, body string, attachment []byte) string {
	h := fmt.Sprintf("VERSION:3.00\r\nTO:%s\r\nFROM:CSI:%s\r\nDATE:1997-03-14\r\nTIME:09:05\r\nSUBJECT:%s\r\n", to, from, subject)
	if attachment != nil {
		h += fmt.Sprintf("ATTACHMENT:DATA.BIN %d\r\n", len(attachment))
	}
	return h + fmt.Sprintf("TEXT:%d\r\n%s%s", len(body), body, attachment)
}

// pair writes two sites joined by the connector section that link gives for each side, and starts them.
func pair(t *testing.T, link func(self, peer *site, selfName, peerName, peerPO string) string) (a, b *site) {
	t.Helper()
	dir := t.TempDir()
	mk := func(name string) *site {
		s := &site{t: t, dir: filepath.Join(dir, name), smtp: loopback.Port(t), link: loopback.Port(t)}
		s.config = filepath.Join(s.dir, "backbone.toml")
		if err := os.MkdirAll(s.dir, 0o750); err != nil {
			t.Fatal(err)
		}
		var err error
		if s.log, err = os.Create(filepath.Join(s.dir, "daemon.log")); err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b = mk("SITEA"), mk("SITEB")
	for _, x := range []struct {
		self, peer                         *site
		name, peerName, po, peerPO, domain string
	}{{a, b, "SITEA", "SITEB", "NET/PO1", "NET/PO2", "sitea.example"}, {b, a, "SITEB", "SITEA", "NET/PO2", "NET/PO1", "siteb.example"}} {
		text := fmt.Sprintf(`
[site]
name = "%[1]s"
domains = ["%[2]s"]
partners = ["sitea.example", "siteb.example"]
x400 = "c=US;a= ;p=Northwind;o=%[1]s"
[control]
listen = ""
[retry]
open_interval = "1s"
transfer_interval = "1s"
smtp = ["1s"]
[connector.msmail]
type = "msmail"
dir = "."
stable = "0s"
poll = "1s"
[[connector.msmail.postoffice]]
address = "%[3]s"
gateways = ["SMTP", "X400"]
%[4]s`, x.name, x.domain, x.po, link(x.self, x.peer, x.name, x.peerName, x.peerPO))
		if err := os.WriteFile(x.self.config, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		po, err := address.ParsePostOffice(x.po)
		if err != nil {
			t.Fatal(err)
		}
		if err := shadowpo.Create(x.self.po(x.po), po); err != nil {
			t.Fatal(err)
		}
		s := x.self
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
