package queue

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"backbone/gateway/mail"
)

var (
	open     = &mail.Failure{Class: mail.Transient, Scope: mail.ScopeLink}
	transfer = &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.2.1"}
)

func TestDefaultSchedule(t *testing.T) {
	const m = time.Minute
	p := DefaultPolicy()
	for _, c := range []struct {
		name, typ string
		f         *mail.Failure
		want      []time.Duration // after the 1st, 2nd... failure
	}{
		{"SMTP opens at 15 min, 30 min, 1 h, then 4-hourly", "smtp", open, []time.Duration{15 * m, 30 * m, 60 * m, 240 * m, 240 * m}},
		{"SMTP transfers go by the same clock", "smtp", transfer, []time.Duration{15 * m, 30 * m, 60 * m, 240 * m}},
		{"an MTA opens every ten minutes, 144 times", "x400", open, []time.Duration{10 * m, 10 * m, 10 * m}},
		{"an MTA transfers twice after two minutes", "x400", transfer, []time.Duration{2 * m, 2 * m, 10 * m, 10 * m}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
			it := Item{Dest: Dest{"c", "h"}, Tries: map[string]int{}, Expires: now.Add(1000 * time.Hour)}
			for i, want := range c.want {
				it.Tries["c"] = i + 1
				if got := p.Next(&it, c.typ, c.f, now, nil).Sub(now); got != want {
					t.Errorf("after failure %d: waits %v, want %v", i+1, got, want)
				}
			}
		})
	}
}

func TestFirstMatchingRuleDecides(t *testing.T) {
	p := Policy{OpenInterval: time.Hour, Rules: []Rule{
		{Host: "*.greylisted.example", Enhanced: "4.2.%", Intervals: []time.Duration{time.Minute}},
		{Connector: "slow*", Intervals: []time.Duration{2 * time.Minute}},
		{Class: mail.Local, Intervals: []time.Duration{3 * time.Minute}},
		{Host: "no-intervals"},
	}}
	for _, c := range []struct {
		name string
		d    Dest
		f    *mail.Failure
		want time.Duration
	}{
		{"host and code", Dest{"slow1", "mx.greylisted.example"}, transfer, time.Minute},
		{"host without the code falls to the connector", Dest{"slow1", "mx.greylisted.example"}, open, 2 * time.Minute},
		{"class", Dest{"fast", "h"}, mail.LocalFault("disk", nil), 3 * time.Minute},
		{"none", Dest{"fast", "h"}, open, time.Hour},
		{"a rule without intervals is no rule", Dest{"fast", "no-intervals"}, open, time.Hour},
		{"no failure known", Dest{"fast", "h"}, nil, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Now()
			if got := p.Next(&Item{Dest: c.d}, "smtp", c.f, now, nil).Sub(now); got != c.want {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestNextIsNeverEarly: whatever the history, rule, peer's wish and jitter, the next attempt is at least the interval
// and the peer's RetryAfter away and at most a tenth more, unless the item expires before.
func TestNextIsNeverEarly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dur := func(label string, upTo time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(1, int64(upTo)).Draw(t, label))
		}
		r := Rule{}
		for range rapid.IntRange(1, 4).Draw(t, "intervals") {
			r.Intervals = append(r.Intervals, dur("interval", 8*time.Hour))
		}
		p := Policy{Rules: []Rule{r}, OpenInterval: time.Hour}
		now := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "now"), 0)
		n := rapid.IntRange(0, 400).Draw(t, "tries")
		it := Item{Dest: Dest{"c", "h"}, Tries: map[string]int{"c": n}, Expires: now.Add(dur("expires", 10*24*time.Hour))}
		f := &mail.Failure{Class: mail.Transient, RetryAfter: dur("retry after", 10*time.Hour)}
		u := rapid.Float64Range(0, 0.999999).Draw(t, "random")

		got := p.Next(&it, "smtp", f, now, func() float64 { return u })
		floor := max(r.after(n), f.RetryAfter)
		switch {
		case got.After(it.Expires):
			t.Fatalf("%v is after the expiry %v", got, it.Expires)
		case got.Before(now.Add(floor)) && !got.Equal(it.Expires):
			t.Fatalf("%v is earlier than %v after %v", got, floor, now)
		case got.Sub(now) > floor+floor/10:
			t.Fatalf("%v after now is more than a tenth over %v", got.Sub(now), floor)
		}
	})
}

func TestOpenWaitFollowsTheOpenRule(t *testing.T) {
	p := DefaultPolicy()
	if got := p.OpenWait("x400", 5, nil); got != 10*time.Minute {
		t.Errorf("x400: %v, want 10m", got)
	}
	if got := p.OpenWait("smtp", 3, func() float64 { return 0.5 }); got != time.Hour+3*time.Minute {
		t.Errorf("smtp, third failure, half the jitter: %v, want 1h3m", got)
	}
}

func TestExpiry(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	p := DefaultPolicy()
	for _, c := range []struct {
		name string
		env  mail.Envelope
		want time.Duration
	}{
		{"urgent", mail.Envelope{Priority: mail.Urgent}, 2 * day},
		{"normal", mail.Envelope{}, 7 * day},
		{"non-urgent", mail.Envelope{Priority: mail.NonUrgent}, 10 * day},
		{"a priority nobody knows is normal", mail.Envelope{Priority: 5}, 7 * day},
		{"latest delivery time", mail.Envelope{NotAfter: at.Add(time.Hour)}, time.Hour},
		{"latest delivery time beyond the policy", mail.Envelope{NotAfter: at.Add(30 * day)}, 7 * day},
		{"deferred delivery counts from its time", mail.Envelope{NotBefore: at.Add(3 * day)}, 10 * day},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.env.Arrived = at
			if got := p.ExpiresAt(&c.env).Sub(at); got != c.want {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestDelayNoticeIsDueOnce(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	p, it := DefaultPolicy(), Item{Envelope: mail.Envelope{Arrived: at}}
	if p.DelayDue(&it, at.Add(4*time.Hour-time.Second)) {
		t.Error("due a second early")
	}
	if !p.DelayDue(&it, at.Add(4*time.Hour)) {
		t.Error("not due after four hours")
	}
	it.Delayed = true
	if p.DelayDue(&it, at.Add(100*time.Hour)) {
		t.Error("due twice")
	}
	if (&Policy{}).DelayDue(&Item{}, at) {
		t.Error("due although it is switched off")
	}
}
