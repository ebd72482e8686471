package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"backbone/bench/load"
	"backbone/bench/report"

	"golang.org/x/sys/unix"
)

// bounds are what the machine gives, measured in the same run: mail straight from smtp-source to smtp-sink, and syncs of as
// much as that many sessions have under way.
type bounds struct {
	direct map[int]float64 // by sessions: messages a second
	load   map[int]float64 // CPU seconds a message of source and sink
	synced map[int]float64 // by sessions: messages a second
}

var limitsFound bounds

// limits measures the bounds.
func (b *bench) limits(ctx context.Context) error {
	limitsFound = bounds{direct: map[int]float64{}, load: map[int]float64{}, synced: map[int]float64{}}
	for _, sessions := range []int{10, 50, 1} {
		for range b.rounds {
			rate, cpu, err := b.direct(ctx, load.Mail{Sessions: sessions, Messages: b.n(20000), Size: 4096})
			if err != nil {
				return err
			}
			synced, err := b.syncRate(sessions, 4096)
			if err != nil {
				return err
			}
			b.say("  %2d sessions: source to sink %.0f/s, %.3f ms CPU a message; %.0f/s with a sync for each %d", sessions, rate, cpu*1e3, synced, sessions)
			limitsFound.direct[sessions] = max(limitsFound.direct[sessions], rate)
			limitsFound.load[sessions] = max(limitsFound.load[sessions], cpu)
			limitsFound.synced[sessions] = max(limitsFound.synced[sessions], synced)
		}
	}
	return nil
}

// direct sends without anything between.
func (b *bench) direct(ctx context.Context, m load.Mail) (rate, cpu float64, err error) {
	sink, err := load.StartSink(ctx, "")
	if err != nil {
		return 0, 0, err
	}
	took, source, err := load.Send(ctx, sink.Addr, m)
	if err == nil {
		err = sink.Wait(ctx, m.Messages)
	}
	sunk, serr := sink.Stop()
	n := float64(m.Messages)
	return n / took.Seconds(), (source + sunk).Seconds() / n, errors.Join(err, serr)
}

// syncRate writes batch blocks of size octets and one sync again and again, for a second, into a file that has its space.
// It returns blocks a second: what a perfect group commit would reach.
func (b *bench) syncRate(batch, size int) (rate float64, err error) {
	f, err := os.Create(filepath.Join(b.dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	const space = 64 << 20
	if err := unix.Fallocate(int(f.Fd()), 0, 0, space); err != nil {
		return 0, fmt.Errorf("fallocate: %w", err)
	}
	block := make([]byte, batch*size)
	began, n := time.Now(), 0
	for off := int64(0); time.Since(began) < time.Second; n += batch {
		if off+int64(len(block)) > space {
			off = 0
		}
		if _, err := f.WriteAt(block, off); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		off += int64(len(block))
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// distance adds the rows that say how far the gateway is from the machine's bounds, when they were measured.
func (b *bench) distance(sessions int, f figures) {
	if limitsFound.direct[sessions] == 0 {
		return
	}
	what := fmt.Sprintf("4 KB, %d session(s)", sessions)
	id := fmt.Sprintf("limit-%d", sessions)
	b.row(report.Row{ID: id + "-direct", Work: what + ": rate", Against: "source to sink"}, f.rate/limitsFound.direct[sessions])
	b.row(report.Row{ID: id + "-synced", Work: what + ": rate", Against: "sync rate times batch"}, f.rate/limitsFound.synced[sessions])
	b.row(report.Row{ID: id + "-cpu", Work: what + ": CPU a message", Against: "source and sink together", Less: true}, f.cpu/limitsFound.load[sessions])
}
