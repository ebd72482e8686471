package gateway_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"backbone/gateway"
	"backbone/queue"
)

// failedStore is one whose fsync has failed.
type failedStore struct {
	queue.Store
	failed atomic.Bool
	wake   chan struct{}
}

func (f *failedStore) Wake() <-chan struct{} { return f.wake }

func (f *failedStore) Return(ctx context.Context, ls []queue.Lease) error {
	if f.failed.Load() {
		return queue.ErrFatal
	}
	return f.Store.Return(ctx, ls)
}

func TestTheGatewayEndsWhenItsStoreTakesNoMoreWrites(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.stop()
		f := &failedStore{Store: r.store, wake: make(chan struct{}, 1)}
		r.o.Store = f
		g, err := gateway.New(r.o)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- g.Run(r.t.Context()) }()
		r.after(time.Hour)
		f.failed.Store(true)
		f.wake <- struct{}{}
		select {
		case err := <-ended:
			if !errors.Is(err, queue.ErrFatal) {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(time.Second):
			t.Error("it goes on, and nobody is told")
		}
		r.stop = func() {}
	})
}
