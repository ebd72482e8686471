package gateway_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/queue"
)

func TestRetryNowTriesALinkBeforeItsTime(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		r.site.says(nil)
		n, err := r.g.Change(t.Context(), queue.Filter{Connector: "site"}, queue.Op{Verb: queue.RetryNow, By: "kim", Reason: "line is back"}, false)
		if err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
		r.settle()
		r.expect("delivered", len(r.site.received()), 1)
	})
}

func TestADryRunChangesNothing(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		before := r.waiting()[0]
		all := queue.Filter{}
		for name, verb := range map[string]func() (int, error){
			"delete":  func() (int, error) { return r.g.Change(t.Context(), all, queue.Op{Verb: queue.Delete}, true) },
			"bounce":  func() (int, error) { return r.g.Bounce(t.Context(), all, "kim", "no", true) },
			"reroute": func() (int, error) { return r.g.Reroute(t.Context(), all, "imc", "kim", "no", true) },
		} {
			if n, err := verb(); n != 1 || err != nil {
				t.Errorf("%s: %d, %v; want it to count one", name, n, err)
			}
		}
		after := r.waiting()
		if len(after) != 1 || after[0].State != before.State || !after[0].Next.Equal(before.Next) || after[0].Dest != before.Dest {
			t.Errorf("%+v is not %+v", after, before)
		}
	})
}

func TestBounceGivesTheOperatorsReason(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		if n, err := r.g.Bounce(t.Context(), queue.Filter{}, "kim", "PO2 has been closed", false); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		r.settle()
		reps := r.reports()
		if len(reps) != 1 || reps[0].Recipients[0].Action != dsn.Failed || !strings.Contains(reps[0].Recipients[0].Text, "PO2 has been closed") {
			t.Errorf("%+v, want an NDR with the reason", reps)
		}
	})
}

func TestAFixedWayIsKeptAgainstCostAndWhileItIsDown(t *testing.T) {
	second := &wire{name: "x400", typ: "x400", hop: "SITEB", spaces: []address.Space{dearer(t, "MS:NET/PO2")}}
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		second.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		if _, err := r.g.Reroute(t.Context(), queue.Filter{}, "nowhere", "kim", "", false); err == nil {
			t.Error("a connector that does not exist was taken")
		}
		reroute := func(connector string) {
			t.Helper()
			if n, err := r.g.Reroute(t.Context(), queue.Filter{}, connector, "kim", "test", false); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			r.settle()
		}
		reroute("imc")
		r.expect("an SMTP connector can't serve a post office: it stays", r.waiting()[0].Dest.Connector != "imc", true)
		reroute("x400")
		r.site.says(nil)
		r.after(time.Hour)
		r.expect("over the cheap way that is open again", len(r.site.received()), 0)
		r.expect("it waits for the fixed one", r.waiting()[0].Dest, "x400:SITEB")
		reroute("")
		r.after(time.Minute)
		r.expect("released from it", len(r.site.received()), 1)
	}, second)
}

func TestAFixedWayIsTakenAtOnce(t *testing.T) {
	second := &wire{name: "x400", typ: "x400", hop: "SITEB", spaces: []address.Space{space(t, "MS:NET/PO3")}}
	inBubble(t, func(r *rig) {
		r.site.says(&mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.2", Text: "busy"})
		r.must("MS:NET/PO2/JLEE", nil)
		if n, err := r.g.Reroute(t.Context(), queue.Filter{}, "x400", "kim", "test", false); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		r.settle()
		r.expect("without an address space that leads there", len(second.received()), 1)
	}, second)
}

func TestHeldMailIsNotTriedUntilReleased(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		change := func(v queue.Verb) {
			t.Helper()
			if n, err := r.g.Change(t.Context(), queue.Filter{Connector: "site"}, queue.Op{Verb: v, By: "kim", Reason: "asked for"}, false); n != 1 || err != nil {
				t.Fatal(v, n, err)
			}
		}
		change(queue.Hold)
		r.site.says(nil)
		r.after(24 * time.Hour)
		r.expect("while held", len(r.site.received()), 0)
		change(queue.Release)
		r.after(11 * time.Minute)
		r.expect("after release", len(r.site.received()), 1)
	})
}

func TestSuspendingWhatIsNotThereIsAnError(t *testing.T) {
	inBubble(t, func(r *rig) {
		if err := r.g.Suspend(t.Context(), queue.Suspension{Dest: queue.Dest{Connector: "nowhere"}}); err == nil {
			t.Error("suspended")
		}
		if err := r.g.Resume(t.Context(), queue.Dest{Connector: "site"}, "kim"); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
	})
}

// brokenStore fails as a disk does.
type brokenStore struct {
	queue.Store
	stage, put error
}

func (b *brokenStore) Stage(ctx context.Context, r io.Reader, max int64) (queue.Staged, error) {
	if b.stage != nil {
		return nil, b.stage
	}
	return b.Store.Stage(ctx, r, max)
}

func (b *brokenStore) Put(ctx context.Context, n queue.New) ([]queue.ID, bool, error) {
	if b.put != nil {
		return nil, false, errors.Join(b.put, n.Body.Discard())
	}
	return b.Store.Put(ctx, n)
}

