package directory

import (
	"errors"
	"strings"
)

// line takes one object's line.
func (im *importer) line(rec record) {
	l := &importLine{im: im, rec: rec}
	status, p := l.take()
	for _, w := range l.warnings {
		im.warn(rec, l.name, w)
	}
	if p != nil && !p.warning {
		im.fail(rec, l.name, *p)
		return
	}
	im.sum.Lines++
	if p != nil {
		im.warn(rec, l.name, *p)
		return
	}
	switch status {
	case Created:
		im.sum.Created++
	case Modified:
		im.sum.Modified++
	case Deleted:
		im.sum.Deleted++
	case Unchanged:
		im.sum.Unchanged++
	case Skipped:
		im.sum.Skipped++
	}
	im.result(Result{Line: rec.line, Status: status, Object: l.name})
}

// importLine is one line while it is read.
type importLine struct {
	im       *importer
	rec      record
	name     string
	fresh    bool // the entry does not exist yet
	warnings []problem
}

// value is the first field of a kind.
func (l *importLine) value(k columnKind) field {
	for i, c := range l.im.columns {
		if c.kind == k {
			return l.rec.fields[i]
		}
	}
	return field{}
}

// take decides what the line does, and stages it.
func (l *importLine) take() (Status, *problem) {
	im := l.im
	if have, want := len(l.rec.fields), len(im.columns); have != want {
		return "", problemf(EventFieldCount, 0, "the line must have as many fields as the header: %d expected, %d found", want, have)
	}
	class := l.rec.fields[0]
	l.name = strings.TrimSpace(l.text(l.value(columnName)))
	switch strings.ToLower(class.text) {
	case "remote":
	case "mailbox", "dl":
		return Skipped, nil
	case "":
		return "", problemf(EventNoClass, class.at, "the Obj-Class is missing")
	default:
		return "", problemf(EventClass, class.at, "%q is not a legal Obj-Class; write Remote", cutText(class.text, 40))
	}
	name := l.value(columnName)
	switch {
	case l.name == "":
		return "", problemf(EventNoIdentity, name.at, "a Directory Name is needed to identify the object")
	case isDel(l.name):
		return "", problemf(EventRequired, name.at, "the Directory Name can't be deleted (KB Q176741)")
	case strings.ContainsRune(l.name, '/') || checkText("directory name", l.name, maxName) != nil:
		return "", problemf(EventBadName, name.at, "%q can't be a Directory Name: at most %d printing characters and no slash", cutText(l.name, 80), maxName)
	}
	old := im.b.get(entryKey(im.d.o.Site.Name, l.name))
	mode := l.value(columnMode)
	switch strings.ToLower(mode.text) {
	case "", "update":
	case "create":
		if old != nil {
			return "", problemf(EventExists, name.at, "it already exists")
		}
	case "modify":
		if old == nil {
			return "", problemf(EventMissing, name.at, "it can't be modified because it could not be found")
		}
	case "delete":
		if old == nil {
			p := problemf(EventGone, name.at, "it can't be deleted because it does not exist")
			p.warning = true
			return "", p
		}
		im.b.remove(old)
		return Deleted, nil
	default:
		return "", problemf(EventMode, mode.at, "%q is not a legal mode; write Create, Delete, Modify or Update", cutText(mode.text, 40))
	}
	return l.write(old)
}

// write makes the entry of the line's values and stages it.
func (l *importLine) write(old *Entry) (Status, *problem) {
	e := &Entry{Name: l.name, Site: l.im.d.o.Site.Name}
	if l.fresh = old == nil; !l.fresh {
		e = old.clone()
	}
	for i, c := range l.im.columns {
		f := l.rec.fields[i]
		if f.text == "" {
			continue // a blank value changes nothing (KB Q152727)
		}
		if p := l.set(e, c, f); p != nil {
			return "", p
		}
	}
	target := l.value(columnTarget)
	if e.Target.IsZero() {
		return "", problemf(EventNoTarget, target.at, "the required E-mail Address is not there")
	}
	if err := e.check(); err != nil {
		return "", problemf(EventRead, 0, "%v", err)
	}
	changed, err := l.im.b.put(e)
	var c *Conflict
	switch {
	case errors.As(err, &c) && c.Target:
		return "", problemf(EventTargetTaken, target.at, "target address %s already belongs to %s", c.Address, c.Other)
	case errors.As(err, &c):
		return "", problemf(EventProxyTaken, l.proxyAt(), "address %s already belongs to %s", c.Address, c.Other)
	case !changed:
		return Unchanged, nil
	case l.fresh:
		return Created, nil
	}
	return Modified, nil
}

func (l *importLine) proxyAt() int {
	if f := l.value(columnPrimary); f.text != "" {
		return f.at
	}
	return l.value(columnSecondary).at
}
