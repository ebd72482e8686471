package gateway

import (
	"context"
	"time"

	"backbone/queue"
)

// parkedSlice is how many entries of a destination are looked at in one round for mail that waits for nothing.
const parkedSlice = 10_000

// parkedLook finds mail that waits for a link which is up. Whoever sees a link recover, or a suspension end, fetches what
// waited for it; but where several gateways share the queue, mail waits for a link that was down at one of them, and that one
// may be gone, or may not have noticed in time. So each looks again every so often, wherever it takes the link itself for up.
type parkedLook struct {
	g  *Gateway
	at map[queue.Dest]queue.Cursor // how far long destinations were looked through in the last round
}

func (p *parkedLook) round(ctx context.Context, now time.Time) error {
	stats, err := p.g.o.Store.Dests(ctx)
	if err != nil {
		return err
	}
	at := map[queue.Dest]queue.Cursor{}
	for _, st := range stats {
		d := st.Dest
		if st.Ready == 0 || p.g.links.isDraining(d) || !p.g.memberState(d.Connector, d.Host, now).CanSend() {
			continue
		}
		found, rest, err := p.parked(ctx, d, p.at[d], now)
		if err != nil {
			return err
		}
		if rest != "" {
			at[d] = rest
		}
		if found {
			p.g.log.Info("mail waits for a link that is up: it is fetched", "dest", d.String())
			p.g.links.resume(d)
			p.g.wake()
		}
	}
	p.at = at
	return nil
}

// parked looks for an entry of d, from a cursor on, that waits for its link alone. rest is where the next round goes on.
func (p *parkedLook) parked(ctx context.Context, d queue.Dest, from queue.Cursor, now time.Time) (found bool, rest queue.Cursor, err error) {
	f := queue.Filter{Connector: d.Connector, Host: d.Host, State: queue.Ready}
	for n := 0; n < parkedSlice; {
		items, next, err := p.g.o.Store.List(ctx, f, from, 500)
		if err != nil {
			return false, "", err
		}
		for i := range items {
			if it := &items[i]; it.Dest == d && it.Next.After(now) && waitsForLink(it, now) { // what is due is leased anyway
				return true, "", nil
			}
		}
		if next == "" {
			return false, "", nil
		}
		n, from = n+len(items), next
	}
	return false, from, nil
}
