package integration

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/connectors/msmail"
	"backbone/gateway"
	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/mail"
	"backbone/gateway/tracking"
	"backbone/queue"
	"backbone/queue/boltqueue"
	"backbone/shadowpo"
)

// dead is a link to a site that never answers.
type dead struct{ space address.Space }

func (dead) Name() string                            { return "link" }
func (d dead) Spaces() []address.Space               { return []address.Space{d.space} }
func (dead) NextHop(address.Address) (string, error) { return "SITEB", nil }
func (dead) Deliver(_ context.Context, t *connectors.Transfer) []mail.Outcome {
	out := make([]mail.Outcome, len(t.Envelope.Recipients))
	for i := range out {
		out[i] = mail.Outcome{State: mail.Deferred, Failure: mail.LinkDown("SITEB does not answer", nil)}
	}
	return out
}

// TestSiteBDownForTheWholeScheduleInMMFF runs the default schedule, 144 open retries ten minutes apart, in virtual time
// with the real queue and the real MS Mail connector: what PO1's user gets to read, and when.
func TestSiteBDownForTheWholeScheduleInMMFF(t *testing.T) {
	dir := t.TempDir()
	po, err := address.ParsePostOffice("NET/PO1")
	if err != nil {
		t.Fatal(err)
	}
	if err := shadowpo.Create(filepath.Join(dir, "NET.PO1"), po); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		store, err := boltqueue.Open(filepath.Join(dir, "queue"), boltqueue.Options{Reserve: 1})
		if err != nil {
			t.Fatal(err)
		}
		id := connectors.Site{Name: "SITEA", Domains: []string{"sitea.example"}}
		book, err := directory.Open(filepath.Join(dir, "directory.db"), directory.Options{Site: directory.Identity{Name: id.Name, Domains: id.Domains}})
		if err != nil {
			t.Fatal(err)
		}
		log, err := tracking.Open(filepath.Join(dir, "tracking"), tracking.Options{})
		if err != nil {
			t.Fatal(err)
		}
		cfg := msmail.Kind.NewConfig().(*msmail.Config)
		cfg.Name, cfg.Type, cfg.Dir = "msmail", "msmail", "."
		cfg.PostOffices = []msmail.PostOffice{{Address: "NET/PO1"}}
		if bad := cfg.Check(); len(bad) > 0 {
			t.Fatalf("%+v", bad)
		}
		opened, err := msmail.Kind.Open(connectors.Env{
			Site: id, Book: book, Log: slog.New(slog.DiscardHandler), Base: dir,
			Dir: func(name string) (string, error) {
				p := filepath.Join(dir, "connectors", name)
				return p, os.MkdirAll(p, 0o700)
			},
		}, []connectors.Config{cfg})
		if err != nil {
			t.Fatal(err)
		}
		far, err := address.ParseSpace("MS:NET/PO2")
		if err != nil {
			t.Fatal(err)
		}
		g, err := gateway.New(gateway.Options{
			Settings: gateway.Settings{Policy: queue.DefaultPolicy(), MaxSize: 1 << 20, MaxRecipients: 10, MaxHops: 32, Poison: 2, OpenRetries: 144},
			Site:     id, Store: store, Directory: book, Tracking: log, Workers: 4, LeaseFor: time.Hour,
			Members: []gateway.Member{
				{Connector: opened.Connectors[0], Common: *cfg.Base()},
				{Connector: dead{far}, Common: connectors.Common{Name: "link", Type: "site"}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()

		to, err := address.Parse("MS:NET/PO2/MKUMAR")
		if err != nil {
			t.Fatal(err)
		}
		from, err := address.Parse("MS:NET/PO1/ASMITH")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Accept(ctx, connectors.Submission{
			Envelope: mail.Envelope{
				Originator: from, Subject: "Figures", Recipients: []mail.Recipient{{Address: to, Name: "Mira Kumar"}},
				Source: mail.Source{Connector: "msmail", Peer: "NET/PO1", Authenticated: true},
			},
			Content: bytes.NewReader(connectortest.Message(300, 1)),
		}); err != nil {
			t.Fatal(err)
		}
		after := func(d time.Duration, n int) []string {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			files := delivered(t, filepath.Join(dir, "NET.PO1"))
			if len(files) != n {
				t.Fatalf("%d reports, want %d", len(files), n)
			}
			return files
		}
		after(4*time.Hour-time.Minute, 0)
		notice := read(t, after(2*time.Minute, 1)[0])
		after(16*time.Hour, 1)
		ndr := ""
		for _, f := range after(12*time.Hour, 2) {
			if text := read(t, f); text != notice {
				ndr = text
			}
		}
		after(30*24*time.Hour, 2)
		for text, wants := range map[string][]string{
			notice: {"TO:CSI:NET/PO1/ASMITH", "FROM:CSI:NET/PO1/POSTMASTER", "NET/PO2/MKUMAR", "has not been delivered yet", "SITEB does not answer", "will be tried until"},
			ndr:    {"TO:CSI:NET/PO1/ASMITH", "FROM:CSI:NET/PO1/POSTMASTER", "NET/PO2/MKUMAR", "[005]", "tried 144 times", "SITEB does not answer"},
		} {
			for _, want := range wants {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in:\n%s", want, text)
				}
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := errors.Join(opened.Close(), store.Close(), book.Close(), log.Close()); err != nil {
			t.Error(err)
		}
	})
}
