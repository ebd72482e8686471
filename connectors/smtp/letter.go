package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"backbone/connectors/smtp/downgrade"
	"backbone/gateway/mail"
)

// letter is stored content on its way out: read once to know what it asks of a peer, and once more to be sent. Its
// beginning is kept from the first reading; for most messages that is all of it.
type letter struct {
	src   io.ReadSeekCloser
	size  int64
	buf   *[sendBuffer]byte
	first []byte // the content's beginning, in buf
	facts downgrade.Facts
}

// errStored marks what is our own store's fault.
var errStored = errors.New("stored content")

// letterBuffers are lent for one attempt.
var letterBuffers = sync.Pool{New: func() any { return new([sendBuffer]byte) }}

// openLetter reads the content through.
func openLetter(c mail.Content) (*letter, error) {
	src, err := c.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStored, err)
	}
	l := &letter{src: src, size: c.Size(), buf: letterBuffers.Get().(*[sendBuffer]byte)}
	if err := l.look(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errStored, err), l.close())
	}
	return l, nil
}

func (l *letter) look() error {
	n, err := io.ReadFull(l.src, l.buf[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	l.first = l.buf[:n]
	l.facts.Write(l.first) //nolint:errcheck // never fails
	total := int64(n)
	if err == nil {
		rest, err := l.each(func(p []byte) error {
			_, err := l.facts.Write(p)
			return err
		})
		if total += rest; err != nil {
			return err
		}
	}
	l.facts.End()
	if total != l.size {
		return fmt.Errorf("%d octets of %d", total, l.size)
	}
	return nil
}

// each gives what is left of the source, block by block.
func (l *letter) each(f func([]byte) error) (n int64, err error) {
	buf := letterBuffers.Get().(*[sendBuffer]byte)
	defer letterBuffers.Put(buf)
	for {
		k, err := l.src.Read(buf[:])
		n += int64(k)
		if k > 0 {
			if err := f(buf[:k]); err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("%w: %w", errStored, err)
		}
	}
}

// whole tells that first is all of the content.
func (l *letter) whole() bool { return int64(len(l.first)) == l.size }

// open gives the content from its beginning.
func (l *letter) open() (io.Reader, error) {
	if l.whole() {
		return bytes.NewReader(l.first), nil
	}
	if _, err := l.src.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%w: %w", errStored, err)
	}
	return storedReader{l.src}, nil
}

func (l *letter) close() error {
	letterBuffers.Put(l.buf)
	l.buf, l.first = nil, nil
	return l.src.Close()
}

// storedReader marks the store's errors, to tell them from the wire's.
type storedReader struct{ r io.Reader }

func (s storedReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errStored, err)
	}
	return n, err
}

// plan is how a letter goes to one peer.
type plan struct {
	eightBit bool // announced: the peer takes it
	utf8     bool // its header needs SMTPUTF8, which the peer has
	convert  bool // it must be rewritten
	how      downgrade.Options
}

// plan decides what has to be done to the letter for v. It fails when nothing can make it fit.
func (l *letter) plan(v *conversation, env *mail.Envelope) (plan, *mail.Failure) {
	s := &l.facts
	p := plan{how: downgrade.Options{Drop: droppedField}}
	has8, hasUTF8 := v.has("8BITMIME"), v.has("SMTPUTF8")
	p.how.SevenBit = !has8 && s.EightBit()
	// A raw 8-bit header that nobody called UTF-8 goes to who takes 8 bits, as it always did; one under SMTPUTF8 only to
	// who offers that.
	p.how.ASCIIHeader = s.EightBitHeader && !hasUTF8 && (env.UTF8 || !has8)
	p.utf8 = s.EightBitHeader && hasUTF8 && env.UTF8
	p.convert = p.how.SevenBit || p.how.ASCIIHeader || s.Malformed()
	p.eightBit = has8 && s.EightBit()
	if p.how.ASCIIHeader && l.utf8Addresses() {
		return p, &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeMessage, Code: 553, Enhanced: "5.6.7", Reason: 1, Diagnostic: 11, MSMail: 2,
			Text: "the header holds addresses beyond ASCII, which " + v.host + " does not take (SMTPUTF8)"}
	}
	return p, nil
}

// utf8Addresses tells that the header names mailboxes that only SMTPUTF8 carries.
func (l *letter) utf8Addresses() bool {
	for _, field := range fields(l.header()) {
		if downgrade.AddressesBeyondASCII(bytes.ReplaceAll(field, []byte("\r\n"), nil)) {
			return true
		}
	}
	return false
}

// header is the letter's header, as far as it was kept.
func (l *letter) header() []byte {
	h, _ := scanHead(l.first, 0, l.whole())
	return l.first[:h.end]
}

// send writes heading and letter, dot-stuffed, and the final dot. It does not wait for the reply.
func (l *letter) send(v *conversation, p plan, heading []byte) (changes []string, err error) {
	w := &dotWriter{v: v, lineStart: true}
	if changes, err = l.write(w, p, heading); err != nil {
		return nil, err
	}
	w.end()
	return changes, nil
}

// write writes heading and letter as they go to a peer, however often.
func (l *letter) write(w io.Writer, p plan, heading []byte) (changes []string, err error) {
	if _, err := w.Write(heading); err != nil {
		return nil, err
	}
	if p.convert {
		return downgrade.Convert(w, l.open, p.how)
	}
	return nil, l.copy(w)
}

// copy sends the letter as it is, but for fields that never leave.
func (l *letter) copy(w io.Writer) error {
	h, _ := scanHead(l.first, 0, l.whole())
	header, rest := h.split(l.first, nil)
	for _, b := range [][]byte{header, rest} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if l.whole() {
		return nil
	}
	if _, err := l.src.Seek(int64(len(l.first)), io.SeekStart); err != nil {
		return fmt.Errorf("%w: %w", errStored, err)
	}
	_, err := l.each(func(p []byte) error {
		_, err := w.Write(p)
		return err
	})
	return err
}

// dotWriter stuffs dots (RFC 5321 4.5.2) and gathers what is written to it in the conversation's buffer. It is given
// CRLF lines.
type dotWriter struct {
	v         *conversation
	lineStart bool
}

func (w *dotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if w.lineStart && p[0] == '.' {
			w.v.w = append(w.v.w, '.')
		}
		// Up to where the next dot begins a line.
		end := bytes.Index(p, []byte("\n."))
		if end < 0 {
			end = len(p)
		} else {
			end++
		}
		if len(w.v.w)+end > sendBuffer {
			end = min(end, max(sendBuffer-len(w.v.w), 1))
		}
		w.v.w = append(w.v.w, p[:end]...)
		w.lineStart = p[end-1] == '\n'
		p = p[end:]
		if len(w.v.w) >= sendBuffer {
			if err := w.v.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// end completes the last line and adds the final dot.
func (w *dotWriter) end() {
	if !w.lineStart {
		w.v.w = append(w.v.w, "\r\n"...)
	}
	w.v.w = append(w.v.w, ".\r\n"...)
}
