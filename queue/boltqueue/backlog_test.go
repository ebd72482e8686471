package boltqueue

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"backbone/queue"
)

// fill queues n messages' items for d, due in an hour or now, a few hundred to a body so that it takes seconds.
func fill(t testing.TB, s *Store, d queue.Dest, n int, wait time.Duration) {
	t.Helper()
	const each = 200
	for ; n > 0; n -= each {
		its := make([]queue.Item, min(n, each))
		for i := range its {
			its[i] = message1(d)
			its[i].Next = its[i].Next.Add(wait)
		}
		if err := put1(s, make([]byte, 4<<10), its...); err != nil {
			t.Fatal(err)
		}
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestWaitingMailTakesNoMemory: what waits is in the index and the log, and costs the process nothing, neither while it
// arrives nor after a restart nor while it is listed.
func TestWaitingMailTakesNoMemory(t *testing.T) {
	const n = 20000
	o := Options{dir: fastDir(t)}
	s := openBench(t, o)
	fill(t, s, queue.Dest{Connector: "x"}, 200, time.Hour)
	before := heapInUse()
	fill(t, s, site, n, time.Hour)
	look := func(when string) {
		t.Helper()
		if grown := heapInUse() - before; grown > n*8 {
			t.Errorf("%s: %d messages take %d KiB of memory, %d octets each", when, n, grown>>10, grown/n)
		}
	}
	wait := time.Now().Add(10 * time.Second)
	for s.unsaved() && time.Now().Before(wait) {
		runtime.Gosched() // the transaction that is open until the next checkpoint holds what it will write
	}
	look("queued")
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	s = openBench(t, o)
	look("opened again")
	seen, at := 0, queue.Cursor("")
	for {
		page, next, err := s.List(context.Background(), queue.Filter{}, at, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if seen += len(page); next == "" {
			break
		}
		at = next
	}
	if seen != n+200 {
		t.Errorf("%d of %d are listed", seen, n+200)
	}
	look("listed")
	if ds, next := s.Due(time.Now(), 10); len(ds) != 0 || next.IsZero() {
		t.Errorf("due %v, next %v", ds, next)
	}
}

func (s *Store) unsaved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since > 0
}

// BenchmarkBesideDeadDestination measures a message's way while another destination has a backlog that can't move: the
// second figure should be within a tenth of the first.
func BenchmarkBesideDeadDestination(b *testing.B) {
	for _, backlog := range []int{0, 1000000} {
		b.Run(fmt.Sprint(backlog), func(b *testing.B) {
			s := openBench(b, Options{})
			fill(b, s, queue.Dest{Connector: "internet", Host: "dead.example"}, backlog, time.Hour)
			body := make([]byte, 4<<10)
			before := s.Stats()
			b.ResetTimer()
			done := make(chan struct{})
			go func() {
				defer close(done)
				drain(b, s, b.N, 16)
			}()
			spread(b, 10, func() error { return put1(s, body, message1(site)) })
			<-done
			b.StopTimer()
			report(b, s, before)
		})
	}
}

// BenchmarkOpen measures starting with a million messages queued, after a clean stop and after kill -9.
func BenchmarkOpen(b *testing.B) {
	for name, end := range map[string]func(*Store) error{"closed": (*Store).Close, "killed": (*Store).kill} {
		b.Run(name, func(b *testing.B) {
			o := Options{dir: b.TempDir()}
			s := openBench(b, o)
			fill(b, s, site, 1000000, time.Hour)
			for b.Loop() {
				b.StopTimer()
				if err := end(s); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				s = openBench(b, o)
			}
		})
	}
}

// BenchmarkList measures the first page and all of 100,000 messages.
func BenchmarkList(b *testing.B) {
	s := openBench(b, Options{})
	fill(b, s, site, 100000, time.Hour)
	for name, n := range map[string]int{"page of 100": 100, "all": 1 << 30} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for at, left := queue.Cursor(""), n; left > 0; {
					page, next, err := s.List(context.Background(), queue.Filter{}, at, min(left, 1000))
					if err != nil {
						b.Fatal(err)
					}
					left -= len(page)
					if at = next; at == "" {
						break
					}
				}
			}
		})
	}
}
