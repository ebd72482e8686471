package mta

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Hold()
	os.Exit(m.Run())
}

func TestStatIsReadWhateverAProcessCallsItself(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want stat
		bad  bool
	}{
		"a plain one": {text: "42 (smtpd) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 5 6 7",
			want: stat{42, 7, 1100 * time.Millisecond}},
		"brackets and blanks in the name": {text: "42 (a) R 1 (b) S 7 42 42 0 -1 4194560 100 200 0 0 1 1 0 0 20 0 1 0 5 6 7",
			want: stat{42, 7, 20 * time.Millisecond}},
		"no name":      {text: "42 smtpd S 7", bad: true},
		"cut off":      {text: "42 (smtpd) S 7 42", bad: true},
		"not a number": {text: "42 (smtpd) S x 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(c.text))
			if (err != nil) != c.bad {
				t.Fatalf("error %v", err)
			}
			if !c.bad && got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestStatusFieldIsInOctets(t *testing.T) {
	text := []byte("Name:\tsmtpd\nRssAnon:\t    123 kB\nRssFile:\t 4 kB\n")
	if got := field(text, "RssAnon"); got != 123<<10 {
		t.Errorf("RssAnon is %d", got)
	}
	if got := field(text, "RssShmem"); got != 0 {
		t.Errorf("a field that is not there is %d", got)
	}
}

func TestTraceCountsSyncsThatCameBackAndRepliesWithoutOne(t *testing.T) {
	const text = `101 write(7, "354 Go ahead\r\n", 14) = 14
101 fdatasync(9) = 0
101 write(7, "250 2.0.0 Ok: queued as A\r\n", 27) = 27
102 fsync(8 <unfinished ...>
101 write(7, "250 2.0.0 Ok: queued as B\r\n", 27) = 27
102 <... fsync resumed>) = 0
102 fsync(8) = -1 EIO (Input/output error)
103 sendto(7, "250 OK id=1abc\r\n", 16, 0, NULL, 0) = 16
103 write(7, "250 2.1.5 Recipient ok\r\n", 24) = 24
`
	got, err := ReadTrace(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Syncs{Calls: 2, Replies: 3, Bare: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestNoProcessEscapesTheCount: what a process leaves behind when it ends is the holder's, and so is its CPU time.
func TestNoProcessEscapesTheCount(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Fatal(err)
	}
	// The shell leaves a child that works for a while, and ends.
	p, err := start(os.Stderr, "sh", "-c", `(i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 60) & exit 0`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.kill(); err != nil {
			t.Error(err)
		}
	}()
	deadline := time.Now().Add(30 * time.Second)
	for {
		u, err := Tree(p.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if u.CPU >= 20*time.Millisecond && u.Processes >= 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %+v is seen of a child that was left behind", u)
		}
		<-time.After(20 * time.Millisecond)
	}
	if p.ended() {
		t.Error("the holder ended before what it holds")
	}
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	if !p.ended() {
		t.Error("the holder outlives what it held")
	}
}
