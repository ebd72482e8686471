package mmff

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"backbone/gateway/mail"
)

// Sent is the submission time that DATE and TIME tell (KB Q85057), in now's zone, since the format has none. What is
// missing or makes no sense is taken from now, as FFAPI's defaults are (KB Q118785), the latter with a note: a wrong
// date must never stop mail (KB Q170137).
//
// Years of two digits are 1970 to 2069; of three, counted from 1900, as programs wrote them after 1999.
func (m *Message) Sent(now time.Time) (time.Time, []mail.Note) {
	var notes []mail.Note
	y, mo, day := now.Date()
	if m.Date != "" {
		if t, ok := parseDate(m.Date); ok {
			y, mo, day = t.Date()
		} else {
			notes = append(notes, mail.Note{Field: "DATE", Action: mail.NoteChanged, Detail: show(m.Date) + " is no date: the day of arrival stands for it"})
		}
	}
	h, min, sec := now.Clock()
	if m.Time != "" {
		if t, ok := parseTime(m.Time); ok {
			h, min, sec = t.Clock()
		} else {
			notes = append(notes, mail.Note{Field: "TIME", Action: mail.NoteChanged, Detail: show(m.Time) + " is no time of day: the time of arrival stands for it"})
		}
	}
	return time.Date(y, mo, day, h, min, sec, 0, now.Location()), notes
}

// SetSent writes DATE and TIME from t as t's zone has them; seconds have no place.
func (m *Message) SetSent(t time.Time) {
	m.Date, m.Time = t.Format("2006-01-02"), t.Format("15:04")
}

func parseDate(s string) (time.Time, bool) {
	year, rest, ok := strings.Cut(strings.TrimSpace(s), "-")
	if !ok || !digits(year) || len(year) > 4 {
		return time.Time{}, false
	}
	y, err := strconv.Atoi(year)
	switch {
	case err != nil:
		return time.Time{}, false
	case len(year) <= 2 && y >= 70, len(year) == 3:
		y += 1900
	case len(year) <= 2:
		y += 2000
	}
	t, err := time.Parse("2006-1-2", fmt.Sprintf("%04d-%s", y, rest))
	return t, err == nil && y >= 1970
}

func parseTime(s string) (time.Time, bool) {
	for _, form := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(form, strings.TrimSpace(s)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
