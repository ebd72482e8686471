package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/queue/boltqueue"
	"backbone/queue/pgqueue/pgtest"
)

// BenchmarkGateways carries messages of 4 KiB through a queue: each is put, leased and settled, by some workers a gateway, or as a
// gateway does: one dispatcher leases for all workers that are free. The embedded store and one to three gateways on
// PostgreSQL are measured in one run, on the same disk, because only their ratios say anything (docs/scale.md).
func BenchmarkGateways(b *testing.B) {
	disk, err := pgtest.Start(os.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := disk.Remove(); err != nil {
			b.Error(err)
		}
	})
	for _, l := range []load{{workers: 8}, {workers: 32}, {workers: 32, dispatcher: true}} {
		b.Run("embedded/"+l.String(), func(b *testing.B) {
			s, err := boltqueue.Open(b.TempDir(), boltqueue.Options{Reserve: 1})
			if err != nil {
				b.Fatal(err)
			}
			carry(b, []queue.Store{s}, l, nil)
		})
		for n := 1; n <= 3; n++ {
			b.Run(fmt.Sprintf("postgres-%d/%s", n, l), func(b *testing.B) {
				name := fmt.Sprintf("bench%d", schemas.Add(1))
				if err := disk.Exec(b.Context(), "create schema "+name); err != nil {
					b.Fatal(err)
				}
				var stores []queue.Store
				for i := range n {
					s, err := Open(b.Context(), Options{DSN: disk.DSN() + "&search_path=" + name, Node: fmt.Sprint("gw", i)})
					if err != nil {
						b.Fatal(err)
					}
					stores = append(stores, s)
				}
				carry(b, stores, l, disk)
			})
		}
	}
}

// ours is this process's processor time in seconds.
func ours(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func carry(b *testing.B, stores []queue.Store, l load, server *pgtest.Server) {
	used := func() float64 {
		if server == nil {
			return 0
		}
		cpu, err := server.CPU()
		if err != nil {
			b.Fatal(err)
		}
		return cpu
	}
	theirs, mine := used(), ours(b)
	text := strings.Repeat("x", 4<<10)
	var left atomic.Int64
	left.Store(int64(b.N))
	var mu sync.Mutex
	var waits []time.Duration
	var wg sync.WaitGroup
	b.ResetTimer()
	var dispatchers sync.WaitGroup
	ctx, stop := context.WithCancel(b.Context())
	for i, s := range stores {
		settled := make([]chan error, l.workers)
		for w := range l.workers {
			settled[w] = make(chan error, 1)
			d := queue.Dest{Connector: "internet", Host: fmt.Sprintf("%d.%d.example", i, w)}
			if l.dispatcher {
				d.Host = fmt.Sprintf("%d.example", i)
			}
			wg.Go(func() {
				var mine []time.Duration
				for left.Add(-1) >= 0 {
					began := time.Now()
					err := one(b.Context(), s, d, w, text)
					if err == nil && l.dispatcher {
						err = <-settled[w]
					} else if err == nil {
						err = carryNext(b.Context(), s, d)
					}
					if err != nil {
						b.Error(err)
						return
					}
					mine = append(mine, time.Since(began))
				}
				mu.Lock()
				waits = append(waits, mine...)
				mu.Unlock()
			})
		}
		if l.dispatcher {
			dispatchers.Go(func() {
				if err := dispatch(ctx, s, queue.Dest{Connector: "internet", Host: fmt.Sprintf("%d.example", i)}, settled); err != nil {
					b.Error(err)
				}
			})
		}
	}
	wg.Wait()
	b.StopTimer()
	stop()
	dispatchers.Wait()
	b.ReportMetric((used()-theirs)*1e6/float64(b.N), "server-cpu-us")
	b.ReportMetric((ours(b)-mine)*1e6/float64(b.N), "gateway-cpu-us")
	for _, s := range stores {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}
	slices.Sort(waits)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "median-us")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "p99-us")
}

// load is what a gateway of the benchmark does.
type load struct {
	workers    int
	dispatcher bool
}

func (l load) String() string {
	if l.dispatcher {
		return fmt.Sprintf("dispatcher-%d", l.workers)
	}
	return fmt.Sprintf("workers-%d", l.workers)
}

// one puts a message, of a worker.
func one(ctx context.Context, s queue.Store, d queue.Dest, worker int, text string) error {
	g, err := s.Stage(ctx, strings.NewReader(text), 0)
	if err != nil {
		return err
	}
	now := time.Now()
	_, _, err = s.Put(ctx, queue.New{Body: g, Items: []queue.Item{{Dest: d, Next: now.Add(-time.Second), Expires: now.Add(time.Hour),
		Envelope: mail.Envelope{ID: fmt.Sprint(worker), Arrived: now, Recipients: []mail.Recipient{{Address: address.Address{Type: address.SMTP, Value: "bob@example.com"}}}}}}})
	return err
}

// carryNext leases a destination's next message and settles it.
func carryNext(ctx context.Context, s queue.Store, d queue.Dest) error {
	for {
		ls, err := s.Lease(ctx, d, "bench", 1, 10, time.Hour)
		if err != nil {
			return err
		}
		if len(ls) == 1 {
			return s.Settle(ctx, ls[0], queue.Settlement{})
		}
	}
}

// dispatch leases for all workers that are free until ctx ends, and tells each whose message was settled.
func dispatch(ctx context.Context, s queue.Store, d queue.Dest, settled []chan error) error {
	busy := make(chan struct{}, len(settled))
	for {
		select {
		case busy <- struct{}{}: // one is free
			<-busy
		case <-ctx.Done():
			return nil
		}
		wake := s.Wake()
		ls, err := s.Lease(ctx, d, "bench", cap(busy)-len(busy), cap(busy), time.Hour)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, queue.ErrNoRoom) {
			return err
		}
		for _, l := range ls {
			busy <- struct{}{}
			go func() {
				worker, err := strconv.Atoi(l.Envelope.ID)
				if err == nil {
					err = s.Settle(ctx, l, queue.Settlement{})
				}
				<-busy
				settled[worker] <- err
			}()
		}
		if len(ls) == 0 {
			select {
			case <-wake:
			case <-ctx.Done():
				return nil
			}
		}
	}
}
