package dirsync

import (
	"fmt"
	"strings"
	"time"
)

// Moment is one line of a schedule: a time of day, on one day of the week or on each (KB Q96060; DSSCHED's T<x> <Day>
// HH:MM).
type Moment struct {
	Day          time.Weekday
	EachDay      bool
	Hour, Minute int
}

// ParseMoment reads "02:00" or "Mon 02:00".
func ParseMoment(s string) (m Moment, err error) {
	day, clock, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok {
		day, clock, m.EachDay = "", day, true
	}
	t, err := time.Parse("15:04", strings.TrimSpace(clock))
	if err != nil {
		return m, fmt.Errorf("%q is no time: write \"02:00\", or \"Mon 02:00\" for once a week", s)
	}
	m.Hour, m.Minute = t.Hour(), t.Minute()
	if m.EachDay {
		return m, nil
	}
	for d := range time.Weekday(7) {
		if strings.EqualFold(day, d.String()[:3]) || strings.EqualFold(day, d.String()) {
			m.Day = d
			return m, nil
		}
	}
	return m, fmt.Errorf("%q begins with no day of the week: write Mon, Tue, Wed, Thu, Fri, Sat or Sun", s)
}

// String is what ParseMoment reads.
func (m Moment) String() string {
	clock := fmt.Sprintf("%02d:%02d", m.Hour, m.Minute)
	if m.EachDay {
		return clock
	}
	return m.Day.String()[:3] + " " + clock
}

// UnmarshalText reads a configuration's value.
func (m *Moment) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMoment(string(b))
	return err
}

// MarshalText writes it.
func (m Moment) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Next is the first such moment after a time, in its zone.
func (m Moment) Next(after time.Time) time.Time {
	t := time.Date(after.Year(), after.Month(), after.Day(), m.Hour, m.Minute, 0, 0, after.Location())
	for !t.After(after) || !m.EachDay && t.Weekday() != m.Day {
		t = t.AddDate(0, 0, 1)
	}
	return t
}

// Next is the first of several moments after a time; zero when there are none.
func Next(ms []Moment, after time.Time) time.Time {
	var first time.Time
	for _, m := range ms {
		if t := m.Next(after); first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first
}
