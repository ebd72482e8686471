package mta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// holdEnv, set for a process, makes it a holder: see Hold.
const holdEnv = "BACKBONE_BENCH_HOLD"

// Hold must be called first in main, and in TestMain. In a process that start made it never returns: the process runs
// the agent as its child, adopts what the agent's children leave behind, and ends when the last of them has ended. So no
// process of an agent escapes the count, however it forks.
func Hold() {
	if os.Getenv(holdEnv) == "" {
		return
	}
	if err := hold(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "holder:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func hold(argv []string) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := os.Unsetenv(holdEnv); err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 4)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return err
	}
	go func() {
		for s := range stop {
			syscall.Kill(pid, s.(syscall.Signal)) //nolint:errcheck // it may have ended
		}
	}()
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); errors.Is(err, syscall.ECHILD) {
			return nil
		} else if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// process is a held command.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// start runs argv in a holder. Output goes to out.
func start(out io.Writer, argv ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, argv...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), holdEnv+"=1")
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = OwnShare()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait() //nolint:errcheck // how it ended shows in its log
	}()
	return p, nil
}

// OwnShare puts a command into a session of its own: Ctrl-C is for us, and the scheduler (autogroup, sched(7)) gives each
// session the same share of the processors, be it one process or a hundred. Without that, on a machine with other work,
// an agent of many processes would be measured on more of the machine than one of few.
func OwnShare() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// ended tells that the whole tree is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks the agent to end and waits for its whole tree.
func (p *process) stop(patience time.Duration) error {
	if p.ended() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("process %d did not end within %s", p.cmd.Process.Pid, patience), p.kill())
	}
}

// kill ends the whole tree at once.
func (p *process) kill() error {
	if p.ended() {
		return nil
	}
	// The group holds what did not make groups of its own; the holder goes last, when nothing is left to adopt.
	for range 50 {
		below, err := descendants(p.cmd.Process.Pid)
		if err != nil || len(below) == 0 {
			break
		}
		for _, pid := range below {
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}
