package shadowpo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"backbone/shadowpo/mmff"
)

// quiet opens a drop without a log, for measuring.
func quiet(b *testing.B) (*Drop, string) {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "NORTHWIND.PO1")
	if err := Create(dir, po1); err != nil {
		b.Fatal(err)
	}
	d, err := Open(dir, Options{PostOffice: po1, Stable: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	return d, dir
}

// BenchmarkDeliver writes 4 KB files with some callers at once: every file durable before Deliver returns.
func BenchmarkDeliver(b *testing.B) {
	body := strings.Repeat("0123456789abcdef", 256)
	for _, callers := range []int{1, 8, 32, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d, _ := quiet(b)
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for {
						i := n.Add(1)
						if i > int64(b.N) {
							return
						}
						if _, err := d.Deliver(context.Background(), Outbound{Key: fmt.Sprint(i), Write: func(w io.Writer) error {
							_, err := io.WriteString(w, body)
							return err
						}}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}

// BenchmarkWatch takes 4 KB files that lie ready, with a handler that costs nothing.
func BenchmarkWatch(b *testing.B) {
	text := message("bench")
	text = strings.Replace(text, "SUBJECT", "PRIORITY:3\r\nSUBJECT", 1) + strings.Repeat("\x1a", 1000)
	d, dir := quiet(b)
	for i := range b.N {
		put(b, dir, fmt.Sprintf("M%07d.MSG", i), text)
	}
	var n atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	b.ResetTimer()
	err := d.Watch(ctx, func(context.Context, *Inbound) error {
		if n.Add(1) == int64(b.N) {
			cancel()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

// BenchmarkRelay is drop to drop: 4 KB files taken from one and written to another, each under its own key.
func BenchmarkRelay(b *testing.B) {
	body := strings.Repeat("0123456789abcdef", 250)
	head, _, _ := strings.Cut(message("bench"), "TEXT:")
	text := fmt.Sprintf("%sTEXT:%d\r\n%s", head, len(body), body)
	for _, parallel := range []int{8, 50} {
		b.Run(fmt.Sprintf("parallel=%d", parallel), func(b *testing.B) {
			from, dir := quiet(b)
			from.opt.Parallel = parallel
			to, _ := quiet(b)
			for i := range b.N {
				put(b, dir, fmt.Sprintf("M%07d.MSG", i), text)
			}
			var n atomic.Int64
			ctx, cancel := context.WithCancel(context.Background())
			b.ResetTimer()
			err := from.Watch(ctx, func(ctx context.Context, in *Inbound) error {
				_, err := to.Deliver(ctx, Outbound{Key: in.Key, Write: func(w io.Writer) error {
					_, err := mmff.Encode(w, in.Message, mmff.EncodeOptions{})
					return err
				}})
				if n.Add(1) == int64(b.N) {
					cancel()
				}
				return err
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
			if got := files(b, to.Dir(), deliverDir); err != nil || len(got) != b.N {
				b.Fatalf("%d of %d delivered, %v", len(got), b.N, err)
			}
		})
	}
}

// BenchmarkFileSync is what the disk allows: a file of 4 KB made and synced, nothing else. Read the others beside it.
func BenchmarkFileSync(b *testing.B) {
	body := []byte(strings.Repeat("0123456789abcdef", 256))
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			dir := b.TempDir()
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
						if err == nil {
							_, err = f.Write(body)
							err = errors.Join(err, f.Sync(), f.Close())
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}
