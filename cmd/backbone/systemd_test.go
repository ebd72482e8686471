package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backbone/integration/loopback"
)

// TestAServiceManagerIsToldAndItsSocketsAreUsed plays systemd: it binds SMTP and the control socket, starts the daemon with
// them, and listens to what the daemon says of itself until it has stopped.
func TestAServiceManagerIsToldAndItsSocketsAreUsed(t *testing.T) {
	dir := t.TempDir()
	site := embeddedSite
	site.Control, site.X400 = loopback.Port(t), loopback.Port(t)
	smtp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	site.SMTP = smtp.Addr().String()
	config, err := writeSite(dir, site)
	if err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "bound.sock")
	appendTo(t, config, "", func(s string) string {
		return strings.Replace(s, "[control]\n", fmt.Sprintf("[control]\nsocket = %q\n", sock), 1)
	})
	control, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()

	p := startDaemon(t, dir, []net.Listener{smtp, control}, "NOTIFY_SOCKET="+told.LocalAddr().String(), "WATCHDOG_USEC=300000")
	wait := func(want string) {
		t.Helper()
		if err := told.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		for {
			n, err := told.Read(buf)
			if err != nil {
				t.Fatalf("never told %s: %v", want, err)
			}
			if slices.Contains(strings.Split(string(buf[:n]), "\n"), want) {
				return
			}
		}
	}
	wait("READY=1")
	wait("WATCHDOG=1")
	wait("WATCHDOG=1")
	if got := greeting(t, site.SMTP); !strings.HasPrefix(got, "220 ") {
		t.Errorf("on the inherited SMTP socket: %q", got)
	}
	if code, _, errs := command(t, "", "status", "--config", config); code != 0 {
		t.Errorf("status over the inherited control socket: exit %d: %s", code, errs)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	wait("STOPPING=1")
	if err := p.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	if _, err := os.Stat(sock); err != nil {
		t.Errorf("the service manager's socket is gone: %v", err)
	}
}

// startDaemon starts `backbone serve` with sockets as sd_listen_fds(3) hands them over. The test's own copies are closed:
// from then on only the daemon answers there.
func startDaemon(t *testing.T, dir string, ls []net.Listener, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "backbone")
	if err := os.Symlink(exe, program); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	// Only the shell knows the process id that LISTEN_PID must have.
	p := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" serve --config "$1"`, program, filepath.Join(dir, "backbone.toml"))
	p.Env = append(os.Environ(), append(env, fmt.Sprintf("LISTEN_FDS=%d", len(ls)))...)
	log, err := os.OpenFile(filepath.Join(dir, "daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p.Stderr = log
	var files []*os.File
	for _, l := range ls {
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p.ExtraFiles = files
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, log) {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			p.Process.Kill()
			p.Wait()
		}
		if t.Failed() {
			t.Log(read(t, filepath.Join(dir, "daemon.log")))
		}
	})
	return p
}

func greeting(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// appendTo changes a file and adds text at its end.
func appendTo(t *testing.T, file, text string, change func(string) string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(change(read(t, file))+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestASocketIsKnownByItsAddress(t *testing.T) {
	tcp := func(s string) net.Addr { a, _ := net.ResolveTCPAddr("tcp", s); return a }
	for name, c := range map[string]struct {
		bound         net.Addr
		network, want string
		same          bool
	}{
		"the same address and port":              {tcp("127.0.0.1:25"), "tcp", "127.0.0.1:25", true},
		"another port":                           {tcp("127.0.0.1:25"), "tcp", "127.0.0.1:26", false},
		"another address":                        {tcp("127.0.0.1:25"), "tcp", "127.0.0.2:25", false},
		"every address, as systemd binds it":     {tcp("[::]:25"), "tcp", ":25", true},
		"every IPv4 address, as people write it": {tcp("[::]:25"), "tcp", "0.0.0.0:25", true},
		"one address is not every address":       {tcp("127.0.0.1:25"), "tcp", ":25", false},
		"every address is not one":               {tcp("[::]:25"), "tcp", "127.0.0.1:25", false},
		"IPv4 in IPv6":                           {tcp("[::ffff:10.0.0.1]:102"), "tcp", "10.0.0.1:102", true},
		"the control socket's path":              {&net.UnixAddr{Name: "/run/b.sock", Net: "unix"}, "unix", "/run/b.sock", true},
		"another path":                           {&net.UnixAddr{Name: "/run/b.sock", Net: "unix"}, "unix", "/run/c.sock", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sameAddress(c.bound, c.network, c.want); got != c.same {
				t.Errorf("%s is %s: %v, want %v", c.bound, c.want, got, c.same)
			}
		})
	}
}

// A socket that the configuration does not ask for must not swallow callers.
func TestASocketThatNobodyAskedForIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sockets{ls: []net.Listener{l}}
	if err := s.unused(slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String()); err == nil {
		t.Error(errors.Join(errors.New("somebody answers"), c.Close()))
	}
}
