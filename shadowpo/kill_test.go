package shadowpo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const childEnv = "BACKBONE_DROP_TEST_RELAY"

func TestMain(m *testing.M) {
	if dirs := os.Getenv(childEnv); dirs != "" {
		if err := relay(strings.Split(dirs, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
		code = 1
	}
	os.Exit(code)
}

// relay is a gateway of one line: what one drop submits, the other is to collect, under the same key.
func relay(dirs []string) error {
	var drops []*Drop
	for _, dir := range dirs {
		d, err := Open(dir, Options{PostOffice: po1, Stable: -1, Poll: 5 * time.Millisecond})
		if err != nil {
			return err
		}
		drops = append(drops, d)
	}
	fmt.Println("running")
	return drops[0].Watch(context.Background(), func(ctx context.Context, in *Inbound) error {
		_, err := drops[1].Deliver(ctx, Outbound{Key: in.Key, Write: func(w io.Writer) error {
			_, err := io.Copy(w, in.Raw())
			return err
		}})
		return err
	})
}

// A real process on a real disk, killed thirty times between drop and drop while writers and an agent go on.
func TestEachMessageGoesFromDropToDropOnceThoughTheGatewayIsKilled(t *testing.T) {
	base := t.TempDir()
	dirs := []string{filepath.Join(base, "A"), filepath.Join(base, "B")}
	for _, d := range dirs {
		must(t, Create(d, po1))
	}
	rng := rand.New(rand.NewSource(1))
	want, got, next := 0, map[string]int{}, 0
	submit := func(n int) { // a few names, used again and again as agents do
		for ; n > 0; n-- {
			name := fmt.Sprintf("MMFF%d.MSG", next%40)
			if _, err := os.Lstat(filepath.Join(dirs[0], submitDir, name)); err == nil {
				return
			}
			put(t, dirs[0], name, message(fmt.Sprint("m", want))+message(fmt.Sprint("m", want+1)))
			want, next = want+2, next+1
		}
	}
	collect := func() {
		for _, name := range files(t, dirs[1], deliverDir) {
			if strings.HasSuffix(name, extMessage) {
				path := filepath.Join(dirs[1], deliverDir, name)
				b, err := os.ReadFile(path)
				must(t, err)
				must(t, os.Remove(path))
				got[string(b)]++
			}
		}
	}
	for round := 0; ; round++ {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+strings.Join(dirs, "|"))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if round < 30 {
			submit(10)
			pause := time.NewTimer(time.Duration(rng.Intn(30)) * time.Millisecond)
			<-pause.C
		} else {
			eventually(t, "everything collected", func() bool { collect(); return len(got) >= want })
		}
		must(t, child.Process.Kill())
		if err := child.Wait(); err == nil {
			t.Fatal("the gateway ended by itself")
		}
		if rng.Intn(2) == 0 || round >= 30 {
			collect()
		}
		if round >= 30 {
			break
		}
	}
	if want < 100 {
		t.Errorf("only %d messages in 30 rounds", want)
	}
	for i := range want {
		if n := got[message(fmt.Sprint("m", i))]; n != 1 {
			t.Errorf("message %d was collected %d times", i, n)
		}
	}
	if len(got) != want {
		t.Errorf("collected %d different files, want %d", len(got), want)
	}
	for _, name := range files(t, dirs[0], submitDir) {
		if _, ext := splitName(name); ext != extClaimed && ext != extDone { // killed before the last of them was removed
			t.Errorf("submit has %s", name)
		}
	}
}
