package boltqueue

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/queue"
)

var kills = flag.Int("kills", 4, "how often TestKill kills its child")

// childDir in the environment makes this program the child that TestKill kills.
const childDir = "BOLTQUEUE_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func killOptions(dir string) Options {
	return Options{dir: dir, segmentSize: 256 << 10, bodyLimit: 8 << 10, opsLimit: 200, checkpoint: 20 * time.Millisecond}
}

func killText(n int) string { return strings.Repeat(fmt.Sprintf("message %d. ", n), 1+n%1500) }

// child puts and settles messages until it is killed, and says on standard output what was answered: "put N", "try N"
// before an attempt settles, "end N" after.
func child(dir string) error {
	s, err := Open(dir, killOptions(dir))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(what string, n int) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stdout, "%s %d\n", what, n) // one write call: a line is whole, or was never said
	}
	fail := make(chan error)
	base := int(s.numbers.Load()) * 10
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				n := base + 4*i + w
				it := message1(site)
				it.Envelope.MessageID = fmt.Sprint(n)
				if err := put1(s, []byte(killText(n)), it); err != nil {
					fail <- err
					return
				}
				say("put", n)
			}
		}()
		go func() {
			for {
				ls, err := s.Lease(context.Background(), site, "child", 1, queue.NoWindow, time.Hour)
				if err != nil {
					fail <- err
					return
				}
				for _, l := range ls {
					var n int
					if _, err := fmt.Sscan(l.Envelope.MessageID, &n); err != nil {
						fail <- err
						return
					}
					if n%7 == 0 {
						continue // an attempt that never ends
					}
					say("try", n)
					if err := s.Settle(context.Background(), l, queue.Settlement{}); err != nil {
						fail <- err
						return
					}
					say("end", n)
				}
				if len(ls) == 0 {
					<-s.Wake()
				}
			}
		}()
	}
	return <-fail
}

// TestKill kills a process with -9 in the middle of its work, again and again on the same store, and compares what it
// said with what is there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	said := map[string]string{} // message: the last thing that was said of it
	for round := range *kills {
		runChild(t, dir, said)
		s, err := Open(dir, killOptions(dir))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if bad, err := s.Check(context.Background()); err != nil || len(bad) > 0 {
			t.Errorf("round %d: check: %q, %v", round, bad, err)
		}
		compare(t, s, said)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
		end := s.Close
		if round%2 == 1 {
			end = s.kill
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d messages through %d kills", len(said), *kills)
	if len(said) < 10**kills {
		t.Errorf("only %d messages in %d rounds: nothing was tried", len(said), *kills)
	}
}

func runChild(t *testing.T, dir string, said map[string]string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	var timer *time.Timer
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if timer == nil { // from its first word on it has so long to live
			timer = time.AfterFunc(time.Duration(50+rand.IntN(200))*time.Millisecond, func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			})
		}
		what, n, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			t.Fatalf("the child said %q", line)
		}
		if order[what] > order[said[n]] { // several goroutines speak: "put" may come after "end"
			said[n] = what
		}
	}
	err = cmd.Wait()
	if timer == nil || stderr.Len() > 0 {
		t.Fatalf("the child ended by itself: %v\n%s", err, stderr.String())
	}
}

var order = map[string]int{"put": 1, "try": 2, "end": 3}

func compare(t *testing.T, s *Store, said map[string]string) {
	t.Helper()
	there := map[string]queue.Item{}
	at := queue.Cursor("")
	for {
		items, next, err := s.List(context.Background(), queue.Filter{}, at, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			there[it.Envelope.MessageID] = it
			var n int
			if _, err := fmt.Sscan(it.Envelope.MessageID, &n); err != nil {
				t.Fatal(err)
			}
			if text, err := readAll(s, it); err != nil || text != killText(n) {
				t.Errorf("message %d: %d octets of %d, %v", n, len(text), len(killText(n)), err)
			}
			if it.State != queue.Ready {
				t.Errorf("message %d is %s after the crash", n, it.State)
			}
		}
		if next == "" {
			break
		}
		at = next
	}
	for n, what := range said {
		it, ok := there[n]
		switch {
		case what == "put" && !ok:
			t.Errorf("message %s was answered and is gone", n)
		case what == "end" && ok:
			t.Errorf("message %s had ended and is back", n)
		case what == "try" && ok && !it.Unknown:
			t.Errorf("message %s was being tried, but its outcome is not unknown", n)
		case what == "try" && !ok:
			said[n] = "end" // it ended, only nobody was told
		}
	}
}
