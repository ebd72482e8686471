package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"backbone/gateway/config"
	"backbone/integration/loopback"
)

var update = flag.Bool("update", false, "write docs/reference.md anew")

// TestTheReferenceIsThatOfTheProgram: every key stands in docs/reference.md as the program has it.
func TestTheReferenceIsThatOfTheProgram(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Configuration reference\n\nEvery key with its default. `backbone config check` names each mistake with its place; `backbone config diff` tells which\n"+
		"changes a running daemon takes and which need a restart. This page is what `backbone config reference` prints.\n\n```toml\n")
	if err := config.Reference(&b, kinds); err != nil {
		t.Fatal(err)
	}
	b.WriteString("```\n")
	file := filepath.Join("..", "..", "docs", "reference.md")
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, file) != b.String() {
		t.Error("docs/reference.md is not that of the program: go test ./cmd/backbone -run Reference -update")
	}
}

// manualSite is what the manual's commands find: Site A with two post offices, and an X.400 link to Site B, which is down.
const manualSite = `
[[connector.msmail.postoffice]]
address = "NET/PO2"

[connector.siteb]
type = "x400"
peer = "%s"
remote_mta = "SITEB"
local_mta = "SITEA"
local_password = "@x400.password"
remote_password = "@x400.password"
remote_address = "c=US;a= ;p=Northwind;o=SITEB"
space = [ { address = "MS:NET/PO3", cost = 1 } ]
`

// TestTheManualsCommandsWork runs every command of the manual, in order, page by page: what stands behind "$ " in blocks
// marked console, and in comments marked setup, against a site of the page's own. A line of output that a page shows must
// come ("..." stands for anything); "# exit N" behind a command is its exit code. `systemctl stop backbone` and `start` end and
// start the daemon of the site in folder site, or in the one that `start` is followed by: "# of FOLDER".
func TestTheManualsCommandsWork(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/protocols/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, page := range append(pages, more...) {
		steps := consoleSteps(read(t, page))
		if len(steps) == 0 {
			continue
		}
		ran += len(steps)
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			m := newManual(t)
			for _, s := range steps {
				m.run(t, s)
			}
		})
	}
	if ran < 40 {
		t.Errorf("%d commands in the manual: the blocks are not found", ran)
	}
}

// step is one command with what the manual says about it.
type step struct {
	line    int
	command string
	exit    int
	output  []string
}

var exitComment = regexp.MustCompile(`\s+# exit (\d+)$`)

func consoleSteps(text string) []step {
	var out []step
	in := false
	for i, l := range strings.Split(text, "\n") {
		switch {
		case l == "```console" || l == "<!-- setup":
			in = true
		case l == "```" || l == "-->":
			in = false
		case !in:
		case strings.HasPrefix(l, "$ "):
			s := step{line: i + 1, command: l[2:]}
			if m := exitComment.FindStringSubmatch(l); m != nil {
				s.exit, _ = strconv.Atoi(m[1])
				s.command = strings.TrimSuffix(s.command, m[0])
			}
			out = append(out, s)
		case strings.HasPrefix(l, "> ") && len(out) > 0:
			out[len(out)-1].command += "\n" + l[2:]
		case len(out) > 0 && l != "" && l != "...":
			out[len(out)-1].output = append(out[len(out)-1].output, l)
		}
	}
	return out
}

// manual is the machine that a page's commands run on.
type manual struct {
	dir    string
	env    []string
	bound  []*os.File // the daemon's sockets stay bound while it is down, as under systemd
	daemon *exec.Cmd
}

func newManual(t *testing.T) *manual {
	t.Helper()
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(dir, "backbone")); err != nil {
		t.Fatal(err)
	}
	site := filepath.Join(dir, "site")
	d := embeddedSite
	var bound []net.Listener
	for _, at := range []*string{&d.Control, &d.SMTP, &d.X400} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*at, bound = l.Addr().String(), append(bound, l)
	}
	if _, err := writeSite(site, d); err != nil {
		t.Fatal(err)
	}
	appendTo(t, filepath.Join(site, "backbone.toml"), fmt.Sprintf(manualSite, loopback.Port(t)), func(s string) string { return s })
	if err := d.prepare(site); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../../examples")); err != nil {
		t.Fatal(err)
	}
	m := &manual{dir: dir, env: append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "TMPDIR="+dir,
		"BACKBONE_CONFIG="+filepath.Join(site, "backbone.toml"), "SMTP="+d.SMTP, "CONTROL="+d.Control)}
	for _, l := range bound {
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		m.bound = append(m.bound, f)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	m.start(t, "site")
	return m
}

func (m *manual) start(t *testing.T, site string) {
	t.Helper()
	var ls []net.Listener
	for _, f := range m.bound {
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	m.daemon = startDaemon(t, filepath.Join(m.dir, site), ls)
	t.Cleanup(func() { m.stop(t) })
	m.run(t, step{command: "backbone status --config " + site + "/backbone.toml", output: []string{"site SITEA..."}})
}

func (m *manual) stop(t *testing.T) {
	t.Helper()
	if m.daemon == nil {
		return
	}
	if err := m.daemon.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := m.daemon.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	m.daemon = nil
}

var systemctl = regexp.MustCompile(`^systemctl (stop|start) backbone(?:\s+# of (\S+))?$`)

// run runs a step; until its output and exit code are as the page says, or a minute is over, again when it only looks.
func (m *manual) run(t *testing.T, s step) {
	t.Helper()
	if c := systemctl.FindStringSubmatch(s.command); c != nil {
		if c[1] == "stop" {
			m.stop(t)
		} else {
			m.start(t, cmp.Or(c[2], "site"))
		}
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", s.command)
		cmd.Dir, cmd.Env = m.dir, m.env
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		code := 0
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatalf("line %d: %s: %v", s.line, s.command, err)
		}
		missing := missingLines(string(out), s.output)
		if code == s.exit && len(missing) == 0 {
			return
		}
		if !looks(s.command) || ctx.Err() != nil {
			t.Fatalf("line %d: $ %s\nexit %d, want %d; not printed: %q\n%s", s.line, s.command, code, s.exit, missing, out)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

var looking = regexp.MustCompile(`^(ls |cat |backbone (status|trace|probe|(queue|dest|connector|quarantine|directory|dirsync) (list|show|log|stats|status)))`)

func looks(command string) bool { return looking.MatchString(command) }

func missingLines(out string, want []string) []string {
	var missing []string
	for _, w := range want {
		var parts []string
		for _, p := range strings.Split(w, "...") {
			parts = append(parts, strings.Join(strings.Fields(p), " "))
		}
		for i := range parts {
			parts[i] = strings.ReplaceAll(regexp.QuoteMeta(parts[i]), " ", `\s+`)
		}
		if !regexp.MustCompile(`(?m)^\s*` + strings.Join(parts, `.*`) + `\s*$`).MatchString(out) {
			missing = append(missing, w)
		}
	}
	return missing
}
