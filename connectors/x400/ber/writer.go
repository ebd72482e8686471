package ber

import (
	"bytes"
	"fmt"
	"math/big"
	"time"
)

// Writer appends elements with definite lengths. The zero Writer is empty. Values that can't be encoded are recorded,
// and Bytes gives the first such error.
type Writer struct {
	buf []byte
	err error
}

// Bytes are the octets written so far.
func (w *Writer) Bytes() ([]byte, error) { return w.buf, w.err }

// Failf records that what was asked for can't be encoded.
func (w *Writer) Failf(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("ber: "+format, args...)
	}
}

// Len is how many octets were written so far.
func (w *Writer) Len() int { return len(w.buf) }

// Cons writes a constructed element whose members f writes.
func (w *Writer) Cons(t Tag, f func()) {
	w.buf = appendTag(w.buf, t, true)
	at := len(w.buf)
	w.buf = append(w.buf, 0)
	f()
	w.patch(at)
}

// patch writes the length of what follows at+1 at at, making room when it needs more than one octet.
func (w *Writer) patch(at int) {
	n := len(w.buf) - at - 1
	if n < 0x80 {
		w.buf[at] = byte(n)
		return
	}
	l := appendLength(nil, n)
	w.buf = append(w.buf, l[1:]...)
	copy(w.buf[at+len(l):], w.buf[at+1:at+1+n])
	copy(w.buf[at:], l)
}

// Octets writes a primitive element with the given contents: any string type.
func (w *Writer) Octets(t Tag, b []byte) {
	w.buf = append(AppendHeader(w.buf, t, false, len(b)), b...)
}

// Text writes a primitive element with the given contents.
func (w *Writer) Text(t Tag, s string) {
	w.buf = append(AppendHeader(w.buf, t, false, len(s)), s...)
}

// Int writes an INTEGER or ENUMERATED in the fewest octets.
func (w *Writer) Int(t Tag, v int64) {
	n := 1
	for x := v; x > 127 || x < -128; x >>= 8 {
		n++
	}
	w.buf = AppendHeader(w.buf, t, false, n)
	for n--; n >= 0; n-- {
		w.buf = append(w.buf, byte(v>>(8*n)))
	}
}

// Bool writes a BOOLEAN; true is FF, as DER has it.
func (w *Writer) Bool(t Tag, v bool) {
	b := byte(0)
	if v {
		b = 0xff
	}
	w.buf = append(AppendHeader(w.buf, t, false, 1), b)
}

// Null writes a NULL.
func (w *Writer) Null(t Tag) { w.buf = AppendHeader(w.buf, t, false, 0) }

// Bits writes a BIT STRING.
func (w *Writer) Bits(t Tag, b Bits) {
	w.buf = append(AppendHeader(w.buf, t, false, 1+len(b.Bytes)), byte(b.Unused))
	w.buf = append(w.buf, b.Bytes...)
}

// OID writes an OBJECT IDENTIFIER.
func (w *Writer) OID(t Tag, o OID) {
	b, ok := o.encoded()
	if !ok {
		w.Failf("%q is no object identifier", o)
	}
	w.Octets(t, b)
}

// Time writes a UTCTime of 13 characters, in UTC.
func (w *Writer) Time(t Tag, v time.Time) { w.Text(t, v.UTC().Format("060102150405Z")) }

// Raw writes octets that are encoded already.
func (w *Writer) Raw(b []byte) { w.buf = append(w.buf, b...) }

// AppendHeader appends identifier and definite length of an element whose n octets of contents follow: what a content
// that is streamed needs in front of it.
func AppendHeader(b []byte, t Tag, constructed bool, n int) []byte {
	return appendLength(appendTag(b, t, constructed), n)
}

func appendTag(b []byte, t Tag, constructed bool) []byte {
	id := byte(t.Class) << 6
	if constructed {
		id |= 0x20
	}
	if t.Number < 0x1f {
		return append(b, id|byte(t.Number))
	}
	return appendBase128(append(b, id|0x1f), big.NewInt(int64(t.Number)))
}

func appendLength(b []byte, n int) []byte {
	if n < 0x80 {
		return append(b, byte(n))
	}
	k := 1
	for x := n >> 8; x > 0; x >>= 8 {
		k++
	}
	b = append(b, 0x80|byte(k))
	for k--; k >= 0; k-- {
		b = append(b, byte(n>>(8*k)))
	}
	return b
}

// Retagged is an element's encoding under another tag, in definite form: how an IMPLICIT tag takes over a type
// that was kept as raw octets. It is nil when raw is no element.
func Retagged(raw []byte, t Tag) []byte {
	d := NewDecoder(raw, DefaultLimits)
	e := d.Root()
	if d.Err() != nil {
		return nil
	}
	return append(AppendHeader(nil, t, e.Constructed, len(e.Body)), bytes.Clone(e.Body)...)
}
