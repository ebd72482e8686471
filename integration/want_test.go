package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wanting is a site whose daemon will lack something, with a message in PO1's folder that is not offered yet.
type wanting struct {
	*site
	pid int
}

func newWanting(t *testing.T, dir string) *wanting {
	t.Helper()
	s := alone(t, dir)
	var err error
	if s.log, err = os.Create(filepath.Join(t.TempDir(), "daemon.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if text, err := os.ReadFile(s.log.Name()); t.Failed() && err == nil {
			t.Logf("%s", text)
		}
		if err := s.log.Close(); err != nil {
			t.Error(err)
		}
	})
	s.start()
	return &wanting{s, s.cmd.Process.Pid}
}

// write puts a file into PO1's folder under the name of one that is being written.
func (w *wanting) write(name, subject string) {
	w.t.Helper()
	text := message("NET/PO1/ASMITH", "NET/PO2/JLEE", subject, "Hello\r\n", nil)
	if err := os.WriteFile(filepath.Join(w.po("NET/PO1"), "submit", name+".WRT"), []byte(text), 0o640); err != nil {
		w.t.Fatal(err)
	}
}

// offer gives it its name. Neither needs a block nor a descriptor of the daemon's.
func (w *wanting) offer(name string) {
	w.t.Helper()
	submit := filepath.Join(w.po("NET/PO1"), "submit")
	if err := os.Rename(filepath.Join(submit, name+".WRT"), filepath.Join(submit, name+".MSG")); err != nil {
		w.t.Fatal(err)
	}
}

// whole checks what came of it all: the subjects at PO2, each once, nothing refused and nobody told of a failure.
func (w *wanting) whole(subjects ...string) {
	t := w.t
	t.Helper()
	count := func() map[string]int {
		got := map[string]int{}
		for _, f := range delivered(t, w.po("NET/PO2")) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(string(b), "\r\n") {
				if s, ok := strings.CutPrefix(line, "SUBJECT:"); ok {
					got[s]++
				}
			}
		}
		return got
	}
	until(t, time.Minute, "everything arrives", func() bool { return len(count()) >= len(subjects) })
	w.stop()
	got := count()
	for _, s := range subjects {
		if got[s] != 1 {
			t.Errorf("%q arrived %d times", s, got[s])
		}
	}
	if len(got) != len(subjects) {
		t.Errorf("at PO2: %v", got)
	}
	if back := delivered(t, w.po("NET/PO1")); len(back) > 0 {
		t.Errorf("PO1 was told something: %v", back)
	}
	bad, err := filepath.Glob(filepath.Join(w.po("NET/PO1"), "badmail", "*"))
	if err != nil || len(bad) > 0 {
		t.Errorf("in badmail: %v %v", bad, err)
	}
}

// forAWhile checks that SMTP refuses, and not for good.
func forAWhile(t *testing.T, err error) {
	t.Helper()
	var answer *textproto.Error
	if !errors.As(err, &answer) || answer.Code < 400 || answer.Code > 499 {
		t.Errorf("got %v, want a 4xx answer", err)
	}
}

// TestAFullDiskRefusesForAWhileAndNothingIsLost fills the filesystem under the running daemon, to the last block.
func TestAFullDiskRefusesForAWhileAndNothingIsLost(t *testing.T) {
	if out, err := exec.Command("../scripts/can-cut-power", "ext4").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s", strings.ReplaceAll(string(out), "POWER CUTS ARE", "A FULL DISK IS"))
		return
	}
	v := newVolume(t, "ext4")
	w := newWanting(t, v.mount)
	if err := sendSMTP(w.smtp, "before", "x\r\n", "IMCEAMS-NET_PO2_JLEE@sitea.example"); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "the first message arrives", func() bool { return len(delivered(t, w.po("NET/PO2"))) == 1 })
	w.write("M1", "while it is full")
	filler, err := os.Create(filepath.Join(v.mount, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := filler.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	w.offer("M1")
	forAWhile(t, sendSMTP(w.smtp, "not taken", strings.Repeat("x\r\n", 1000), "IMCEAMS-NET_PO2_JLEE@sitea.example"))
	until(t, time.Minute, "the drop says that it waits", func() bool {
		text, err := os.ReadFile(w.log.Name())
		return err == nil && strings.Contains(string(text), "no space left")
	})
	if out, err := w.try("queue", "list"); err != nil {
		t.Errorf("queue list: %v\n%s", err, out)
	}
	if err := errors.Join(filler.Close(), os.Remove(filler.Name())); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "SMTP takes mail again", func() bool {
		return sendSMTP(w.smtp, "after", "x\r\n", "IMCEAMS-NET_PO2_JLEE@sitea.example") == nil
	})
	w.whole("before", "while it is full", "after")
}

// TestADaemonWithoutDescriptorsRefusesForAWhileAndNothingIsLost takes from the running daemon the right to open anything more.
func TestADaemonWithoutDescriptorsRefusesForAWhileAndNothingIsLost(t *testing.T) {
	w := newWanting(t, t.TempDir())
	w.write("M1", "without descriptors")
	conn, err := net.DialTimeout("tcp", w.smtp, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := &textproto.Conn{Reader: textproto.Reader{R: bufio.NewReader(conn)}, Writer: textproto.Writer{W: bufio.NewWriter(conn)}}
	if _, _, err := c.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	var had unix.Rlimit
	if err := unix.Prlimit(w.pid, unix.RLIMIT_NOFILE, nil, &had); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(w.pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: had.Max}, nil); err != nil {
		t.Fatal(err)
	}
	w.offer("M1")
	// A body this large has a file of its own, which can't be opened.
	err = func() error {
		for _, line := range []string{"EHLO client.elsewhere.example", "MAIL FROM:<kim@elsewhere.example>", "RCPT TO:<IMCEAMS-NET_PO2_JLEE@sitea.example>", "DATA"} {
			if err := c.PrintfLine("%s", line); err != nil {
				return err
			}
			if _, _, err := c.ReadResponse(0); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(c.W, "Subject: not taken\r\n\r\n"+strings.Repeat("x\r\n", 400_000)+".\r\n"); err != nil {
			return err
		}
		if err := c.W.Flush(); err != nil {
			return err
		}
		_, _, err := c.ReadResponse(250)
		return err
	}()
	forAWhile(t, err)
	if err := unix.Prlimit(w.pid, unix.RLIMIT_NOFILE, &had, nil); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "SMTP takes mail again", func() bool {
		return sendSMTP(w.smtp, "after", "x\r\n", "IMCEAMS-NET_PO2_JLEE@sitea.example") == nil
	})
	w.whole("without descriptors", "after")
}
