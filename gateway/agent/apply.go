package agent

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/directory/dirsync"
)

// Entries that a post office tells us of are custom recipients in a container of its own, and remembered by address
// under keyFrom, so that what it takes away again is found without a search.
const keyFrom = "dirsync/from/" // by post office and address: the entry's name

const container = "DirSync "

// contributor is the post office that told us of an entry, "" when none did.
func contributor(e *directory.Entry) string {
	po, ok := strings.CutPrefix(e.Container, container)
	if !ok {
		return ""
	}
	return po
}

// Applied counts what became of a post office's transactions.
type Applied struct {
	Added    int `json:"added"`
	Modified int `json:"modified"`
	Deleted  int `json:"deleted"`
	Same     int `json:"same"` // said nothing new
	Refused  int `json:"refused"`
}

// application is one message's transactions being applied.
type application struct {
	a        *Agent
	ed       *directory.Edit
	po       string   // whose they are
	requests bool     // po is a requestor of ours: it may speak of its own users only...
	behind   []string // ...and of those of these post offices
	types    []address.Type
	n        Applied
	problems []dirsync.Problem
	kept     map[string]bool // addresses that a whole list has
}

func fromKey(po string, x address.Address) string { return keyFrom + po + "/" + x.Key() }

func (ap *application) problem(t *dirsync.Transaction, code int, format string, args ...any) {
	ap.n.Refused++
	if len(ap.problems) < 100 {
		ap.problems = append(ap.problems, dirsync.Problem{Line: t.Line, Number: t.Number, Code: code, Text: fmt.Sprintf(format, args...)})
	}
}

// run applies transactions. whole says that they are the whole list; a Replace says so of one post office.
func (ap *application) run(ts []dirsync.Transaction, whole bool) error {
	ap.kept = map[string]bool{}
	var scopes []string
	for i := range ts {
		t := &ts[i]
		var err error
		switch t.Op {
		case dirsync.Replace:
			scopes = append(scopes, t.Scope)
		case dirsync.Add:
			err = ap.put(t, t.New, dirsync.Identity{})
		case dirsync.Modify:
			err = ap.put(t, t.New, t.Old)
		case dirsync.Delete:
			err = ap.remove(t)
		}
		if err != nil {
			return err
		}
	}
	if whole || len(scopes) > 0 {
		return ap.sweep(scopes, whole)
	}
	return nil
}

// permitted tells whether the post office may speak of an address.
func (ap *application) permitted(t *dirsync.Transaction, x address.Address) bool {
	m, err := x.MSMail()
	switch {
	case err != nil && !slices.Contains(ap.types, x.Type) && ap.requests:
		ap.problem(t, dirsync.CodeType, "%s: addresses of type %s are not taken from %s", x, x.Type, ap.po)
	case err == nil && (m.System() || m.Special()):
		ap.problem(t, dirsync.CodeCharacters, "%s is a box of the mail system", x)
	case err == nil && ap.requests && m.PostOffice().String() != ap.po && !slices.Contains(ap.behind, m.PostOffice().String()):
		ap.problem(t, dirsync.CodeCharacters, "%s is not a user of %s", x, ap.po)
	default:
		return true
	}
	return false
}

// put adds a user, or changes the one that was old.
func (ap *application) put(t *dirsync.Transaction, is, was dirsync.Identity) error {
	if !ap.permitted(t, is.Address) {
		return nil
	}
	ap.kept[is.Address.Key()] = true
	name := string(ap.ed.Record(fromKey(ap.po, is.Address)))
	old := ""
	if !was.Address.IsZero() && !was.Address.Equal(is.Address) {
		old = string(ap.ed.Record(fromKey(ap.po, was.Address)))
	}
	e := directory.Entry{}
	switch {
	case name != "" || old != "":
		if name == "" {
			name = old // the mailbox was renamed: its old address stays a proxy (KB Q114246)
		}
		e, _ = ap.ed.Get(directory.Recipient, name)
	default:
		if have, ok := ap.ed.Find(is.Address); ok && have.Target.Equal(is.Address) {
			ap.n.Same++ // somebody else's already: another site's, or made by hand
			return nil
		}
	}
	if e.Name == "" {
		e = directory.Entry{Name: ap.freeName(entryName(is.Address)), Container: container + ap.po}
		if m, err := is.Address.MSMail(); err == nil {
			e.Alias = m.Mailbox
		}
	}
	fresh := e.Version == 0
	if !fresh && !e.Target.Equal(is.Address) {
		e.Secondary = append(e.Secondary, e.Target)
	}
	e.Display, e.Target = is.Name, is.Address
	e.Secondary = slices.DeleteFunc(e.Secondary, is.Address.Equal)
	for _, d := range t.Details {
		if slices.Contains(detailAttributes, d.Prompt) && d.Value != "" {
			if e.Attributes == nil {
				e.Attributes = map[string]string{}
			}
			e.Attributes[d.Prompt] = d.Value
		}
	}
	changed, err := ap.write(e)
	var c *directory.Conflict
	switch {
	case errors.As(err, &c):
		ap.problem(t, dirsync.CodeDuplicate, "%s already belongs to %s", c.Address, c.Other)
		return nil
	case err != nil:
		ap.problem(t, dirsync.CodeCharacters, "%v", err)
		return nil
	}
	if old != "" {
		ap.ed.SetRecord(fromKey(ap.po, was.Address), nil)
	}
	ap.ed.SetRecord(fromKey(ap.po, is.Address), []byte(e.Name))
	switch {
	case fresh:
		ap.n.Added++
	case changed:
		ap.n.Modified++
	default:
		ap.n.Same++
	}
	return nil
}

