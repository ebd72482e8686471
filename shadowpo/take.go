package shadowpo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"slices"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// Inbound is one message that a post office submitted.
type Inbound struct {
	// Key names this message for all time: "NORTHWIND/PO1/<token>/<ordinal>". See Handler.
	Key string
	// Repeated is true when the message may have been handed over before.
	Repeated bool
	File     string    // the file's name as its writer chose it, made printable
	Written  time.Time // when the file was last written, by the file server's clock
	Message  *mmff.Message
	Side     Side        // of a file with one message; nil when it has none
	Notes    []mail.Note // what the drop itself has to say; Message.Notes come from the codec
	// System and Special tell a message for $SYSTEM or *SPECIAL: directory synchronisation, and a user list, which
	// must never be bounced (KB Q106623, Q112879). What happens to them is the handler's decision.
	System, Special bool

	raw io.ReaderAt
}

// Raw is the message's octets in its file, header and all.
func (in *Inbound) Raw() io.Reader {
	return io.NewSectionReader(in.raw, in.Message.Place.Offset, in.Message.Place.Length)
}

// SHA256 reads the message's octets once more and returns their hash in hex, for a trace.
func (in *Inbound) SHA256() (string, error) {
	h := sha256.New()
	if n, err := io.Copy(h, in.Raw()); err != nil || n != in.Message.Place.Length {
		return "", fmt.Errorf("drop file %s: %d octets read: %w", in.File, n, errors.Join(err))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// take hands over what is left of a claimed file. It sets c.done when nothing is left, c.next otherwise.
func (w *watch) take(ctx context.Context, c *claim) {
	if c.done {
		return
	}
	err := w.takeFile(ctx, c)
	switch {
	case err == nil:
		c.done = true
		return
	case errors.Is(err, errUnsettled):
		c.next = time.Now().Add(max(w.drop.opt.Stable, 0))
		return
	case errors.Is(err, fs.ErrNotExist):
		w.drop.log.Warn("claimed file is gone: someone else removed it", "file", printable(c.name))
		c.done = true
		return
	case ctx.Err() != nil:
		return
	}
	f := mail.AsFailure(err)
	wait := max(min(w.drop.opt.Poll<<min(c.tries, 6), time.Minute), f.RetryAfter)
	c.tries++
	c.repeated = true
	c.next = time.Now().Add(wait)
	w.drop.log.Warn("message of a submitted file is not taken, it waits", "file", printable(c.name), "attempt", c.tries,
		"class", string(f.Class), "err", err, "retry", wait)
}

// errUnsettled: the file was written after it was claimed.
var errUnsettled = errors.New("file is still being written")

func (w *watch) takeFile(ctx context.Context, c *claim) error {
	submit := w.tree.Folder(submitDir)
	now, err := submit.Lstat(c.busy())
	if err != nil {
		return err
	}
	if why := oddity(now, w.drop.opt.MaxFile); why != "" {
		return w.drop.putAside(w.tree, submit, c.busy(), c.name, why)
	}
	if !sameFile(now, c.info) {
		c.info = now
		return errUnsettled
	}
	h, err := submit.Open(c.busy())
	if err != nil {
		return err
	}
	defer h.Close()
	if err := w.messages(ctx, c, h); err != nil {
		return err
	}
	// Whoever still writes to the file has lost that part; keep all of it for the operator instead.
	if now, err = h.Stat(); err != nil {
		return err
	}
	if !sameFile(now, c.info) {
		return w.drop.putAside(w.tree, submit, c.busy(), c.name, "was changed while its messages were taken: they have been sent as they were")
	}
	return nil
}

const (
	// maxLeft is how many messages of a file may wait for another try; then the rest of the file waits with them.
	maxLeft = 50
	// maxBad is how many entries in badmail one file can make; what follows is kept in one piece. A file of nothing
	// but beginnings would fill the disk with reasons.
	maxBad = 100
)

// messages goes through the messages of a file. An error of one is remembered while the others go on.
func (w *watch) messages(ctx context.Context, c *claim, h file) error {
	opt := w.drop.opt.MMFF
	opt.Files = nil
	if w.drop.opt.External {
		opt.Files = w.external
	}
	side, notes := w.side(c, h)
	d := mmff.NewDecoder(h, c.info.Size(), opt)
	var first error
	for n, nbad := 1, 0; ; n++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m, err := d.Next()
		if err == io.EOF {
			return first
		}
		bad, isBad := errors.AsType[*mmff.Bad](err)
		if err != nil && !isBad {
			return err // of the file: nothing behind it can be read either
		}
		if isBad {
			if nbad++; nbad > maxBad {
				bad = rest(bad, c.info.Size())
			}
		}
		if !c.settled(n) {
			if isBad {
				err = w.bad(c, h, n, bad)
			} else {
				in := &Inbound{Key: fmt.Sprintf("%s/%s/%d", w.drop.name, c.token, n), Repeated: c.repeated,
					File: printable(c.name), Written: c.info.ModTime(), Message: m, raw: h}
				if n == 1 {
					in.Side, in.Notes = w.only(d, m, c, side, notes)
				}
				in.System, in.Special = boxes(m)
				err = w.offer(ctx, c, in)
			}
			c.settle(n, err)
			if err != nil {
				first = cmp.Or(first, err)
				if len(c.left) >= maxLeft {
					return first
				}
			}
		}
		if nbad > maxBad {
			return first
		}
	}
}

// rest makes one bad message of all that follows in the file.
func rest(b *mmff.Bad, size int64) *mmff.Bad {
	b.Place.Length, b.Rest = size-b.Place.Offset, true
	b.Errors = append([]*mmff.Error{{Code: mmff.CodeParser, Message: b.Place.Number, Offset: b.Place.Offset,
		Text: fmt.Sprintf("more than %d bad messages in one file: the rest of it is kept in one piece", maxBad)}}, b.Errors...)
	return b
}

// only lets a side file speak for a file of one message: it says nothing about which of several it means.
func (w *watch) only(d *mmff.Decoder, m *mmff.Message, c *claim, side Side, notes []mail.Note) (Side, []mail.Note) {
	if side == nil || m.Place.Offset == 0 && !d.More() {
		return side, notes
	}
	return nil, append(notes, mail.Note{Field: "side file", Action: mail.NoteLost, Detail: "ignored: the file holds several messages"})
}

// boxes finds the recipients that are no persons.
func boxes(m *mmff.Message) (system, special bool) {
	for _, to := range m.To {
		if to.Type != address.MS {
			continue
		}
		if a, err := to.MSMail(); err == nil {
			system, special = system || a.System(), special || a.Special()
		}
	}
	return system, special
}

// offer hands one message to the handler and settles a final refusal.
func (w *watch) offer(ctx context.Context, c *claim, in *Inbound) error {
	err := w.call(ctx, c, in)
	if err == nil {
		w.drop.text.received(in)
		return nil
	}
	f := mail.AsFailure(err)
	if !f.Final() {
		return err
	}
	n := in.Message.Place.Number
	return w.bad(c, in.raw, n, &mmff.Bad{Place: in.Message.Place, Header: in.Message,
		Errors: []*mmff.Error{{Code: mmff.CodeSubmit, Message: n, Offset: in.Message.Place.Offset, Text: printable(f.Error())}}})
}

// maxPanics is how often one file may stop the handler before it counts as poison.
const maxPanics = 3

func (w *watch) call(ctx context.Context, c *claim, in *Inbound) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		c.panics++
		w.drop.log.Error("handler failed on a submitted message", "file", in.File, "id", in.Key, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		if c.panics < maxPanics {
			err = mail.LocalFault("internal error", fmt.Errorf("panic: %v", r))
		} else {
			err = mail.BadContent(fmt.Sprintf("internal error, %d times", maxPanics), fmt.Errorf("panic: %v", r))
		}
	}()
	return w.handle(ctx, in)
}

