// Package pgtest runs PostgreSQL servers for tests: each in a folder of its own, on a port of 127.0.0.1 that stays its own, ended
// with the test binary or by kill -9 as the test asks. It needs Debian's postgresql-15 or later and fails without it.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/integration/loopback"
)

// Server is one PostgreSQL server.
type Server struct {
	Dir  string // its data
	Port int
	bin  string
	cmd  *exec.Cmd
	out  *bytes.Buffer
	done chan struct{}
	free func() error // gives the port back
}

// settings make a server small; what it answers is as durable as ever.
var settings = []string{
	"listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", "max_connections = 200", "shared_buffers = 64MB", "max_wal_senders = 10",
	"wal_level = replica", "hot_standby = on", "autovacuum_naptime = 5s", "log_min_messages = warning", "log_checkpoints = off",
	"max_wal_size = 512MB", "dynamic_shared_memory_type = mmap", "wal_sync_method = fdatasync", "wal_keep_size = 64MB",
}

// binaries finds the newest installed server.
func binaries() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err == nil && len(dirs) > 0 {
		slices.Sort(dirs)
		return filepath.Dir(dirs[len(dirs)-1]), nil
	}
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), nil
	}
	return "", errors.New("no PostgreSQL server is installed: run scripts/install-peers")
}

// asServer makes a command run as a user that PostgreSQL accepts: it refuses root.
func asServer(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	if os.Getuid() != 0 {
		return nil
	}
	uid, gid, err := serverUser()
	if err == nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return err
}

func serverUser() (uid, gid int, err error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return 0, 0, err
		}
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// folder makes the server's folder in dir, in memory when dir is "" and there is such a place.
func folder(dir string) (string, error) {
	if dir == "" {
		if _, err := os.Stat("/dev/shm"); err == nil {
			dir = "/dev/shm"
		}
	}
	d, err := os.MkdirTemp(dir, "backbone-pg-")
	if err != nil || os.Getuid() != 0 {
		return d, err
	}
	uid, gid, err := serverUser()
	if err != nil {
		return d, err
	}
	return d, os.Chown(d, uid, gid)
}

// Start makes and starts a server with further lines of configuration. dir is the folder to make its own in; "" is memory.
func Start(dir string, conf ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	d, err := folder(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: filepath.Join(d, "data"), bin: bin}
	if err := s.run("initdb", "-D", s.Dir, "-U", "backbone", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"); err != nil {
		return nil, errors.Join(err, os.RemoveAll(d))
	}
	if err := s.configure(append(slices.Clone(settings), conf...)...); err != nil {
		return nil, err
	}
	return s, s.Restart()
}

// Standby makes a copy of s that follows it, under the given name, and starts it.
func (s *Server) Standby(name string) (*Server, error) {
	d, err := folder(filepath.Dir(filepath.Dir(s.Dir)))
	if err != nil {
		return nil, err
	}
	b := &Server{Dir: filepath.Join(d, "data"), bin: s.bin}
	from := fmt.Sprintf("host=127.0.0.1 port=%d user=backbone application_name=%s", s.Port, name)
	if err := b.run("pg_basebackup", "-D", b.Dir, "-d", from, "-R", "-c", "fast", "-X", "stream"); err != nil {
		return nil, err
	}
	return b, b.Restart()
}

// configure adds lines to the server's configuration; they hold from its next start or Reload.
func (s *Server) configure(lines ...string) error {
	f, err := os.OpenFile(filepath.Join(s.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, strings.Join(lines, "\n"))
	return errors.Join(err, f.Close())
}

// Set changes settings of the running server.
func (s *Server) Set(ctx context.Context, lines ...string) error {
	if err := s.configure(lines...); err != nil {
		return err
	}
	return s.run("pg_ctl", "reload", "-D", s.Dir)
}

// Promote makes a standby the primary.
func (s *Server) Promote() error { return s.run("pg_ctl", "promote", "-w", "-t", "60", "-D", s.Dir) }

func (s *Server) run(program string, args ...string) error {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = "/"
	if err := asServer(cmd); err != nil {
		return err
	}
	cmd.SysProcAttr.Pdeathsig = 0
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// Restart starts the server, which must not run, and waits until it answers. Its port stays the one it had.
func (s *Server) Restart() error {
	if s.Port == 0 {
		addr, free, err := loopback.Reserve()
		if err != nil {
			return err
		}
		s.free = free
		_, port, _ := strings.Cut(addr, ":")
		if s.Port, err = strconv.Atoi(port); err != nil {
			return err
		}
	}
	return s.start()
}

func (s *Server) start() error {
	s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.Dir, "-p", strconv.Itoa(s.Port))
	s.out, s.done = &bytes.Buffer{}, make(chan struct{})
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = "/", s.out, s.out
	if err := asServer(s.cmd); err != nil {
		return err
	}
	s.cmd.SysProcAttr.Pdeathsig = 0 // the thread that starts it may end before the test does
	if err := s.cmd.Start(); err != nil {
		return err
	}
	done := s.done
	cmd := s.cmd
	go func() {
		defer close(done)
		if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "pgtest: wait:", err)
		}
	}()
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return fmt.Errorf("postgres ended: %s", s.out)
		case <-limit:
			return fmt.Errorf("postgres on port %d does not answer: %w", s.Port, s.ping())
		case <-tick.C:
			if s.ping() == nil {
				return nil
			}
		}
	}
}

func (s *Server) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// DSN names the server and its database.
func (s *Server) DSN() string {
	return fmt.Sprintf("postgres://backbone@127.0.0.1:%d/postgres?sslmode=disable", s.Port)
}

// Exec runs SQL as the server's owner.
func (s *Server) Exec(ctx context.Context, sql string) error {
	c, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return errors.Join(err, c.Close(ctx))
}

// Kill ends the server and all its processes at once, as a power cut of its host would, but for what the kernel holds.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server as an operator's restart does: what runs is broken off.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	kill := func(pid int, sig syscall.Signal) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			fmt.Fprintln(os.Stderr, "pgtest: kill:", err)
		}
	}
	pid := s.cmd.Process.Pid
	var others []int
	if sig == syscall.SIGKILL { // each of its processes leads a group of its own; stopped, it makes no more of them
		kill(pid, syscall.SIGSTOP)
		for !stopped(pid) {
			runtime.Gosched()
		}
		others = children(pid)
	}
	for _, p := range others {
		kill(p, sig)
	}
	kill(pid, sig)
	<-s.done
	s.cmd = nil
}

// CPU is the processor time in seconds that the server and all its processes have used, in steps of 10 ms each.
func (s *Server) CPU() (seconds float64, err error) {
	pid := s.cmd.Process.Pid
	for _, p := range append(children(pid), pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if errors.Is(err, os.ErrNotExist) {
			continue // counted with the postmaster's ended ones next time
		}
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		use := fields[11:13] // utime, stime (proc(5) 14, 15)
		if p == pid {
			use = fields[11:15] // and those of children that have ended
		}
		for _, f := range use {
			ticks, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return 0, err
			}
			seconds += ticks / 100
		}
	}
	return seconds, nil
}

// stopped tells a process that runs no longer: a signal is not there at once.
func stopped(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(rest, "T") || strings.HasPrefix(rest, "Z")
}

// children are the processes that a process has started.
func children(parent int) (pids []int) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, ok := strings.Cut(string(b), ") ") // the name, in brackets, may hold anything
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Remove ends the server and takes its folder away.
func (s *Server) Remove() error {
	s.Kill()
	err := os.RemoveAll(filepath.Dir(s.Dir))
	if s.free != nil {
		err = errors.Join(err, s.free())
	}
	return err
}
