// Package load sends mail with Postfix's smtp-source and takes it with its smtp-sink, the two programs that everybody
// measures with. It owns their command lines and what they print.
package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"backbone/bench/mta"
)

// Mail is what to send.
type Mail struct {
	Sessions, Messages, Size int
	To                       string // default bulk@live.example
}

// Args is smtp-source's command line.
func (m Mail) Args(addr string) []string {
	to := m.To
	if to == "" {
		to = "bulk@live.example"
	}
	return []string{"-d", "-s", strconv.Itoa(m.Sessions), "-m", strconv.Itoa(m.Messages), "-l", strconv.Itoa(m.Size),
		"-f", "sender@from.example", "-t", to, addr}
}

// Send sends it to addr, over sessions that stay open. It returns how long that took and the CPU time of smtp-source. Any
// reply but success is an error.
func Send(ctx context.Context, addr string, m Mail) (took, cpu time.Duration, err error) {
	cmd := exec.CommandContext(ctx, "smtp-source", m.Args(addr)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = mta.OwnShare()
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("smtp-source: %w: %s", err, out.Bytes())
	}
	return time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// Sink is a running smtp-sink.
type Sink struct {
	Addr string
	cmd  *exec.Cmd
	out  *os.File
	at   int64
	n    int
	rest []byte

	ended chan struct{} // closed when the process has; then err is how
	err   error
}

// StartSink starts one at addr, or with addr "" at a port that is free, and waits until it greets. It counts into a file,
// which costs it a write a message and nobody a wake-up.
func StartSink(ctx context.Context, addr string) (*Sink, error) {
	if addr != "" {
		return startSink(ctx, addr)
	}
	for try := 0; ; try++ { // others on this machine look for free ports too
		addr, err := mta.FreePort()
		if err != nil {
			return nil, err
		}
		if s, err := startSink(ctx, addr); err == nil || try == 3 {
			return s, err
		}
	}
}

func startSink(ctx context.Context, addr string) (*Sink, error) {
	out, err := os.CreateTemp("", "sink")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(out.Name()); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	args := []string{"-c", "-m", "500", addr, "500"}
	if os.Getuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...) // it refuses to run as root
	}
	s := &Sink{Addr: addr, out: out, cmd: exec.Command("smtp-sink", args...), ended: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = mta.OwnShare()
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	go func() {
		defer close(s.ended)
		s.err = s.cmd.Wait()
	}()
	if err := s.greets(ctx); err != nil {
		_, serr := s.Stop()
		return nil, errors.Join(err, serr)
	}
	return s, nil
}

func (s *Sink) greets(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			said, err := io.ReadAll(io.NewSectionReader(s.out, 0, 1000))
			return errors.Join(fmt.Errorf("smtp-sink ended: %w: %s", s.err, said), err)
		case <-ctx.Done():
			return fmt.Errorf("smtp-sink at %s does not answer: %w", s.Addr, ctx.Err())
		case <-tick.C:
		}
		if mta.Greets(s.Addr) == nil {
			return nil
		}
	}
}

var counter = regexp.MustCompile(`mesg=(\d+)`)

// Count is how many messages it has taken.
func (s *Sink) Count() (int, error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.out.ReadAt(buf, s.at)
		s.at += int64(n)
		s.rest = append(s.rest, buf[:n]...)
		// Lines end with CR; the last one may be incomplete.
		if i := bytes.LastIndexByte(s.rest, '\r'); i >= 0 {
			if all := counter.FindAllSubmatch(s.rest[:i], -1); len(all) > 0 {
				v, err := strconv.Atoi(string(all[len(all)-1][1]))
				if err != nil {
					return 0, fmt.Errorf("smtp-sink: %w", err)
				}
				s.n = v
			}
			s.rest = append(s.rest[:0], s.rest[i+1:]...)
		}
		if errors.Is(err, io.EOF) {
			return s.n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// Wait waits until it has taken n messages in all.
func (s *Sink) Wait(ctx context.Context, n int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := s.Count()
		if err != nil || got >= n {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the sink has %d messages of %d: %w", got, n, ctx.Err())
		case <-s.ended:
			return fmt.Errorf("the sink ended with %d messages of %d: %w", got, n, s.err)
		case <-tick.C:
		}
	}
}

// Stop ends it and returns the CPU time that it took.
func (s *Sink) Stop() (cpu time.Duration, err error) {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	<-s.ended
	var exit *exec.ExitError
	if s.err != nil && !errors.As(s.err, &exit) {
		return 0, errors.Join(s.err, s.out.Close())
	}
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime(), s.out.Close()
}
