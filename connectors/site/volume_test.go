package site

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"backbone/connectors/connectortest"
	"backbone/gateway/mail"
)

func TestMemoryDoesNotGrowWithTheMessage(t *testing.T) {
	w := newWorld(t, nil)
	w.gw.DiscardContent()
	w.link.cfg.Peer = w.cfgB.Listen // not through the proxy
	const size = 50 << 20
	content := &connectortest.Synthetic{Length: size, Seed: 9}
	w.mustDeliver(transfer("warm", &connectortest.Synthetic{Length: 1 << 20}))
	var before, most uint64
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before = heap()
	done := make(chan mail.Outcome, 1)
	go func() { done <- w.link.Deliver(context.Background(), transfer("large", content))[0] }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	samples := 0
	for running := true; running; {
		select {
		case o := <-done:
			if o.State != mail.Delivered {
				t.Fatalf("got %s (%v)", o.State, o.Failure)
			}
			running = false
		case <-tick.C:
			samples++
			most = max(most, heap())
		}
	}
	if samples < 3 {
		t.Errorf("only %d looks at the heap", samples)
	}
	if grown := int64(most) - int64(before); grown > 8<<20 {
		t.Errorf("the heap grew by %d octets for a message of %d", grown, size)
	}
	got := w.gw.Taken()
	if last := got[len(got)-1]; last.Size != size || last.SHA256 != digest(t, content) {
		t.Errorf("%d octets arrived, hash %s", last.Size, last.SHA256)
	}
}

func digest(t testing.TB, c mail.Content) string {
	t.Helper()
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// BenchmarkSmallMessages hands over 1,000 messages of 2 KB for each operation, 32 at once.
func BenchmarkSmallMessages(b *testing.B) {
	w := newWorld(b, nil)
	w.gw.DiscardContent()
	content := connectortest.Bytes(connectortest.Message(2000, 1))
	for n := 0; b.Loop(); n++ {
		var wg sync.WaitGroup
		for worker := range 32 {
			wg.Go(func() {
				for i := worker; i < 1000; i += 32 {
					if o := w.link.Deliver(context.Background(), transfer(key("%d-%d", n, i), content))[0]; o.State != mail.Delivered {
						b.Errorf("%s (%v)", o.State, o.Failure)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkLargeMessage hands over 35 MB, the default limit.
func BenchmarkLargeMessage(b *testing.B) {
	w := newWorld(b, nil)
	w.gw.DiscardContent()
	content := connectortest.Bytes(connectortest.Octets(35<<20, 1))
	b.SetBytes(35 << 20)
	for n := 0; b.Loop(); n++ {
		w.mustDeliver(transfer(key("%d", n), content))
	}
}
