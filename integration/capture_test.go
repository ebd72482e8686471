package integration

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// capturing is a tshark at work on the loopback interface.
type capturing struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	ended  chan error
	ports  []string
	file   string
	mark   *net.UDPConn // to whom marks are sent, so that they pass over the interface
}

// capture begins to capture what goes to and from TCP ports on the loopback interface. It returns once packets come in.
func capture(t *testing.T, addresses ...string) *capturing {
	t.Helper()
	c := &capturing{t: t, stderr: &bytes.Buffer{}, ended: make(chan error, 1), file: filepath.Join(t.TempDir(), "live.pcapng")}
	var err error
	if c.mark, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	filter := fmt.Sprintf("udp port %d", c.mark.LocalAddr().(*net.UDPAddr).Port)
	for _, a := range addresses {
		_, port, err := net.SplitHostPort(a)
		if err != nil {
			t.Fatal(err)
		}
		c.ports = append(c.ports, port)
		filter += " or tcp port " + port
	}
	// The buffer holds what comes while the disk is busy: one lost packet would spoil the test.
	c.cmd = exec.Command("tshark", "-q", "-n", "-i", "lo", "-B", "64", "-s", "0", "-w", c.file, "-f", filter)
	c.cmd.Stderr = c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("tshark can't be run: %v; `make peers` installs it", err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			c.cmd.Process.Kill()
			<-c.ended
		}
		c.mark.Close()
	})
	c.until("the capture has begun")
	return c
}

// until sends marks until one is in the file: then everything before it is there too.
func (c *capturing) until(mark string) {
	c.t.Helper()
	until(c.t, 30*time.Second, mark, func() bool {
		select {
		case err := <-c.ended:
			c.ended <- err
			c.t.Fatalf("tshark can't capture on the loopback interface, for which it must run as root or with CAP_NET_RAW and CAP_NET_ADMIN: %v\n%s", err, c.stderr)
		default:
		}
		if _, err := c.mark.WriteToUDP([]byte(mark), c.mark.LocalAddr().(*net.UDPAddr)); err != nil {
			c.t.Fatal(err)
		}
		b, err := os.ReadFile(c.file)
		return err == nil && bytes.Contains(b, []byte(mark))
	})
}

// end ends the capture and gives its file.
func (c *capturing) end() *recording {
	c.t.Helper()
	c.until("the capture is complete")
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		c.t.Fatal(err)
	}
	err := <-c.ended
	c.ended <- err
	if err != nil {
		c.t.Fatalf("tshark: %v\n%s", err, c.stderr)
	}
	if keep := os.Getenv("KEEP_CAPTURE"); keep != "" {
		b, err := os.ReadFile(c.file)
		if err == nil {
			err = os.WriteFile(filepath.Join(keep, strings.ReplaceAll(c.t.Name(), "/", "-")+".pcapng"), b, 0o600)
		}
		if err != nil {
			c.t.Error(err)
		}
	}
	return &recording{t: c.t, file: c.file, ports: c.ports}
}

// recording is a capture file as tshark reads it.
type recording struct {
	t     *testing.T
	file  string
	ports []string // of RFC 1006
}

// tshark decodes the recording.
func (r *recording) tshark(args ...string) string {
	r.t.Helper()
	all := []string{"-n", "-r", r.file}
	for _, p := range r.ports {
		all = append(all, "-d", "tcp.port=="+p+",tpkt")
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "tshark", append(all, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("tshark %v: %v\n%s", args, err, errs.String())
	}
	return out.String()
}

// row is what tshark shows of one packet, by field.
type row map[string][]string

// one is a field's first value.
func (r row) one(field string) string {
	if len(r[field]) == 0 {
		return ""
	}
	return r[field][0]
}

// rows gives fields of the packets that filter selects.
func (r *recording) rows(filter string, fields ...string) []row {
	r.t.Helper()
	args := []string{"-Y", filter, "-T", "fields", "-E", "separator=/t", "-E", "aggregator=\x1f"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	var out []row
	for line := range strings.Lines(r.tshark(args...)) {
		m := row{}
		for i, v := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			if v != "" {
				m[fields[i]] = strings.Split(v, "\x1f")
			}
		}
		out = append(out, m)
	}
	return out
}
