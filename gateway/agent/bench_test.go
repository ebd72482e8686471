package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway/directory"
)

// A cycle with 100 changes among 100,000 users: the list is brought up to the directory, and a requestor answered.
func BenchmarkAnswerADeltaOf100Among100000(b *testing.B) {
	d, err := directory.Open(b.TempDir()+"/d", directory.Options{Site: directory.Identity{Name: "SITEA", MS: "NET/SITEA"}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	}()
	var file strings.Builder
	file.WriteString("Obj-Class,Directory Name,Display Name,E-mail Address\r\n")
	for i := range 100_000 {
		fmt.Fprintf(&file, "Remote,USER%d,User %d,MS:NET/PO%d/USER%d\r\n", i, i, i%50, i)
	}
	if s, err := d.Import(context.Background(), strings.NewReader(file.String()), directory.ImportOptions{}); err != nil || s.Created != 100_000 {
		b.Fatal(s, err)
	}
	a, err := New(Options{Site: connectors.Site{Name: "SITEA", MS: "NET/SITEA"}, Directory: d, Keep: time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := a.refresh(time.Now()); err != nil {
		b.Fatal(err)
	}
	po := PostOffice{Address: "NET/PO7"}
	round := 0
	for b.Loop() {
		b.StopTimer()
		round++
		if err := d.Edit(func(e *directory.Edit) error {
			for i := range 100 {
				x, _ := e.Get(directory.Recipient, fmt.Sprintf("USER%d", i*997))
				x.Display = fmt.Sprintf("User %d, round %d", i*997, round)
				if _, err := e.Put(x); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		var before listHead
		if err := load(d.Record, keyList, &before); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := a.refresh(time.Now()); err != nil {
			b.Fatal(err)
		}
		if err := d.Edit(func(ed *directory.Edit) error {
			ts, err := a.view(ed, po).Since(before.Head)
			if err == nil && len(ts) < 90 {
				err = fmt.Errorf("%d transactions", len(ts))
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}
