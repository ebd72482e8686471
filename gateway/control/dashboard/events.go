package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"backbone/gateway/control"
)

const (
	lookEvery = 2 * time.Second
	pingEvery = 20 * time.Second
)

// events is the stream that tells a page to fetch itself anew: one "changed" event whenever what pages show has
// changed, at most one in two seconds. It carries no data. It ends with the daemon, the request, or the session.
func (d *Dashboard) events(ctx context.Context, v *visit) error {
	select {
	case d.streams <- struct{}{}:
		defer func() { <-d.streams }()
	default:
		return &control.Error{Status: http.StatusServiceUnavailable, Text: "Too many pages are open."}
	}
	rc := http.NewResponseController(v.w)
	v.w.Header().Set("Content-Type", "text/event-stream")
	send := func(text string) error {
		if _, err := fmt.Fprint(v.w, text); err != nil {
			return err
		}
		return rc.Flush()
	}
	if err := send("retry: 3000\n\n"); err != nil {
		return nil // the browser has gone; so below
	}
	look, ping := time.NewTicker(lookEvery), time.NewTicker(pingEvery)
	defer look.Stop()
	defer ping.Stop()
	last := d.digest()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.r.Context().Done():
			return nil
		case <-ping.C:
			if v.signedIn {
				if _, ok := d.sessions.find(v.id); !ok {
					return nil
				}
			}
			if err := send(": still here\n\n"); err != nil {
				return nil
			}
		case <-look.C:
			now := d.digest()
			if now == last {
				continue
			}
			last = now
			if err := send("event: changed\ndata: \n\n"); err != nil {
				return nil
			}
		}
	}
}

// digest changes when something that pages show has: cheap, from counters.
func (d *Dashboard) digest() string {
	st := d.s.Store.Stats()
	var written int64
	if d.s.Tracking != nil {
		written = d.s.Tracking.Stats().Written
	}
	text, err := json.Marshal([]any{st.Ready, st.Leased, st.Held, st.Trash, st.Puts, d.s.Store.Suspensions(), len(d.s.Gateway.Links()), written})
	if err != nil {
		return err.Error()
	}
	return string(text)
}
