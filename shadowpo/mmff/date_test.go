package mmff_test

import (
	"testing"
	"time"

	"backbone/shadowpo/mmff"
)

func TestSubmissionTime(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 23, 14, 30, 15, 0, zone)
	at := func(y int, m time.Month, d, h, min, s int) time.Time { return time.Date(y, m, d, h, min, s, 0, zone) }
	for _, c := range []struct {
		name, date, time string
		want             time.Time
		notes            int
	}{
		{"as the format has it", "1997-03-14", "09:05", at(1997, 3, 14, 9, 5, 0), 0},
		{"leap day of 2000", "2000-02-29", "23:59", at(2000, 2, 29, 23, 59, 0), 0},
		{"no leap day in 1900s rule", "1999-02-29", "09:05", at(2026, 11, 23, 9, 5, 0), 1},
		{"two digits of the old century", "97-03-14", "09:05", at(1997, 3, 14, 9, 5, 0), 0},
		{"two digits of this one", "26-03-14", "09:05", at(2026, 3, 14, 9, 5, 0), 0},
		{"year 00, which stopped the PC MTA", "00-03-14", "09:05", at(2000, 3, 14, 9, 5, 0), 0},
		{"year 100, as programs wrote after 1999", "100-03-14", "09:05", at(2000, 3, 14, 9, 5, 0), 0},
		{"all zeros", "00-00-00", "00:00", at(2026, 11, 23, 0, 0, 0), 1},
		{"year 0000", "0000-03-14", "00:00", at(2026, 11, 23, 0, 0, 0), 1},
		{"single digits", "1997-3-4", "9:05", at(1997, 3, 4, 9, 5, 0), 0},
		{"with seconds", "1997-03-14", "09:05:30", at(1997, 3, 14, 9, 5, 30), 0},
		{"neither", "", "", at(2026, 11, 23, 14, 30, 15), 0},
		{"date alone takes the time of arrival", "1997-03-14", "", at(1997, 3, 14, 14, 30, 15), 0},
		{"time alone takes the day of arrival", "", "09:05", at(2026, 11, 23, 9, 5, 0), 0},
		{"nonsense", "yesterday", "noon", at(2026, 11, 23, 14, 30, 15), 2},
		{"hostile", "1997-03-14\x1b[2J", "99:99", at(2026, 11, 23, 14, 30, 15), 2},
	} {
		m := &mmff.Message{Date: c.date, Time: c.time}
		got, notes := m.Sent(now)
		if !got.Equal(c.want) || len(notes) != c.notes {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, notes, c.want)
		}
	}
	m := &mmff.Message{}
	m.SetSent(now)
	if m.Date != "2026-11-23" || m.Time != "14:30" {
		t.Errorf("got %q %q", m.Date, m.Time)
	}
}
