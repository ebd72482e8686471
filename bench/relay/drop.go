package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"backbone/bench/load"
	"backbone/bench/mta"
	"backbone/bench/report"
	"backbone/gateway/address"
	"backbone/shadowpo"
)

// dropRate is the bound for drop to drop, messages a second.
const dropRate = 2000

// drop measures mail between two post offices of one site: MMFF files of 4 KB out of one drop into another.
func (b *bench) drop(ctx context.Context) error {
	n := b.n(10000)
	for range b.rounds {
		if err := b.dropToDrop(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) dropToDrop(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	drops, err := b.folder()
	if err != nil {
		return err
	}
	defer b.remove(drops)
	for _, po := range []string{"NET/PO1", "NET/PO2"} {
		a, err := address.ParsePostOffice(po)
		if err != nil {
			return err
		}
		if err := shadowpo.Create(filepath.Join(drops, strings.ReplaceAll(po, "/", ".")), a); err != nil {
			return err
		}
	}
	more := fmt.Sprintf(`
[connector.msmail]
type = "msmail"
dir = %q
stable = "0s"
[[connector.msmail.postoffice]]
address = "NET/PO1"
[[connector.msmail.postoffice]]
address = "NET/PO2"
`, drops)
	return b.withGateway(ctx, more, func(a *mta.Agent, _ *load.Sink) error {
		from := filepath.Join(drops, "NET.PO1", "submit")
		if err := writeDrop(from, n); err != nil {
			return err
		}
		before, err := a.Use()
		if err != nil {
			return err
		}
		// The clock starts with the first file under its final name.
		began := time.Now()
		for i := range n {
			if err := os.Rename(filepath.Join(from, dropName(i, "WRT")), filepath.Join(from, dropName(i, "MSG"))); err != nil {
				return err
			}
		}
		if err := waitFiles(ctx, filepath.Join(drops, "NET.PO2", "deliver"), n); err != nil {
			return err
		}
		took := time.Since(began)
		after, err := a.Use()
		if err != nil {
			return err
		}
		rate := float64(n) / took.Seconds()
		b.say("  %d from drop to drop at %.0f/s, %.3f ms CPU a message", n, rate, (after.CPU-before.CPU).Seconds()/float64(n)*1e3)
		b.row(report.Row{ID: "drop", Work: "drop to drop, 4 KB MMFF: rate", Against: fmt.Sprintf("bound of %d a second", dropRate), Wanted: 1}, rate/dropRate)
		return nil
	})
}

func dropName(i int, ext string) string { return fmt.Sprintf("M%07d.%s", i, ext) }

// writeDrop writes n messages under names that the gateway leaves alone, as an agent does before it renames them.
func writeDrop(dir string, n int) error {
	body := strings.Repeat("The quick brown fox jumps over the lazy dog. 0123456789 and some more\r\n", 56)
	for i := range n {
		text := fmt.Sprintf("VERSION:3.00\r\nTO:NET/PO2/MKUMAR\r\nFROM:CSI:NET/PO1/ASMITH\r\nDATE:1997-03-14\r\nTIME:09:05\r\nSUBJECT:Message %d\r\nTEXT:%d\r\n%s", i, len(body), body)
		if err := os.WriteFile(filepath.Join(dir, dropName(i, "WRT")), []byte(text), 0o640); err != nil {
			return err
		}
	}
	return nil
}

// waitFiles waits until n messages lie in a folder.
func waitFiles(ctx context.Context, dir string, n int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		names, err := readNames(dir)
		if err != nil {
			return err
		}
		got := 0
		for _, name := range names {
			if strings.HasSuffix(name, ".MSG") {
				got++
			}
		}
		if got >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d files in %s: %w", got, n, dir, ctx.Err())
		case <-tick.C:
		}
	}
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
