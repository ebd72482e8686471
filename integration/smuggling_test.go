package integration

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/integration/loopback"
)

// falseEnds are what some servers have taken for the end of a message (CVE-2023-51764 and its kin, VU#302671), and the true one.
var falseEnds = []string{"\r\n.\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\n\n.\r\n", "\r\n..\r\n"}

// smuggle sends a message to rcpt that holds another one behind end, and counts what the server acknowledges.
func smuggle(t *testing.T, server, rcpt, subject, end string) (acknowledged int) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", server, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	reply := func() string {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%q: %v", end, err)
			}
			if len(line) > 3 && line[3] == ' ' {
				return line
			}
		}
	}
	reply()
	for _, cmd := range []string{"EHLO client.elsewhere.example", "MAIL FROM:<kim@elsewhere.example>", "RCPT TO:<" + rcpt + ">", "DATA"} {
		if _, err := io.WriteString(conn, cmd+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if line := reply(); line[0] > '3' {
			t.Fatalf("%s: %s", cmd, line)
		}
	}
	if _, err := fmt.Fprintf(conn, "Subject: %s\r\n\r\nbefore%sMAIL FROM:<eve@elsewhere.example>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: smuggled %[1]s\r\n\r\ninner\r\n.\r\nQUIT\r\n", subject, end, rcpt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil && !strings.Contains(err.Error(), "reset") { // it may have hung up on what it did not read
		t.Fatalf("%q: %v", end, err)
	}
	return strings.Count(string(rest), " queued as ")
}

// TestSmugglingThroughPostfix: gateway, Postfix, gateway. What one server acknowledges as one message is one message to the next,
// whatever stands in it; and so it is for what Postfix takes from the net itself.
func TestSmugglingThroughPostfix(t *testing.T) {
	outside := loopback.Port(t)
	a, b := pair(t, func(self, _ *site, selfName, _, _ string) string {
		text := smtpIn(self) + "line_ends = \"normalise\"\n"
		if selfName == "SITEA" {
			text += fmt.Sprintf("smarthost = [%q]\ntls = \"off\"\nencapsulate_domain = \"siteb.example\"\nspace = [ { address = \"MS:NET/PO2\" } ]\n", outside)
		}
		return text
	})
	p := startPostfix(t, outside, map[string]string{"siteb.example": b.smtp})
	want := 0
	for i, end := range falseEnds {
		subject := fmt.Sprintf("by the gateway %d", i)
		n := smuggle(t, a.smtp, "IMCEAMS-NET_PO2_MKUMAR@sitea.example", subject, end)
		if n != 1 {
			t.Errorf("%q: the gateway took %d messages", end, n)
		}
		want += n
		want += smuggle(t, p.addr, "IMCEAMS-NET_PO2_MKUMAR@siteb.example", fmt.Sprintf("by Postfix %d", i), end)
	}
	until(t, 2*time.Minute, "what was taken arrives", func() bool { return len(delivered(t, b.po("NET/PO2"))) >= want })
	until(t, time.Minute, "nothing waits any more", func() bool {
		return p.waiting() == 0 && strings.Trim(a.backbone("queue", "list", "--json"), "[] \n") == "" && strings.Trim(b.backbone("queue", "list", "--json"), "[] \n") == ""
	})
	files := delivered(t, b.po("NET/PO2"))
	if len(files) != want {
		t.Errorf("%d messages arrived, %d were acknowledged", len(files), want)
	}
	for _, f := range files {
		subject, text := field(t, f, "SUBJECT"), read(t, f)
		if strings.Contains(subject, "smuggled by the gateway") {
			t.Errorf("a message was smuggled through the gateway: %s", subject)
		}
		if strings.HasPrefix(subject, "by the gateway") && subject != "by the gateway 0" && !strings.Contains(text, "inner") {
			t.Errorf("%s is not whole:\n%s", subject, text)
		}
	}
}

// waiting counts what is in Postfix's queues.
func (p *postfix) waiting() (n int) {
	for _, queue := range []string{"incoming", "active", "deferred", "maildrop"} {
		err := filepath.WalkDir(filepath.Join(filepath.Dir(p.etc), "spool", queue), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return nil // files come and go meanwhile
		})
		if err != nil {
			p.t.Error(err)
		}
	}
	return n
}