// write puts an entry. An address that another entry keeps only as the old one of a renamed mailbox gives way.
func (ap *application) write(e directory.Entry) (bool, error) {
	changed, err := ap.ed.Put(e)
	var c *directory.Conflict
	if !errors.As(err, &c) || !c.Address.Equal(e.Target) {
		return changed, err
	}
	other, ok := ap.ed.Find(e.Target)
	if !ok || contributor(&other) != ap.po || other.Target.Equal(e.Target) {
		return changed, err
	}
	other.Secondary = slices.DeleteFunc(other.Secondary, e.Target.Equal)
	if _, oerr := ap.ed.Put(other); oerr != nil {
		return changed, errors.Join(err, oerr)
	}
	return ap.ed.Put(e)
}

// entryName is the directory name of a user: NET.PO.MAILBOX, else type and digest.
func entryName(x address.Address) string {
	if m, err := x.MSMail(); err == nil {
		return m.Net + "." + m.PO + "." + m.Mailbox
	}
	sum := sha256.Sum256([]byte(x.Key()))
	return fmt.Sprintf("%s.%x", x.Type, sum[:10])
}

// freeName is a name that no entry has: the one of a renamed mailbox keeps its old name, and a new user may get the mailbox.
func (ap *application) freeName(name string) string {
	base := name
	for n := 2; ; n++ {
		if _, taken := ap.ed.Get(directory.Recipient, name); !taken {
			return name
		}
		name = fmt.Sprintf("%s~%d", base, n)
	}
}

func (ap *application) remove(t *dirsync.Transaction) error {
	key := fromKey(ap.po, t.Old.Address)
	name := string(ap.ed.Record(key))
	if name == "" {
		ap.n.Same++
		return nil
	}
	ap.ed.SetRecord(key, nil)
	ap.ed.Remove(directory.Recipient, name)
	ap.n.Deleted++
	return nil
}

// errGuard says that a whole list takes away too much.
var errGuard = errors.New("too many users would be deleted")

// guardFrom is how many deletions are never too many.
const guardFrom = 10

// sweep deletes the users of the post office that a whole list no longer has.
func (ap *application) sweep(scopes []string, whole bool) error {
	type user struct{ key, name string }
	var gone []user
	all := 0
	prefix := keyFrom + ap.po + "/"
	err := ap.ed.Records(prefix, "", 1<<31, func(k string, v []byte) error {
		x := strings.TrimPrefix(k, prefix)
		if !whole && !slices.ContainsFunc(scopes, func(s string) bool { return inScope(x, s) }) {
			return nil
		}
		if all++; !ap.kept[x] && ap.ed.Record(k) != nil {
			gone = append(gone, user{k, string(v)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if g := ap.a.o.Guard; g > 0 && len(gone) > guardFrom && len(gone)*100 > g*all {
		return fmt.Errorf("%w: %d of the %d of %s, more than %d percent", errGuard, len(gone), all, ap.po, g)
	}
	for _, u := range gone {
		ap.ed.SetRecord(u.key, nil)
		if ap.ed.Remove(directory.Recipient, u.name) {
			ap.n.Deleted++
		}
	}
	return nil
}

// inScope tells whether an address's key is of TYPE:NET/PO or TYPE:.
func inScope(key, scope string) bool {
	typ, po, _ := strings.Cut(scope, ":")
	if typ == "PCM" {
		typ = string(address.MS)
	}
	want := strings.ToLower(typ + ":" + po)
	if po != "" {
		want += "/"
	}
	return strings.HasPrefix(strings.ToLower(key), want)
}
