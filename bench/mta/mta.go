package mta

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Options say how an agent is to run.
type Options struct {
	Dir  string // everything of it is below; the caller removes it
	Next string // host:port that takes all its mail
	// Dead, when set, is the host:port for mail to dead.example.
	Dead string
	// Trace, when set, is the file for strace's record of its sync calls and replies.
	Trace string
}

// Kind is an agent that can be run.
type Kind struct {
	Name string
	// Missing tells why it can't run here; "" when it can.
	Missing func() string
	Start   func(Options) (*Agent, error)
}

// Agent is one that runs.
type Agent struct {
	Name string
	Addr string // takes mail
	// Flush makes it try at once what waits for the next hop.
	Flush func() error
	// Stop ends it in good order.
	Stop func() error
	// Began is when its first process was started, Up when it answered a client first.
	Began, Up time.Time

	proc *process
	dir  string
}

// Use is what its processes have taken so far.
func (a *Agent) Use() (Use, error) { return Tree(a.proc.cmd.Process.Pid) }

// Kill ends it at once.
func (a *Agent) Kill() error { return a.proc.kill() }

// Log is the end of what it wrote, for messages to people.
func (a *Agent) Log() string {
	b, err := os.ReadFile(filepath.Join(a.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// FreePort is a loopback port that nobody uses at present.
func FreePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// run starts argv as the agent and waits until it greets.
func (a *Agent) run(o Options, patience time.Duration, argv ...string) error {
	a.dir = o.Dir
	log, err := os.OpenFile(filepath.Join(o.Dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	if o.Trace != "" {
		argv = append([]string{"strace", "-D", "-f", "-qq", "--seccomp-bpf", "-s", "48", "-e", "trace=fsync,fdatasync,sync,syncfs,msync,sync_file_range,write,sendto", "-o", o.Trace}, argv...)
	}
	a.Began = time.Now()
	if a.proc, err = start(log, argv...); err != nil {
		return err
	}
	if err := a.greeted(patience); err != nil {
		out, rerr := os.ReadFile(filepath.Join(o.Dir, "out"))
		return errors.Join(fmt.Errorf("%s: %w\n%s%s", a.Name, err, out, a.Log()), rerr, a.Kill())
	}
	a.Up = time.Now()
	return nil
}

// greeted waits until the agent answers a connection.
func (a *Agent) greeted(patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for last := error(nil); ; {
		if a.proc.ended() {
			return errors.New("it ended")
		}
		if last = Greets(a.Addr); last == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no greeting within %s: %w", patience, last)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// Greets connects and waits for 220.
func Greets(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	var b [3]byte
	if _, err := c.Read(b[:]); err != nil {
		return err
	}
	if string(b[:]) != "220" {
		return fmt.Errorf("greeted with %q", b)
	}
	_, err = c.Write([]byte("QUIT\r\n"))
	return err
}

// descendants are the processes below pid.
func descendants(pid int) ([]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	parent := map[int][]int{}
	for _, n := range names {
		if b, err := os.ReadFile(n); err == nil {
			if s, err := parseStat(b); err == nil {
				parent[s.parent] = append(parent[s.parent], s.pid)
			}
		}
	}
	var out []int
	for todo := parent[pid]; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], parent[p]...)
		out = append(out, p)
	}
	return out, nil
}
