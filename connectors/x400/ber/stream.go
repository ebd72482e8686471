package ber

import (
	"errors"
	"io"
)

// Stream writes elements to an io.Writer as they come, without knowing how long they will be: constructed ones have
// indefinite lengths, long strings go in pieces. The first error of the Writer stays and is given by Err.
type Stream struct {
	w   io.Writer
	buf []byte
	err error
}

// pieceSize is how much of a string is looked at before it is decided that it goes in pieces.
const pieceSize = 32 << 10

// NewStream writes to w.
func NewStream(w io.Writer) *Stream { return &Stream{w: w} }

// Err is the first error.
func (s *Stream) Err() error { return s.err }

// Fail records an error of whoever makes the contents.
func (s *Stream) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Raw writes octets that are encoded already.
func (s *Stream) Raw(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
}

// Write writes what f appends to a Writer: elements small enough to be held.
func (s *Stream) Write(f func(*Writer)) {
	var w Writer
	f(&w)
	b, err := w.Bytes()
	if err != nil {
		s.Fail(err)
		return
	}
	s.Raw(b)
}

// Cons writes a constructed element whose members f writes.
func (s *Stream) Cons(t Tag, f func()) {
	s.Raw(append(appendTag(nil, t, true), 0x80))
	f()
	s.Raw([]byte{0, 0})
}

// Octets writes a string under tag t. Its pieces, when it is long, are OCTET STRINGs, whatever type the string has: the
// character string types are encoded as if they were tagged ones (X.690 8.7.3, 8.23.3).
func (s *Stream) Octets(t Tag, r io.Reader) {
	if s.err != nil {
		return
	}
	if s.buf == nil {
		s.buf = make([]byte, pieceSize)
	}
	n, err := io.ReadFull(r, s.buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		s.Raw(AppendHeader(nil, t, false, n))
		s.Raw(s.buf[:n])
		return
	}
	s.Cons(t, func() {
		for s.err == nil {
			if n > 0 {
				s.Raw(AppendHeader(nil, OctetString, false, n))
				s.Raw(s.buf[:n])
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if err != nil {
				s.Fail(err)
				return
			}
			n, err = io.ReadFull(r, s.buf)
		}
	})
}
