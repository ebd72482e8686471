package queue

import (
	"slices"
	"strings"
	"time"
)

// Match tells whether the filter selects it at time now. Globs take * for any run of characters and % for one, and
// ignore case; From and To match the whole typed address ("SMTP:user@host") or its value alone, and the null
// originator is "<>". A filter that says nothing of State leaves out the trash, unless it names IDs.
func (f *Filter) Match(it *Item, now time.Time) bool {
	if len(f.IDs) > 0 && !slices.Contains(f.IDs, it.ID) {
		return false
	}
	if f.State != "" && it.State != f.State || f.State == "" && it.State == Trash && len(f.IDs) == 0 {
		return false
	}
	if f.Connector != "" && it.Dest.Connector != f.Connector || f.Host != "" && !glob(f.Host, it.Dest.Host) {
		return false
	}
	age := now.Sub(it.Created)
	if f.Older > 0 && age <= f.Older || f.Newer > 0 && age >= f.Newer || f.Larger > 0 && it.Body.Size <= f.Larger {
		return false
	}
	if f.Class != "" && (it.Last == nil || it.Last.Class != f.Class) {
		return false
	}
	if f.Message != "" && f.Message != it.Envelope.ID && strings.Trim(f.Message, "<>") != it.Envelope.MessageID {
		return false
	}
	if f.From != "" && !globAddress(f.From, it.Envelope.Originator.String(), it.Envelope.Originator.Value) {
		return false
	}
	if f.To == "" {
		return true
	}
	for i := range it.Envelope.Recipients {
		a := it.Envelope.Recipients[i].Address
		if globAddress(f.To, a.String(), a.Value) {
			return true
		}
	}
	return false
}

func globAddress(pattern, typed, value string) bool {
	return glob(pattern, typed) || value != "" && glob(pattern, value)
}
