package shadowpo

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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
