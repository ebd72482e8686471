package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/directory/dirsync"
)

// The list is what address lists get of the directory: a row for each entry that can stand in one, and a log of the
// rows' changes, MS Mail's MSTTRANS. Both are records beside the entries. refresh brings them up to the directory's
// changes; nothing ever looks at the whole directory but the answer to who asks for the whole list.
const (
	keyList  = "dirsync/list"  // listHead
	keyRow   = "dirsync/row/"  // by entry: row
	keyNames = "dirsync/name/" // by post office and name: the entry that has it
	keyLog   = "dirsync/log/"  // by number: change
)

// listHead is where the list stands.
type listHead struct {
	USN  uint64       `json:"usn"`  // of the directory, up to which the list is made
	Head dirsync.Mark `json:"head"` // last change
	// Trimmed is the greatest number of a change that is no longer kept.
	Trimmed uint64 `json:"trimmed"`
}

// row is one entry as lists show it.
type row struct {
	dirsync.Identity
	Want    string           `json:"want"`           // the name, before it was made unique
	Of      string           `json:"of"`             // whose list it belongs to: "PCM:NET/PO", "SMTP:"
	From    string           `json:"from,omitempty"` // the post office that told us of it
	Details []dirsync.Detail `json:"details,omitempty"`
}

// change is one line of the log.
type change struct {
	At    time.Time           `json:"at"`
	Stamp uint64              `json:"stamp"`
	Tx    dirsync.Transaction `json:"tx"`
	Was   row                 `json:"was,omitzero"`
	Is    row                 `json:"is,omitzero"`
}

func logKey(n uint64) string { return fmt.Sprintf("%s%016x", keyLog, n) }

// refreshBatch is how many entries become rows in one transaction.
const refreshBatch = 2000

// refresh brings the list up to the directory.
func (a *Agent) refresh(now time.Time) error {
	for {
		more, err := a.refreshSome(now)
		if err != nil || !more {
			return err
		}
	}
}

func (a *Agent) refreshSome(now time.Time) (more bool, err error) {
	var head listHead
	if err := load(a.d.Record, keyList, &head); err != nil {
		return false, err
	}
	es, next, err := a.d.ChangesSince(head.USN, refreshBatch)
	if err != nil {
		return false, err
	}
	err = a.d.Edit(func(ed *directory.Edit) error {
		// The directory may have gone on, but the head is written here only, one at a time.
		stamp := rand.Uint64() | 1
		for i := range es {
			if err := a.list(ed, &head, &es[i], stamp, now); err != nil {
				return err
			}
		}
		if len(es) > 0 {
			head.USN = next
		}
		if err := a.trim(ed, &head, now); err != nil {
			return err
		}
		return store(ed, keyList, head)
	})
	return len(es) > 0, err
}

// list puts one entry's change into rows and log.
func (a *Agent) list(ed *directory.Edit, head *listHead, e *directory.Entry, stamp uint64, now time.Time) error {
	if e.Class != directory.Recipient {
		return nil
	}
	key := strings.ToLower(e.ID())
	var was row
	if err := load(record(ed), keyRow+key, &was); err != nil {
		return err
	}
	is, listed := a.rowOf(e)
	c := change{At: now, Stamp: stamp, Was: was, Is: is}
	switch {
	case !listed && was.Of == "":
		return nil
	case !listed:
		c.Tx = dirsync.Transaction{Op: dirsync.Delete, Old: was.Identity}
		ed.SetRecord(nameKey(was.Of, was.Name), nil)
		ed.SetRecord(keyRow+key, nil)
	default:
		if is.Name = was.Name; was.Of != is.Of || was.Want != is.Want {
			if was.Of != "" {
				ed.SetRecord(nameKey(was.Of, was.Name), nil)
			}
			is.Name = unique(ed, is.Of, is.Want, key)
			ed.SetRecord(nameKey(is.Of, is.Name), []byte(key))
		}
		if was.Of == "" {
			c.Tx = dirsync.Transaction{Op: dirsync.Add, New: is.Identity, Details: is.Details}
		} else {
			if was.Identity == is.Identity && was.Of == is.Of && was.From == is.From && slices.Equal(was.Details, is.Details) {
				return nil
			}
			c.Tx = dirsync.Transaction{Op: dirsync.Modify, Old: was.Identity, New: is.Identity, Details: is.Details}
		}
		c.Is = is
		if err := store(ed, keyRow+key, is); err != nil {
			return err
		}
	}
	head.Head = dirsync.Mark{Number: head.Head.Number + 1, Stamp: stamp}
	c.Tx.Number = head.Head.Number
	return store(ed, logKey(c.Tx.Number), c)
}

// rowOf tells how an entry stands in lists: by its target when that is of MS Mail, else by its MS proxy, which is what
// lets every user write to it (KB Q149192), else by its target's own type.
func (a *Agent) rowOf(e *directory.Entry) (row, bool) {
	if e.Deleted || e.Hidden {
		return row{}, false
	}
	r := row{From: contributor(e)}
	x, ok := e.Primary(address.MS)
	if !ok {
		x = e.Target
	}
	r.Address = x
	if r.Of = string(x.Type) + ":"; x.Type == address.MS {
		m, err := x.MSMail()
		if err != nil || m.System() || m.Special() {
			return row{}, false
		}
		r.Of = "PCM:" + m.PostOffice().String()
	}
	if r.Want = e.Display; r.Want == "" {
		r.Want = e.Name
	}
	r.Want = cutName(strings.Join(strings.Fields(r.Want), " "), dirsync.MaxName)
	for _, prompt := range detailAttributes {
		if v := e.Attributes[prompt]; v != "" {
			r.Details = append(r.Details, dirsync.Detail{Prompt: prompt, Value: v})
		}
	}
	return r, true
}

