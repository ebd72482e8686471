package gateway_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/mail"
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

// crowded is a store shared with gateways that fill the window of one connector's destinations while full is set.
type crowded struct {
	queue.Store
	connector string
	full      atomic.Bool
	asked     atomic.Int64
}

func (s *crowded) others(d queue.Dest, room int) error {
	if d.Connector != s.connector || room == queue.NoWindow {
		return nil
	}
	s.asked.Add(1)
	if s.full.Load() {
		return queue.ErrNoRoom
	}
	return nil
}

func (s *crowded) Lease(ctx context.Context, d queue.Dest, owner string, n, room int, ttl time.Duration) ([]queue.Lease, error) {
	if err := s.others(d, room); err != nil {
		return nil, err
	}
	return s.Store.Lease(ctx, d, owner, n, room, ttl)
}

func (s *crowded) LeaseWaiting(ctx context.Context, d queue.Dest, owner string, after queue.ID, n, room int, ttl time.Duration) ([]queue.Lease, error) {
	if err := s.others(d, room); err != nil {
		return nil, err
	}
	return s.Store.LeaseWaiting(ctx, d, owner, after, n, room, ttl)
}

// crowd starts the site again on a store whose others fill windows of the way to NET/PO2.
func (r *rig) crowd(change ...func(*gateway.Options)) *crowded {
	r.close()
	s := &crowded{connector: r.site.name}
	r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) {
		s.Store = o.Store
		o.Store = s
		for _, f := range change {
			f(o)
		}
	})
	return s
}

// TestAWindowThatOthersFillIsLookedAtNowAndThen, after a second, then after two, four and each eight, however much else goes on;
// what waits for it goes soon after there is room.
func TestAWindowThatOthersFillIsLookedAtNowAndThen(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.crowd()
		s.full.Store(true)
		r.must("MS:NET/PO2/MKUMAR", nil)
		s.asked.Store(0)
		began := time.Now()
		for time.Since(began) < 30*time.Second {
			r.must("SMTP:kim@one.example", nil)
		}
		r.expect("meanwhile others get their mail", len(r.imc.received()) > 100, true)
		if n := s.asked.Load(); n < 4 || n > 6 {
			t.Errorf("asked %d times in 30 s", n)
		}
		s.full.Store(false)
		r.after(8 * time.Second)
		r.expect("when there is room", len(r.site.received()), 1)
	})
}

// slowWire is a wire whose transfers take until goOn closes.
type slowWire struct {
	*wire
	goOn chan struct{}
}

func (w *slowWire) Deliver(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	<-w.goOn
	return w.wire.Deliver(ctx, t)
}

// TestAPlaceOfOursIsTakenAtOnce although a moment ago others left none.
func TestAPlaceOfOursIsTakenAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		slow := &slowWire{r.site, make(chan struct{})}
		s := r.crowd(func(o *gateway.Options) { o.Members[1].Connector = slow })
		r.must("MS:NET/PO2/MKUMAR", nil)
		s.full.Store(true)
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(300 * time.Millisecond)
		s.full.Store(false)
		close(slow.goOn)
		r.settle()
		r.expect("delivered", len(r.site.received()), 2)
	})
}

// TestALinkThatIsDownIsTriedWhenOthersLeaveRoom, and its mail is fetched then.
func TestALinkThatIsDownIsTriedWhenOthersLeaveRoom(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.crowd()
		r.site.says(&mail.Failure{Class: mail.Transient, Scope: mail.ScopeLink, Text: "not answering"})
		for range 3 {
			r.must("MS:NET/PO2/MKUMAR", nil)
		}
		r.site.says(nil)
		s.full.Store(true)
		s.asked.Store(0)
		r.after(time.Hour)
		r.expect("while others fill the window", len(r.site.received()), 0)
		if n := s.asked.Load(); n == 0 || n > 3600/8 {
			t.Errorf("asked %d times in an hour", n)
		}
		s.full.Store(false)
		r.after(9 * time.Second)
		r.expect("when there is room", len(r.site.received()), 3)
	})
}
