package gateway

import (
	"context"
	"fmt"
	"io"
	"time"

	"backbone/gateway/mail"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// Reinstate puts an entry of a backup into the queue again, for the recipients that no entry stands for now, as it was:
// to be tried when it was due, or held. It keeps its identifier, so that its timeline goes on. What was delivered since the
// backup was made is delivered again: nobody but the operator can tell. It returns false when all recipients wait already.
// Content that is not what the entry names is refused.
func (g *Gateway) Reinstate(ctx context.Context, it queue.Item, content io.Reader, by, reason string) (bool, error) {
	waiting := map[string]bool{}
	if _, err := g.each(ctx, queue.Filter{Message: it.Envelope.ID}, func(q queue.Item) error {
		for _, r := range q.Envelope.Recipients {
			waiting[r.Address.Key()] = true
		}
		return nil
	}); err != nil {
		return false, err
	}
	var missing []mail.Recipient
	for _, r := range it.Envelope.Recipients {
		if !waiting[r.Address.Key()] {
			missing = append(missing, r)
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	body, err := g.o.Store.Stage(ctx, content, 0)
	if err != nil {
		return false, storeFailure(err)
	}
	if body.SHA256() != it.Body.SHA256 {
		return false, firstError(fmt.Errorf("entry %s: its content is not what was saved (SHA-256 %s, not %s)", it.ID, body.SHA256(), it.Body.SHA256), body.Discard())
	}
	it.Envelope.Recipients = missing
	if it.State != queue.Held {
		it.State = queue.Ready
	}
	now := time.Now()
	e := event(tracking.Restored, &it.Envelope)
	ids, _, err := g.o.Store.Put(ctx, queue.New{Body: body, Items: []queue.Item{it}})
	if err != nil {
		return false, storeFailure(err)
	}
	e.Time, e.Item, e.Dest, e.Recipients = now, ids[0].String(), it.Dest.String(), addresses(missing)
	e.Text = fmt.Sprintf("brought back from a backup by %s; it was entry %s", by, it.ID)
	if reason != "" {
		e.Text += ": " + reason
	}
	g.track(ctx, e)
	g.fetchParked([]queue.Item{it})
	g.wake()
	return true, nil
}
