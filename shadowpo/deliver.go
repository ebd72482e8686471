package shadowpo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"backbone/gateway/mail"
)

// Outbound is one file that the post office is to collect.
type Outbound struct {
	// Key names this delivery for all time: 1 to 255 octets of printable ASCII without blanks. Delivering a key a
	// second time, at once or weeks later, before or after the file was collected, does nothing.
	Key string
	// Write writes the file's octets, once. Its error is Deliver's, unchanged, unless the drop failed first.
	Write func(io.Writer) error
	Side  Side // NAME.X beside it; nil for none

	// For SENT.LOG only.
	From string
	To   []string
	ID   string
}

// Delivery says where an Outbound went.
type Delivery struct {
	File      string // "0E3K91QV.MSG"
	Size      int64  // octets; 0 when Duplicate
	Duplicate bool   // the key was delivered before: nothing was written
}

// Deliver puts a file into the deliver folder. Nil means that it is there, whole, and will be there after a power
// failure (if not by itself, then when the drop is opened again), and that this key will never be there again.
//
// An error is a classified *mail.Failure, or what Write returned; the key may be delivered again then, also when it
// had been delivered after all. ctx ends the wait for others, not the step that is being taken.
func (d *Drop) Deliver(ctx context.Context, o Outbound) (Delivery, error) {
	if err := checkKey(o.Key); err != nil {
		return Delivery{}, err
	}
	if err := ctx.Err(); err != nil {
		return Delivery{}, fault(err)
	}
	release, err := d.out.reserve(ctx, o.Key)
	if err != nil {
		return Delivery{}, fault(err)
	}
	defer release()
	s, err := d.out.current()
	if err != nil {
		return Delivery{}, fault(err)
	}
	defer d.out.leave(s)
	if n, ok := s.journal.name(o.Key); ok {
		name := numberName(n)
		if err := s.publish(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Delivery{}, fault(d.out.broke(s, err))
		}
		return Delivery{File: name + extMessage, Duplicate: true}, nil
	}
	in, err := s.write(o)
	if err != nil {
		if werr, ok := errors.AsType[*writeError](err); ok {
			return Delivery{}, werr.err
		}
		return Delivery{}, fault(err)
	}
	in.result = make(chan error, 1)
	d.out.intents <- in
	if err := <-in.result; err != nil {
		return Delivery{}, fault(err)
	}
	d.text.sent(o, in.size, in.name+extMessage)
	return Delivery{File: in.name + extMessage, Size: in.size}, nil
}

func checkKey(key string) error {
	if key == "" || len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return &mail.Failure{Class: mail.Local, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.0", Diagnostic: 2, MSMail: 1,
			Text: "internal error: bad delivery key", Cause: fmt.Errorf("key %q is not 1 to 255 octets of printable ASCII", key)}
	}
	return nil
}

// writeError is Outbound.Write's own error.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// intent is a file that is written, but not synced, and waits for that, for its key to be journalled and its name to appear.
type intent struct {
	key, name string
	size      int64
	files     []file // contents and side data, to be synced and closed
	session   *session
	result    chan error
}

// abandon removes what was written of a delivery that failed.
func (in *intent) abandon() {
	for _, name := range []string{in.name + extWriting, in.name + extSideWrit} {
		if err := ignoreMissing(in.session.deliver.Remove(name)); err != nil {
			in.session.drop.log.Warn("unfinished file stays until the next start", "file", name, "err", err)
		}
	}
}

// write writes the contents under a name that nobody collects.
func (s *session) write(o Outbound) (*intent, error) {
	name := s.nextName()
	for {
		_, err := s.deliver.Lstat(name + extMessage)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		name = s.nextName()
	}
	h, err := s.deliver.Create(name + extWriting)
	if err != nil {
		return nil, err
	}
	in := &intent{key: o.Key, name: name, files: []file{h}, session: s}
	w := &counter{w: h}
	sum := sha256.New()
	var out io.Writer = w
	if o.Side != nil {
		out = io.MultiWriter(w, sum)
	}
	err = o.Write(out)
	if err != nil && w.err == nil {
		err = &writeError{err}
	} else if w.err != nil {
		err = w.err
	}
	if err == nil && o.Side != nil {
		err = in.writeSide(o.Side, fmt.Sprintf("%x", sum.Sum(nil)))
	}
	if err != nil {
		for _, f := range in.files {
			if cerr := f.Close(); cerr != nil {
				s.drop.log.Warn("unfinished file not closed", "file", name, "err", cerr)
			}
		}
		in.abandon()
		return nil, err
	}
	in.size = w.n
	return in, nil
}

// writeSide binds the side file to the contents: should it stay behind, no later file can take it for its own.
func (in *intent) writeSide(side Side, sum string) error {
	bound := make(Side, 0, len(side)+1)
	for _, f := range side {
		if f.Key != SideHash {
			bound = append(bound, f)
		}
	}
	b, err := append(bound, SideField{SideHash, sum}).Encode()
	if err != nil {
		return &writeError{err}
	}
	h, err := in.session.deliver.Create(in.name + extSideWrit)
	if err != nil {
		return err
	}
	in.files = append(in.files, h)
	_, err = h.Write(b)
	return err
}

// counter tells the drop's own write errors from those of Outbound.Write.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}
