package dirsync_test

import (
	"testing"
	"time"

	"backbone/gateway/directory/dirsync"
	"backbone/gateway/directory/dirsync/dirsynctest"
)

// export is a post office's T1 as its server reads it.
func export(t *testing.T, p *dirsynctest.PostOffice) dirsync.Message {
	t.Helper()
	text, err := p.Export(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := dirsync.Parse(text.Body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAServerTakesEachExportOnceAndNoOldOne(t *testing.T) {
	p := dirsynctest.New("NET/PO1")
	r := dirsync.Requestor{Name: "NET/PO1"}
	p.Set("A", "Ann")
	first := export(t, p)
	if got, refusal := r.Receive(&first, ""); refusal != nil || !got.Whole || len(got.Transactions) != 2 {
		t.Fatalf("%+v, %v; want the whole list", got, refusal)
	}
	p.Set("B", "Ben")
	second := export(t, p)
	if got, _ := r.Receive(&second, ""); got.Repeated || got.Elsewhere {
		t.Fatalf("%+v", got)
	}
	before := r
	for _, m := range []dirsync.Message{second, first} {
		if got, _ := r.Receive(&m, ""); !got.Repeated || got.Whole || len(got.Transactions) > 0 || r.Taken != before.Taken {
			t.Errorf("offered again: %+v", got)
		}
	}
}

func TestARequestorTakesAnAnswerThatGoesOnFromWhereItIsAndNoOther(t *testing.T) {
	add := func(n uint64) []dirsync.Transaction {
		return []dirsync.Transaction{{Number: n, Op: dirsync.Delete}}
	}
	s := dirsync.Server{Requestor: "NET/PO1", Srv: dirsync.Mark{Number: 7, Stamp: 70}, Cycle: 5, Answered: 4}
	for _, tt := range []struct {
		name string
		m    dirsync.Message
		take bool
	}{
		{"an answer to an earlier export", dirsync.Message{Cycle: 4, Base: []dirsync.Mark{{Number: 7, Stamp: 70}}, Srv: dirsync.Mark{Number: 8, Stamp: 80}, Transactions: add(8)}, false},
		{"from a later place", dirsync.Message{Cycle: 5, Base: []dirsync.Mark{{Number: 8, Stamp: 80}}, Srv: dirsync.Mark{Number: 9, Stamp: 90}, Transactions: add(9)}, false},
		{"from the same number of another history", dirsync.Message{Cycle: 5, Base: []dirsync.Mark{{Number: 7, Stamp: 71}}, Srv: dirsync.Mark{Number: 8, Stamp: 81}, Transactions: add(8)}, false},
		{"the next one", dirsync.Message{Cycle: 5, Base: []dirsync.Mark{{Number: 7, Stamp: 70}}, Srv: dirsync.Mark{Number: 8, Stamp: 80}, Transactions: add(8)}, true},
		{"the whole list", dirsync.Message{Cycle: 5, Full: true, Srv: dirsync.Mark{Number: 8, Stamp: 81}, Transactions: add(8)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s
			ts, _, repeated, err := s.Receive(&tt.m, nil) // it holds nothing of ours, so there is nothing to look up
			if err != nil || (len(ts) > 0) != tt.take || repeated == tt.take || (s.Srv == tt.m.Srv) != tt.take {
				t.Errorf("taken %v, repeated %v, now at %s: %v", ts, repeated, s.Srv, err)
			}
		})
	}
}

func TestMoments(t *testing.T) {
	from := time.Date(2026, 3, 4, 12, 30, 0, 0, time.UTC) // a Wednesday
	for text, want := range map[string]string{
		"12:31": "2026-03-04 12:31", "12:30": "2026-03-05 12:30", "Wed 12:30": "2026-03-11 12:30", "wed 13:00": "2026-03-04 13:00", "Sunday 02:00": "2026-03-08 02:00",
	} {
		m, err := dirsync.ParseMoment(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Next(from).Format("2006-01-02 15:04"); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"", "24:00", "Mon", "Foo 02:00", "02:00 Mon"} {
		if m, err := dirsync.ParseMoment(text); err == nil {
			t.Errorf("%q was read as %s", text, m)
		}
	}
}
