package boltqueue

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

var site = queue.Dest{Connector: "internet", Host: "mx.example"}

// message is an item as a small mail gateway makes it.
func message1(d queue.Dest) queue.Item {
	now := time.Now()
	return queue.Item{
		Dest: d, State: queue.Ready, Next: now, Expires: now.Add(7 * 24 * time.Hour),
		Envelope: mail.Envelope{
			ID: "SITEA-01HQ8ZJ6N2RKW3T4", MessageID: "20260301120000.4711@mail.example.org", Kind: mail.KindMessage, Arrived: now,
			Subject: "Quarterly figures", Originator: address.Address{Type: address.SMTP, Value: "anna@example.org"},
			Recipients: []mail.Recipient{{Address: address.Address{Type: address.SMTP, Value: "bob@" + d.Host}}},
			Source:     mail.Source{Connector: "smtp", Peer: "192.0.2.7"}, Trace: []mail.Hop{{Site: "SITEA", At: now}},
		},
	}
}

func openBench(b testing.TB, o Options) *Store {
	b.Helper()
	if o.dir == "" {
		o.dir = b.TempDir()
	}
	s, err := Open(o.dir, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil && err != queue.ErrClosed {
			b.Error(err)
		}
	})
	return s
}

func put1(s *Store, body []byte, its ...queue.Item) error {
	g, err := s.Stage(context.Background(), bytes.NewReader(body), 0)
	if err != nil {
		return err
	}
	_, _, err = s.Put(context.Background(), queue.New{Body: g, Items: its})
	return err
}

// spread runs f b.N times in all on n goroutines.
func spread(b *testing.B, n int, f func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func report(b *testing.B, s *Store, before queue.Stats) {
	st := s.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(st.Syncs-before.Syncs)/float64(b.N), "syncs/msg")
}

// BenchmarkEnqueue measures Stage and Put, durable at return.
func BenchmarkEnqueue(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		for _, producers := range []int{1, 10, 64} {
			b.Run(fmt.Sprintf("%dKB/%d", size>>10, producers), func(b *testing.B) {
				s := openBench(b, Options{})
				body := make([]byte, size)
				b.SetBytes(int64(size))
				before := s.Stats()
				b.ResetTimer()
				spread(b, producers, func() error { return put1(s, body, message1(site)) })
				b.StopTimer()
				report(b, s, before)
			})
		}
	}
}

// BenchmarkCycle measures a message's whole way through the store: staged, put, leased, read, settled.
func BenchmarkCycle(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		for _, producers := range []int{1, 10, 50} {
			b.Run(fmt.Sprintf("%dKB/%d", size>>10, producers), func(b *testing.B) {
				s := openBench(b, Options{})
				body := make([]byte, size)
				before := s.Stats()
				b.ResetTimer()
				done := make(chan struct{})
				go func() {
					defer close(done)
					drain(b, s, b.N, 16)
				}()
				spread(b, producers, func() error { return put1(s, body, message1(site)) })
				<-done
				b.StopTimer()
				report(b, s, before)
			})
		}
	}
}

// drain leases, reads and settles n messages as a dispatcher with so many workers does.
func drain(t testing.TB, s *Store, n, workers int) {
	ctx := context.Background()
	jobs := make(chan queue.Lease)
	var wg sync.WaitGroup
	var idle atomic.Int64
	freed := make(chan struct{}, 1)
	idle.Store(int64(workers))
	for range workers {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for l := range jobs {
				r, err := s.Body(l.Body).Open()
				if err != nil {
					t.Error(err)
					return
				}
				for err == nil {
					_, err = r.Read(buf)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if err := s.Settle(ctx, l, queue.Settlement{}); err != nil {
					t.Error(err)
				}
				idle.Add(1)
				select {
				case freed <- struct{}{}:
				default:
				}
			}
		})
	}
	for n > 0 {
		wake := s.Wake()
		ds, _ := s.Due(time.Now(), 10)
		got := 0
		for _, d := range ds {
			ls, err := s.Lease(ctx, d, "drain", min(int(idle.Load()), n-got), queue.NoWindow, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			for _, l := range ls {
				idle.Add(-1)
				jobs <- l
			}
			got += len(ls)
		}
		n -= got
		if got > 0 || n == 0 {
			continue
		}
		select {
		case <-wake:
		case <-freed:
		}
	}
	close(jobs)
	wg.Wait()
}

// BenchmarkDrain measures the way out alone, with nothing coming in.
func BenchmarkDrain(b *testing.B) {
	s := openBench(b, Options{})
	body := make([]byte, 4<<10)
	spread(b, 64, func() error { return put1(s, body, message1(site)) })
	before := s.Stats()
	b.ResetTimer()
	drain(b, s, b.N, 16)
	b.StopTimer()
	report(b, s, before)
}
