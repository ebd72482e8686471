package site

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"backbone/gateway/mail"
)

func newSpool(t *testing.T, dir string, count int, bytes int64) *spool {
	t.Helper()
	s, err := openSpool(dir, count, bytes, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put leaves n of size octets of a transfer in the spool.
func put(t *testing.T, s *spool, key string, n int, size int64) {
	t.Helper()
	p, err := s.claim(t.Context(), key, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := p.letGo(); err != nil {
		t.Fatal(err)
	}
}

// has tells how much of a transfer the spool has.
func has(t *testing.T, s *spool, key string, size int64) int64 {
	t.Helper()
	p, err := s.claim(t.Context(), key, size)
	if err != nil {
		t.Fatal(err)
	}
	n := p.received
	if err := p.letGo(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSpoolEvictsTheOldestAtItsBounds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		count int
		bytes int64
	}{{"by count", 3, 1 << 20}, {"by octets", 100, 350}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSpool(t, t.TempDir(), tt.count, tt.bytes)
			for _, k := range []string{"a", "b", "c"} {
				put(t, s, k, 10, 100)
			}
			put(t, s, "d", 10, 100)
			for k, want := range map[string]int64{"b": 10, "c": 10, "d": 10} {
				if got := has(t, s, k, 100); got != want {
					t.Errorf("%s has %d octets, want %d", k, got, want)
				}
			}
			if len(s.parts) != 3 || s.bytes != 300 {
				t.Errorf("%d parts of %d octets, want 3 of 300", len(s.parts), s.bytes)
			}
		})
	}
}

func TestSpoolRefusesWhenAllIsUnderWay(t *testing.T) {
	s := newSpool(t, t.TempDir(), 2, 1000)
	var held []*part
	for _, k := range []string{"a", "b"} {
		p, err := s.claim(t.Context(), k, 100)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, p)
	}
	_, err := s.claim(t.Context(), "c", 100)
	if f := mail.AsFailure(err); err == nil || f.Class != mail.Local || f.Code != 452 {
		t.Errorf("got %v, want a local failure 452", err)
	}
	for _, p := range held {
		if err := p.letGo(); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "c", 1, 100)
}

func TestSpoolSurvivesARestartWithinItsAge(t *testing.T) {
	dir := t.TempDir()
	s := newSpool(t, dir, 10, 1000)
	put(t, s, "young", 10, 100)
	put(t, s, "old", 10, 100)
	for name, p := range s.parts {
		if n := time.Now().Add(-2 * time.Hour); p.touched.After(n) && name != partName("young", 100) {
			if err := os.Chtimes(filepath.Join(s.dir, name), n, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "README"), []byte("not a part"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := newSpool(t, dir, 10, 1000)
	if got := has(t, again, "young", 100); got != 10 {
		t.Errorf("young has %d octets, want 10", got)
	}
	if got := has(t, again, "old", 100); got != 0 {
		t.Errorf("old has %d octets, want none", got)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "README")); err != nil {
		t.Errorf("a file that is not a part: %v", err)
	}
}

func TestSpoolDoesNotTrustAFileLongerThanAnnounced(t *testing.T) {
	s := newSpool(t, t.TempDir(), 10, 1000)
	put(t, s, "k", 50, 100)
	if err := os.WriteFile(filepath.Join(s.dir, partName("k", 100)), make([]byte, 101), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := s.claim(t.Context(), "k", 100)
	if err != nil {
		t.Fatal(err)
	}
	if p.received != 0 {
		t.Errorf("%d octets are believed, want none", p.received)
	}
	if err := p.write([]byte("fresh")); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(p.content()); err != nil || string(b) != "fresh" {
		t.Errorf("content %q, %v", b, err)
	}
	if err := p.letGo(); err != nil {
		t.Fatal(err)
	}
}

func TestSpoolThrowsAwayWhatItCouldNotWrite(t *testing.T) {
	s := newSpool(t, t.TempDir(), 10, 1000)
	p, err := s.claim(t.Context(), "k", 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0) // every write fails with ENOSPC
	if err != nil {
		t.Fatal(err)
	}
	if err := p.file.Close(); err != nil {
		t.Fatal(err)
	}
	p.file = full
	if err := p.write(make([]byte, 10)); err == nil {
		t.Fatal("a full disk took a write")
	}
	if err := p.letGo(); err != nil {
		t.Fatal(err)
	}
	if got := has(t, s, "k", 100); got != 0 || s.bytes != 0 {
		t.Errorf("%d octets are kept, %d counted; want none", got, s.bytes)
	}
}

func TestSpoolLetsTheSecondClaimWaitForTheFirst(t *testing.T) {
	s := newSpool(t, t.TempDir(), 10, 1000)
	first, err := s.claim(t.Context(), "k", 100)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.claim(short, "k", 100); !errors.Is(err, context.DeadlineExceeded) || mail.AsFailure(err).Class != mail.Transient {
		t.Errorf("got %v, want a transient failure after the wait", err)
	}
	got := make(chan int64)
	go func() {
		second, err := s.claim(context.Background(), "k", 100)
		if err != nil {
			got <- -1
			return
		}
		n := second.received
		if second.letGo() != nil {
			n = -2
		}
		got <- n
	}()
	if err := first.write(make([]byte, 30)); err != nil {
		t.Fatal(err)
	}
	if err := first.letGo(); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != 30 {
		t.Errorf("the second claim found %d octets, want 30", n)
	}
}