func TestAFaultOfOurOwnIsNeverPermanentToAPeer(t *testing.T) {
	for _, c := range []struct {
		name string
		b    brokenStore
	}{
		{"body not stored", brokenStore{stage: os.ErrPermission}},
		{"message not stored", brokenStore{put: queue.ErrFatal}},
		{"disk full", brokenStore{put: queue.ErrFull}},
		{"closed", brokenStore{stage: queue.ErrClosed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.close()
				var b *brokenStore
				r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) {
					b = &c.b
					b.Store = o.Store
					o.Store = b
				})
				_, err := r.send("MS:NET/PO2/JLEE,MS:NET/PO9/NOBODY", nil)
				f := mail.AsFailure(err)
				if err == nil || f.Code/100 != 4 || !strings.HasPrefix(f.Enhanced, "4.") {
					t.Errorf("%v is %d %s to a peer, want 4xx", err, f.Code, f.Enhanced)
				}
				r.expect("reports", len(r.reports()), 0)
				b.stage, b.put = nil, nil
				r.must("MS:NET/PO2/JLEE", nil)
				r.expect("and recovers", len(r.site.received()), 1)
			})
		})
	}
}

// TestAFaultWhileRoutingIsNeverReportedOn: what keeps a connector from naming the next hop may pass, and must not end a
// recipient whom it would have served, at Accept or later. (The directory resolves from memory: there is nothing to fail.)
func TestAFaultWhileRoutingIsNeverReportedOn(t *testing.T) {
	for _, fault := range []error{
		os.ErrPermission, mail.LocalFault("table not read", os.ErrClosed),
		&mail.Failure{Class: mail.Transient, Scope: mail.ScopeLink, Code: 451, Enhanced: "4.4.3", MSMail: 5, Text: "try again"},
	} {
		t.Run(fault.Error(), func(t *testing.T) {
			// A second connector that will never serve the recipient does not make it final.
			second := &wire{name: "x400", typ: "x400", hop: "SITEB", spaces: []address.Space{dearer(t, "MS:NET/PO2")}, fault: mail.NoRoute("only calls us")}
			inBubble(t, func(r *rig) {
				r.site.faulty(fault)
				_, err := r.send("MS:NET/PO2/JLEE,MS:NET/PO9/NOBODY", nil)
				f := mail.AsFailure(err)
				if err == nil || f.Final() || f.Code/100 != 4 || !strings.HasPrefix(f.Enhanced, "4.") {
					t.Errorf("%v is %d %s to the source, want 4xx", err, f.Code, f.Enhanced)
				}
				f = mail.AsFailure(r.g.Screen(t.Context(), mail.Source{}, addr(t, "MS:NET/PO1/ASMITH"), addr(t, "MS:NET/PO2/JLEE")))
				if f == nil || f.Final() {
					t.Errorf("asked beforehand: %v", f)
				}
				r.expect("reports", len(r.reports()), 0)
				r.expect("waiting", len(r.waiting()), 0)
				r.site.faulty(nil)
				r.site.says(unplugged)
				r.must("MS:NET/PO2/JLEE", nil)
				r.site.says(nil)
				r.site.faulty(fault)
				r.after(3 * time.Hour)
				r.expect("reports on queued mail", len(r.reports()), 0)
				r.expect("queued mail", len(r.waiting()), 1)
				r.site.faulty(nil)
				r.after(time.Hour)
				r.expect("delivered", len(r.site.received()), 1)
			}, second)
		})
	}
}

func TestAConnectorThatFailsForReasonsThatPassHasItsMessageKept(t *testing.T) {
	for _, f := range []*mail.Failure{nil, mail.LocalFault("disk", os.ErrPermission), {Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.0", Text: "later"}} {
		inBubble(t, func(r *rig) {
			r.site.does(func(*connectors.Transfer) []mail.Outcome { return []mail.Outcome{{State: mail.Failed, Failure: f}} })
			r.must("MS:NET/PO2/JLEE", nil)
			r.expect("reports", len(r.reports()), 0)
			r.site.does(nil)
			r.after(24 * time.Hour)
			r.expect("delivered", len(r.site.received()), 1)
		})
	}
}

func TestThePostmastersMailboxIsAppendedWholeAndReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "postmaster.mbox")
	p := gateway.NewPostmasterFile(path)
	tr := &connectors.Transfer{
		Envelope: mail.Envelope{Originator: addr(t, "SMTP:kim@elsewhere.example"), Recipients: []mail.Recipient{{Address: addr(t, "SMTP:postmaster@sitea.example")}}},
		Content:  content("Subject: x\r\n\r\nFrom here on\r\n>From there\r\nlast without an end"),
	}
	for range 2 {
		if out := p.Deliver(t.Context(), tr); out[0].State != mail.Delivered {
			t.Fatalf("%+v", out)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Count(text, "\nFrom kim@elsewhere.example ")+1 != 2 || !strings.HasPrefix(text, "From kim@") {
		t.Errorf("not two messages:\n%s", text)
	}
	for _, want := range []string{"\n>From here on\n>>From there\nlast without an end\n\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	bad := gateway.NewPostmasterFile(filepath.Join(path, "below a file"))
	if out := bad.Deliver(t.Context(), tr); out[0].State != mail.Deferred || out[0].Failure.Class != mail.Local {
		t.Errorf("%+v, want it deferred as a local fault", out)
	}
}

type content string

func (c content) Size() int64 { return int64(len(c)) }
func (c content) Open() (io.ReadSeekCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{strings.NewReader(string(c)), io.NopCloser(nil)}, nil
}

// TestAPeerThatCallsGetsWhatWaitedForIt: it can't be called, and has just called itself.
func TestAPeerThatCallsGetsWhatWaitedForIt(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		r.settle()
		r.site.says(nil)
		dest := r.g.Links()[0].Dest
		r.g.Called(dest.Connector, "ANOTHER")
		r.settle()
		r.expect("delivered when another one called", len(r.site.received()), 0)
		r.g.Called(dest.Connector, dest.Host)
		r.settle()
		r.expect("delivered", len(r.site.received()), 1)
	})
}
