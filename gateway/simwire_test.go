package gateway_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

// weather is how a far end behaves at present.
type weather int

const (
	fair     weather = iota
	sluggish         // takes everything, in up to 40 minutes
	mixed            // each recipient has his own luck: taken, busy, refused
	busy             // is there, and takes nothing now
	asks             // is there, and says when to come again
	dead             // can't be reached
	hangs            // can't be reached, and it takes minutes to find out
	broken           // the connector itself fails unexpectedly
	weathers
)

func (w weather) String() string {
	return [...]string{"fair", "sluggish", "mixed", "busy", "asks", "dead", "hangs", "broken"}[w]
}

// simHangs is how long it takes at most to find out that a far end which hangs can't be reached.
const simHangs = 15 * time.Minute

// simWire is a connector whose far ends have weather.
type simWire struct {
	name, typ string
	spaces    []address.Space
	hops      []string
	parallel  int
	ledger    *ledger
	seed      uint64
	node      string // whose it is
}

func simWires(t testing.TB, l *ledger, seed uint64, node string) []*simWire {
	ws := []*simWire{
		{name: "msmail", typ: "msmail", hops: []string{"NET/PO1"}, spaces: []address.Space{space(t, "MS:NET/PO1")}, parallel: 1, ledger: l, seed: seed},
		{name: "site", typ: "site", hops: []string{"SITEB"}, spaces: []address.Space{space(t, "MS:NET/PO2")}, parallel: 2, ledger: l, seed: seed},
		{name: "x400", typ: "x400", hops: []string{"MTAB"}, spaces: []address.Space{dearer(t, "MS:NET/PO2")}, parallel: 3, ledger: l, seed: seed},
		{name: "imc", typ: "smtp", hops: []string{"one.example", "two.example", "three.example"}, spaces: []address.Space{space(t, "SMTP:*")}, parallel: 2, ledger: l, seed: seed},
	}
	for _, w := range ws {
		w.node = node
	}
	return ws
}

func (w *simWire) Name() string            { return w.name }
func (w *simWire) Spaces() []address.Space { return w.spaces }

func (w *simWire) NextHop(a address.Address) (string, error) {
	switch {
	case w.typ == "smtp" && a.Type == address.SMTP:
		_, domain, _ := strings.Cut(a.Value, "@")
		return domain, nil
	case w.typ != "smtp" && a.Type == address.MS:
		return w.hops[0], nil
	}
	return "", mail.NoRoute(w.name + " does not lead there")
}

// luck is a number in [0,n) that the seed and the words decide, whatever ran before.
func (w *simWire) luck(n uint64, words ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, append([]any{w.seed, w.name}, words...)...)
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return (x ^ x>>33) % n
}

func (w *simWire) Deliver(ctx context.Context, t *connectors.Transfer) (out []mail.Outcome) {
	d := queue.Dest{Connector: w.name, Host: t.NextHop}
	sky := w.ledger.begin(w.node, d, t, w.parallel)
	defer func() { w.ledger.end(w.node, d, t, out) }()
	luck := func(n uint64, what ...any) uint64 {
		return w.luck(n, append([]any{t.Key, t.Attempt, time.Now().Unix()}, what...)...)
	}
	var took time.Duration
	switch {
	case sky == sluggish:
		took = time.Duration(luck(40*60)) * time.Second
	case sky == hangs:
		took = time.Minute + time.Duration(luck(uint64(simHangs/time.Minute)))*time.Minute
	case luck(3) == 0:
		took = time.Duration(luck(20)) * time.Second
	}
	if took > 0 {
		select {
		case <-ctx.Done():
			if luck(2) == 0 { // the cut came after the peer had taken it, but before it said so
				w.ledger.unheard(t)
			}
			return repeated(mail.LinkDown("cut off", ctx.Err()), len(t.Envelope.Recipients))
		case <-time.After(took):
		}
	}
	link := mail.LinkDown("no answer", nil)
	switch sky {
	case dead, hangs:
		return repeated(link, len(t.Envelope.Recipients))
	case broken:
		if luck(2) == 0 {
			panic("a mistake of the connector's")
		}
		return nil
	}
	for _, r := range t.Envelope.Recipients {
		o := mail.Outcome{State: mail.Delivered, Peer: "taken"}
		switch n := luck(10, r.Address.Value); {
		case sky == busy || sky == mixed && n < 4:
			o = mail.Outcome{State: mail.Deferred, Failure: simBusy}
		case sky == asks:
			f := *simBusy
			f.RetryAfter = time.Duration(1+luck(180)) * time.Minute
			o = mail.Outcome{State: mail.Deferred, Failure: &f}
		case sky == mixed && n < 5:
			o = mail.Outcome{State: mail.Failed, Failure: mail.UnknownRecipient("never heard of him")}
		case sky == mixed && n < 6:
			o.State = mail.Relayed
		}
		out = append(out, o)
	}
	return out
}

var simBusy = &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 450, Enhanced: "4.2.0", Diagnostic: -1, MSMail: 1, Text: "busy"}