// detailAttributes are the attributes that templates carry, each under its own name.
var detailAttributes = []string{"Title", "Company", "Department", "Office", "Phone number", "Fax number", "Address", "City", "State", "Postal code", "Country"}

func cutName(s string, max int) string {
	if utf8.RuneCountInString(s) > max {
		s = strings.TrimRight(string([]rune(s)[:max]), " ")
	}
	return s
}

func nameKey(of, name string) string { return keyNames + of + "/" + strings.ToLower(name) }

// unique makes a name unique in its post office's list, as MS Mail wants it, with 001 and so on (KB Q146676). Who has a
// name keeps it.
func unique(ed *directory.Edit, of, name, key string) string {
	free := func(n string) bool {
		owner := string(ed.Record(nameKey(of, n)))
		return owner == "" || owner == key
	}
	for n := 1; n < 10000 && !free(name); n++ {
		if numbered := fmt.Sprintf("%s%03d", cutName(name, dirsync.MaxName-4), n); free(numbered) {
			return numbered
		}
	}
	return name
}

// trimBatch bounds the work of one refresh.
const trimBatch = 10000

// trim forgets old changes, but never the last one: it holds the number (KB Q96060).
func (a *Agent) trim(ed *directory.Edit, head *listHead, now time.Time) error {
	err := ed.Records(keyLog, "", trimBatch, func(k string, v []byte) error {
		var c change
		if err := json.Unmarshal(v, &c); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		if c.Tx.Number >= head.Head.Number || now.Sub(c.At) <= a.o.Keep {
			return errStop
		}
		head.Trimmed = c.Tx.Number
		ed.SetRecord(k, nil)
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// view is the list as one partner sees it: without its own users, and without types that it can't use.
type view struct {
	ed    *directory.Edit
	own   string // "PCM:NET/PO"
	po    string
	types []address.Type
	full  bool // with details
}

func (a *Agent) view(ed *directory.Edit, p PostOffice) *view {
	return &view{ed: ed, own: "PCM:" + p.Address, po: p.Address, types: p.Types, full: p.Templates}
}

// sees tells what a list is for: for nobody in particular, all there is.
func (v *view) sees(r row) bool {
	if v.po == "" {
		return r.Of != ""
	}
	return r.Of != "" && r.Of != v.own && r.From != v.po && (r.Address.Type == address.MS || slices.Contains(v.types, r.Address.Type))
}

// Head implements dirsync.Log.
func (v *view) Head() (dirsync.Mark, error) {
	var h listHead
	err := load(record(v.ed), keyList, &h)
	return h.Head, err
}

// Has implements dirsync.Log.
func (v *view) Has(m dirsync.Mark) (bool, error) {
	var h listHead
	if err := load(record(v.ed), keyList, &h); err != nil {
		return false, err
	}
	if m.Number == 0 {
		return h.Trimmed == 0, nil
	}
	if m.Number <= h.Trimmed || m.Number > h.Head.Number {
		return false, nil
	}
	var c change
	err := load(record(v.ed), logKey(m.Number), &c)
	return m.Stamp == 0 || c.Stamp == m.Stamp, err
}

// Since implements dirsync.Log. What changes its place between visible and not becomes an Add or a Delete.
func (v *view) Since(m dirsync.Mark) (out []dirsync.Transaction, err error) {
	err = v.ed.Records(keyLog, logKey(m.Number), 1<<31, func(k string, b []byte) error {
		var c change
		if err := json.Unmarshal(b, &c); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		t := c.Tx
		switch was, is := v.sees(c.Was), v.sees(c.Is); {
		case was && is:
		case is:
			t = dirsync.Transaction{Number: t.Number, Op: dirsync.Add, New: c.Is.Identity, Details: c.Is.Details}
		case was:
			t = dirsync.Transaction{Number: t.Number, Op: dirsync.Delete, Old: c.Was.Identity}
		default:
			return nil
		}
		if !v.full {
			t.Details = nil
		}
		out = append(out, t)
		return nil
	})
	return out, err
}

// List implements dirsync.Log: a Replace and the Adds of each post office, in order.
func (v *view) List() ([]dirsync.Transaction, error) {
	head, err := v.Head()
	if err != nil {
		return nil, err
	}
	lists := map[string][]dirsync.Transaction{}
	err = v.ed.Records(keyRow, "", 1<<31, func(k string, b []byte) error {
		var r row
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		if v.sees(r) {
			t := dirsync.Transaction{Number: head.Number, Op: dirsync.Add, New: r.Identity}
			if v.full {
				t.Details = r.Details
			}
			lists[r.Of] = append(lists[r.Of], t)
		}
		return nil
	})
	var out []dirsync.Transaction
	for _, of := range sortedKeys(lists) {
		out = append(out, dirsync.Transaction{Number: head.Number, Op: dirsync.Replace, Scope: of})
		out = append(out, lists[of]...)
	}
	return out, err
}
