package gateway_test

import (
	"context"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/queue"
)

// heldStore is a store whose settlements wait.
type heldStore struct {
	queue.Store
	goOn chan struct{}
}

func (s *heldStore) Settle(ctx context.Context, l queue.Lease, st queue.Settlement) error {
	<-s.goOn
	return s.Store.Settle(ctx, l, st)
}

// TestAWindowIsForTransfersNotForTheDiskAfterThem: with a window of one, the second message goes out while the first one's
// outcome is not durable yet; with one worker it does not.
func TestAWindowIsForTransfersNotForTheDiskAfterThem(t *testing.T) {
	for _, c := range []struct {
		name    string
		workers int
		want    int
	}{{"a second worker takes the next message", 2, 2}, {"workers bound what is not settled", 1, 1}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.close()
				goOn := make(chan struct{})
				r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) {
					o.Store = &heldStore{o.Store, goOn}
					o.Workers = c.workers
					for i := range o.Members {
						o.Members[i].Parallel = 1
					}
				})
				for range 3 {
					r.must("MS:NET/PO2/MKUMAR", func(s *connectors.Submission) { s.Envelope.ID = "" })
				}
				r.after(time.Second)
				r.expect("transfers while nothing settles", len(r.site.received()), c.want)
				close(goOn)
				r.after(time.Second)
				r.expect("transfers in the end", len(r.site.received()), 3)
				r.expect("waiting in the end", len(r.waiting()), 0)
			})
		})
	}
}
