package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"backbone/integration/loopback"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	// A program with the race detector sleeps for a second when it ends, so that late races are seen. The scripts start it
	// hundreds of times, and what a command still does after its last word is no goroutine of ours.
	if err := os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=20"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(m, map[string]func(){"backbone": main})
}

// TestScripts runs an operator's commands as an operator does: the program itself, against a daemon of its own where one
// is needed. Beside testscript's commands the scripts have
//
//	exits CODE PROGRAM ARG...      run it; it must end with that code
//	site DIR [FILE]                make a site on free ports, its configuration followed by FILE
//	up DIR | down DIR              start the site's daemon | end it in good order
//	hup DIR                        send it SIGHUP
//	drop DIR NAME FILE             put FILE into the post office's submit folder as an agent does
//	within CODE PATTERN ARG...     backbone ARG... ends with CODE and prints PATTERN, now or within a minute
//	tarpit VARIABLE                HOST:PORT of a host that takes calls and never says a word
//	id VARIABLE ARG...             the first queue id of backbone queue list ARG...
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "site": makeSite, "up": up, "down": down, "hup": hup, "drop": dropFile, "within": within, "id": firstID, "tarpit": tarpit,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Setenv("BACKBONE_CONFIG", filepath.Join(e.WorkDir, "a", "backbone.toml"))
			return nil
		},
		RequireExplicitExec: true,
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := code(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func code(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

func makeSite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: site DIR [FILE]")
	}
	dir := ts.MkAbs(args[0])
	d := embeddedSite
	for _, port := range []*string{&d.Control, &d.SMTP, &d.X400} {
		addr, release, err := loopback.Reserve()
		ts.Check(err)
		*port = addr
		ts.Defer(func() { ts.Check(release()) })
	}
	ts.Setenv("SMTP", d.SMTP)
	ts.Setenv("CONTROL", d.Control)
	p, err := writeSite(dir, d)
	ts.Check(err)
	if len(args) == 2 {
		f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
		ts.Check(err)
		_, err = f.WriteString(ts.ReadFile(args[1]))
		ts.Check(errors.Join(err, f.Close()))
		ts.Check(d.prepare(dir))
	}
}

func up(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: up DIR")
	}
	config := filepath.Join(ts.MkAbs(args[0]), "backbone.toml")
	log, err := os.OpenFile(filepath.Join(ts.MkAbs(args[0]), "daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	exe, err := exec.LookPath("backbone")
	ts.Check(err)
	cmd := exec.Command(exe, "serve", "--config", config)
	cmd.Stderr = log
	ts.Check(cmd.Start())
	ts.Check(log.Close())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	dir := ts.MkAbs(args[0])
	running.Store(dir, daemon{cmd.Process, ended})
	ts.Defer(func() {
		if d, ok := running.LoadAndDelete(dir); ok { // the script has failed: it only must not stay
			d := d.(daemon)
			d.process.Kill()
			<-d.ended
			ts.Logf("%s", ts.ReadFile(filepath.Join(dir, "daemon.log")))
		}
	})
	wait(ts, "the daemon answers", func() bool {
		return exec.Command(exe, "status", "--config", config).Run() == nil
	})
}

type daemon struct {
	process *os.Process
	ended   chan error
}

// running are the scripts' daemons by site folder.
var running sync.Map

func hup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hup DIR")
	}
	v, ok := running.Load(ts.MkAbs(args[0]))
	if !ok {
		ts.Fatalf("%s is not up", args[0])
	}
	ts.Check(v.(daemon).process.Signal(syscall.SIGHUP))
}

func down(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: down DIR")
	}
	v, ok := running.LoadAndDelete(ts.MkAbs(args[0]))
	if !ok {
		ts.Fatalf("%s is not up", args[0])
	}
	d := v.(daemon)
	ts.Check(d.process.Signal(os.Interrupt))
	if err := <-d.ended; err != nil {
		ts.Fatalf("the daemon ended with %v\n%s", err, ts.ReadFile(filepath.Join(args[0], "daemon.log")))
	}
}

func wait(ts *testscript.TestScript, what string, ok func() bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("waited in vain: %s", what)
		}
	}
}

func dropFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: drop DIR NAME FILE")
	}
	submit := filepath.Join(ts.MkAbs(args[0]), "NET.PO1", "submit")
	text := strings.ReplaceAll(ts.ReadFile(args[2]), "\n", "\r\n")
	tmp := filepath.Join(submit, args[1]+".WRT")
	ts.Check(os.WriteFile(tmp, []byte(text), 0o600))
	ts.Check(os.Rename(tmp, filepath.Join(submit, args[1]+".MSG")))
}

func within(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: within CODE PATTERN ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	wait(ts, fmt.Sprintf("backbone %s prints %q", strings.Join(args[2:], " "), args[1]), func() bool {
		cmd := exec.Command("backbone", args[2:]...)
		cmd.Dir, cmd.Env = ts.Getenv("WORK"), append(os.Environ(), "BACKBONE_CONFIG="+ts.Getenv("BACKBONE_CONFIG"), "TMPDIR="+ts.Getenv("TMPDIR"))
		out, _ := cmd.Output() // its code is looked at
		return cmd.ProcessState.ExitCode() == want && strings.Contains(string(out), args[1])
	})
}

func tarpit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tarpit VARIABLE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes the calls
	ts.Check(err)
	ts.Defer(func() { ts.Check(l.Close()) })
	ts.Setenv(args[0], l.Addr().String())
}

func firstID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: id VARIABLE ARG...")
	}
	ts.Check(ts.Exec("backbone", append([]string{"queue", "list", "--json"}, args[1:]...)...))
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	var it struct{ ID string }
	ts.Check(json.Unmarshal([]byte(line), &it))
	ts.Setenv(args[0], it.ID)
}