// side reads the side file of a claim. What is wrong with it costs the message its side data, never its way.
func (w *watch) side(c *claim, h io.ReaderAt) (Side, []mail.Note) {
	if !c.side {
		return nil, nil
	}
	side, err := readSide(w.tree.Folder(submitDir), c.sideBusy())
	if err == nil {
		if want := side.Get(SideHash); want != "" {
			sum := sha256.New()
			if _, err = io.Copy(sum, io.NewSectionReader(h, 0, c.info.Size())); err == nil && want != hex.EncodeToString(sum.Sum(nil)) {
				err = errors.New("it belongs to a file with other contents")
			}
		}
	}
	if err != nil {
		w.drop.log.Warn("side file is ignored", "file", printable(c.name), "err", err)
		return nil, []mail.Note{{Field: "side file", Action: mail.NoteLost, Detail: "ignored: " + printable(err.Error())}}
	}
	return side, nil
}

func readSide(f folder, name string) (Side, error) {
	b, err := readBounded(f, name)
	if err != nil {
		return nil, err
	}
	return ParseSide(b)
}

// readBounded reads a file that may be anything, as far as a side file can go.
func readBounded(f folder, name string) ([]byte, error) {
	i, err := f.Lstat(name)
	if err != nil {
		return nil, err
	}
	if why := oddity(i, maxSide); why != "" {
		return nil, errors.New(why)
	}
	h, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return io.ReadAll(io.LimitReader(h, maxSide+1))
}

// external opens a file that XTEXT or XATTACH names, in submit and nowhere else.
func (w *watch) external(name string) (mail.Content, error) {
	submit := w.tree.Folder(submitDir)
	if _, ext := splitName(name); slices.Contains(reservedExt, ext) {
		return nil, fmt.Errorf("%w: it is part of the drop's own working", mmff.ErrRefused)
	}
	i, err := submit.Lstat(name)
	if err != nil {
		return nil, err
	}
	if why := oddity(i, w.drop.opt.MaxFile); why != "" {
		return nil, fmt.Errorf("%w: it %s", mmff.ErrRefused, why)
	}
	return external{submit, name, i}, nil
}

// reservedExt are the extensions that mean something here. Naming one in XATTACH would send another message's file.
var reservedExt = []string{extMessage, extWriting, extClaimed, extDone, extSide, extSideWrit, extSideBusy, extReason}

type external struct {
	folder folder
	name   string
	info   fs.FileInfo
}

func (e external) Size() int64 { return e.info.Size() }

func (e external) Open() (io.ReadSeekCloser, error) {
	h, err := e.folder.Open(e.name)
	if err != nil {
		return nil, err
	}
	if now, err := h.Stat(); err != nil || !sameFile(now, e.info) {
		return nil, errors.Join(fmt.Errorf("file %s was changed", e.name), err, h.Close())
	}
	return struct {
		*io.SectionReader
		io.Closer
	}{io.NewSectionReader(h, 0, e.info.Size()), h}, nil
}
