package gateway_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/mail"
)

// A new space at a lower cost takes mail that waits for the dearer link, and a shorter schedule is in force at once.
func TestNewSettingsAreInForceForMailThatAlreadyWaits(t *testing.T) {
	spare := &wire{name: "spare", typ: "x400", hop: "SITEB-MTA"}
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(time.Minute)
		r.expect("by the spare way", len(spare.received()), 0)
		links := []connectors.Common{{Name: "spare", Spaces: []connectors.Space{{Address: "MS:NET/PO2", Cost: 1}}}}
		if err := r.g.Apply(r.o.Settings, links); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		r.expect("by the spare way, after the change", len(spare.received()), 1)
		r.expect("spaces of the spare way", len(r.g.Spaces("spare")), 1)

		links[0].Spaces = nil
		if err := r.g.Apply(r.o.Settings, links); err != nil {
			t.Fatal(err)
		}
		r.must("MS:NET/PO2/JLEE", nil)
		r.after(time.Second)
		r.expect("by the spare way, after it was taken back", len(spare.received()), 1)
		r.expect("spaces of a post office, which are its nature", len(r.g.Spaces("msmail")), 1)
	}, spare)
}

func TestNewLimitsHoldForTheNextMessage(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.must("MS:NET/PO2/JLEE", nil)
		s := r.o.Settings
		s.MaxSize = 100
		if err := r.g.Apply(s, nil); err != nil {
			t.Fatal(err)
		}
		var f *mail.Failure
		if _, err := r.send("MS:NET/PO2/JLEE", nil); !errors.As(err, &f) || f.Enhanced != "5.3.4" {
			t.Errorf("500 octets and more where 100 are allowed: %v, want 5.3.4", err)
		}
	})
}

func TestSettingsForAConnectorThatIsNotThereChangeNothing(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.o.Settings
		s.MaxSize = 100
		err := r.g.Apply(s, []connectors.Common{{Name: "nobody"}})
		if unknown := gateway.NoConnector(""); !errors.As(err, &unknown) {
			t.Errorf("error %v, want NoConnector", err)
		}
		r.must("MS:NET/PO2/JLEE", nil)
	})
}

// slow is a way on which a transfer takes its time.
type slow struct {
	*wire
	takes time.Duration
}

func (s slow) Deliver(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	select {
	case <-time.After(s.takes):
		return s.wire.Deliver(ctx, t)
	case <-ctx.Done():
		return repeated(mail.LinkDown("broken off", ctx.Err()), len(t.Envelope.Recipients))
	}
}

func TestStoppingLetsATransferEndButNotForEver(t *testing.T) {
	for name, c := range map[string]struct {
		takes, drain time.Duration
		arrives      bool
	}{
		"a transfer that ends in time is finished":          {20 * time.Second, 30 * time.Second, true},
		"one that does not is broken off and stays queued":  {time.Hour, 30 * time.Second, false},
		"without a drain time everything is broken off":     {time.Second, 0, false},
		"what is waiting behind it does not begin any more": {time.Second, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := &rig{t: t, dir: dir}
				r.po1, r.site, r.imc = ways(t)
				way := slow{r.site, c.takes}
				r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) {
					o.Members[1].Connector, o.Members[1].Parallel, o.Drain = way, 1, c.drain
				})
				defer r.close()
				for range 3 {
					r.must("MS:NET/PO2/JLEE", nil)
				}
				synctest.Wait()
				began := time.Now()
				r.stop()
				r.stop = func() {}
				arrived, took := len(r.site.received()), time.Since(began)
				if took > max(c.takes, c.drain) || !c.arrives && took < c.drain {
					t.Errorf("stopping took %s", took)
				}
				if c.arrives {
					r.expect("arrived", arrived, 1)
					r.expect("left for the next process", len(r.waiting()), 2)
					return
				}
				r.expect("arrived", arrived, 0)
				r.expect("left for the next process", len(r.waiting()), 3)
			})
		})
	}
}
