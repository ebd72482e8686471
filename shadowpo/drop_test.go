package shadowpo

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/shadowpo/droptest"
)

var po1 = address.MSMail{Net: "NORTHWIND", PO: "PO1"}

// newDrop makes a drop whose writers rename and whose waits are short.
func newDrop(t testing.TB, change func(*Options)) (*Drop, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "NORTHWIND.PO1")
	if err := Create(dir, po1); err != nil {
		t.Fatal(err)
	}
	return openDrop(t, dir, change), dir
}

func openDrop(t testing.TB, dir string, change func(*Options)) *Drop {
	t.Helper()
	opt := Options{PostOffice: po1, Stable: -1, Poll: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
	if change != nil {
		change(&opt)
	}
	d, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("closing drop: %v", err)
		}
	})
	return d
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// message is a small MMFF message with the given subject.
func message(subject string) string { return droptest.Message(subject) }

// put drops a file as a good writer does.
func put(t testing.TB, dir, name, text string) {
	t.Helper()
	tmp := filepath.Join(dir, submitDir, strings.TrimSuffix(name, filepath.Ext(name))+".WRT")
	if err := os.WriteFile(tmp, []byte(text), 0o660); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, submitDir, name)); err != nil {
		t.Fatal(err)
	}
}

// sink is a handler's other side: a store that knows every key it took.
type sink struct {
	mu       sync.Mutex
	keys     map[string]bool
	subjects []string
	err      func(in *Inbound) error
}

func (s *sink) take(_ context.Context, in *Inbound) error {
	if s.err != nil {
		if err := s.err(in); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = map[string]bool{}
	}
	if !s.keys[in.Key] {
		s.keys[in.Key] = true
		s.subjects = append(s.subjects, in.Message.Subject)
	}
	return nil
}

func (s *sink) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.subjects)
	slices.Sort(out)
	return out
}

// serve runs Watch until the test ends or stop is called.
func serve(t testing.TB, d *Drop, h Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.Watch(ctx, h); err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	once := sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(once)
	return once
}

// eventually polls for a condition that real files bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("still not: %s", what)
		case <-tick.C:
		}
	}
}

// files lists a folder of the drop.
func files(t testing.TB, dir, folder string) []string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range list {
		out = append(out, f.Name())
	}
	return out
}

func content(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, strings.NewReader(s))
		return err
	}
}

func TestSubmittedFilesAreTakenAndRemoved(t *testing.T) {
	d, dir := newDrop(t, nil)
	var s sink
	put(t, dir, "MMFF1.MSG", message("one"))
	put(t, dir, "mmff2.msg", message("two")+message("three"))
	serve(t, d, s.take)
	eventually(t, "three messages", func() bool { return len(s.got()) == 3 })
	put(t, dir, "MMFF1.MSG", message("four"))
	eventually(t, "four messages", func() bool { return len(s.got()) == 4 })
	eventually(t, "an empty folder", func() bool { return len(files(t, dir, submitDir)) == 0 })
	if got, want := s.got(), []string{"four", "one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDeliveredFileIsThereOnce(t *testing.T) {
	d, dir := newDrop(t, nil)
	ctx := context.Background()
	first, err := d.Deliver(ctx, Outbound{Key: "k1", Write: content(message("x"))})
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Deliver(ctx, Outbound{Key: "k1", Write: content("never written")})
	if err != nil || !again.Duplicate || again.File != first.File {
		t.Fatalf("got %+v, %v", again, err)
	}
	if got := files(t, dir, deliverDir); !slices.Equal(got, []string{first.File}) {
		t.Fatalf("got %v", got)
	}
	b, err := os.ReadFile(filepath.Join(dir, deliverDir, first.File))
	if err != nil || !bytes.Equal(b, []byte(message("x"))) {
		t.Fatalf("got %q, %v", b, err)
	}
}
