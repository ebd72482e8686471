package shadowpo

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestKeysAreRememberedForThirtyDaysAndForgottenAfterSixty(t *testing.T) {
	m := newModel()
	inModel(t, m, Options{}, func(t *testing.T, d *Drop) {
		deliver := func(key string) bool {
			got, err := d.Deliver(context.Background(), Outbound{Key: key, Write: content("x")})
			if err != nil {
				t.Fatal(err)
			}
			return got.Duplicate
		}
		const day = 24 * time.Hour
		deliver("first")
		m.pause(29 * day)
		deliver("second")
		for i := range 29 {
			m.pause(day)
			deliver(fmt.Sprint("daily", i))
		}
		if !deliver("second") || !deliver("first") {
			t.Error("forgotten after 58 days")
		}
		if n := len(sortedNames(m.folders[stateDir])); n != 2 {
			t.Errorf("state has %v", sortedNames(m.folders[stateDir]))
		}
		m.pause(35 * day)
		deliver("rotates")
		if deliver("first") {
			t.Error("kept for ever: the journal would grow without end")
		}
		if !deliver("daily28") {
			t.Error("forgotten after 36 days")
		}
	})
}

func TestNamesRiseThoughTheClockGoesBack(t *testing.T) {
	m := newModel()
	inModel(t, m, Options{}, func(t *testing.T, d *Drop) {
		last := ""
		for i := range 100 {
			got, err := d.Deliver(context.Background(), Outbound{Key: fmt.Sprint(i), Write: content("x")})
			if err != nil {
				t.Fatal(err)
			}
			if got.File <= last || len(got.File) != 12 || got.File != strings.ToUpper(got.File) {
				t.Fatalf("%q after %q", got.File, last)
			}
			last = got.File
			if i == 50 {
				m.pause(365 * 24 * time.Hour)
			}
		}
	})
	// A new process whose clock is a year behind: synctest begins at the same time again.
	inModel(t, m, Options{}, func(t *testing.T, d *Drop) {
		list := sortedNames(m.folders[deliverDir])
		got, err := d.Deliver(context.Background(), Outbound{Key: "next", Write: content("x")})
		if err != nil || got.File <= list[len(list)-1] {
			t.Errorf("%q after %q, %v", got.File, list[len(list)-1], err)
		}
	})
}

func TestForeignFilesInDeliverAreLeftAlone(t *testing.T) {
	m := newModel()
	for _, n := range []string{"MMFF1.MSG", "MMFF2.WRT", "README.TXT", "0ABCDEFG.TMP", "mmff3.wrt", "00000001.WRT", "ZZZZZZZZ.WRT"} {
		m.write(deliverDir, n, "foreign")
	}
	inModel(t, m, Options{}, func(t *testing.T, d *Drop) {
		if _, err := d.Deliver(context.Background(), Outbound{Key: "k", Write: content("x")}); err != nil {
			t.Fatal(err)
		}
	})
	if got := sortedNames(m.folders[deliverDir]); len(got) != 8 {
		t.Errorf("got %v", got)
	}
}

func TestTornAndSpoiledJournalLinesAreNotReadAsSomethingElse(t *testing.T) {
	m := newModel()
	inModel(t, m, Options{}, func(t *testing.T, d *Drop) {
		for _, k := range []string{"a", "b", "c"} {
			if _, err := d.Deliver(context.Background(), Outbound{Key: k, Write: content(k)}); err != nil {
				t.Fatal(err)
			}
		}
	})
	i := m.folders[stateDir].names[sentFile]
	lines := strings.SplitAfter(string(i.data), "\n")
	lines[1] = strings.Replace(lines[1], " b ", " B ", 1)
	i.data = []byte(strings.Join(lines[:3], "") + "0M0000")
	inModel(t, m, Options{}, func(t *testing.T, d *Drop) {
		for k, want := range map[string]bool{"a": true, "b": false, "B": false, "c": true} {
			if got, err := d.Deliver(context.Background(), Outbound{Key: k, Write: content(k)}); err != nil || got.Duplicate != want {
				t.Errorf("%s: got %+v, %v", k, got, err)
			}
		}
	})
	inModel(t, m, Options{}, func(t *testing.T, d *Drop) {
		for _, k := range []string{"a", "b", "B", "c"} {
			if got, err := d.Deliver(context.Background(), Outbound{Key: k, Write: content(k)}); err != nil || !got.Duplicate {
				t.Errorf("%s after the repair: got %+v, %v", k, got, err)
			}
		}
	})
}
