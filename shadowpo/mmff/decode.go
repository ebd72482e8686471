package mmff

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"backbone/gateway/mail"
)

// Options say how a post office writes. The zero value is a good default.
type Options struct {
	CodePage      *CodePage // of text and names; nil is 850 (KB Q87432)
	MaxRecipients int       // of one message; 0 is 5000
	AcceptCC      bool      // take a CC token instead of refusing it with 141 as FFAPI does
	// Files opens the file that XTEXT or XATTACH names, already known to be a plain 8.3 name. It answers ErrRefused
	// or fs.ErrNotExist for a file that is the message's mistake. Nil refuses both tokens with 146.
	Files func(name string) (mail.Content, error)
}

func (o *Options) codePage() *CodePage {
	if o.CodePage == nil {
		return CP850
	}
	return o.CodePage
}

func (o *Options) maxRecipients() int {
	if o.MaxRecipients <= 0 {
		return 5000
	}
	return o.MaxRecipients
}

// Decoder reads the messages of one file. It is not safe for concurrent use; what it returned is, as far as the
// input is.
type Decoder struct {
	src  io.ReaderAt
	size int64
	opt  Options

	end    LineEnd
	begun  bool
	at     int64 // of the next message
	number int   // of the last message
	buf    *bufio.Reader
	bufAt  int64 // offset of what buf gives next; -1: nothing
}

// NewDecoder reads the first size octets of src. src must stay open, and its octets the same, for as long as the
// contents of a Message are used: decoding reads header lines and leaves the data where they are. That the size is
// known beforehand is what lets a message that was cut short be refused before any of it is handed on.
func NewDecoder(src io.ReaderAt, size int64, opt Options) *Decoder {
	return &Decoder{src: src, size: size, opt: opt}
}

// Next returns the next message, *Bad for one that cannot be taken, and io.EOF after the last. After a *Bad the next
// call goes on behind it. Any other error is the input's.
func (d *Decoder) Next() (*Message, error) {
	if !d.begun {
		if err := d.begin(); err != nil {
			return nil, err
		}
	}
	over, err := d.over(d.at)
	if err != nil {
		return nil, err
	}
	if over {
		return nil, io.EOF
	}
	d.number++
	off := d.at
	h, err := d.readHeader(off, d.number)
	if err != nil {
		return nil, err
	}
	end := h.end()
	fits := h.sized && end >= 0 && end <= d.size
	if h.sized && !fits {
		where := fmt.Sprintf("octet %d of %d", end, d.size)
		if end < 0 {
			where = "their sum is no number of octets"
		}
		h.fail(CodeParser, line{off: off}, 0, "the sizes of TEXT and attachments reach beyond the end of the file (%s)", where)
	}
	if len(h.errs) == 0 {
		d.at = end
		h.msg.Place = Place{Number: d.number, Offset: off, Length: end - off}
		d.attach(h)
		return h.msg, nil
	}
	bad := &Bad{Errors: h.errs, Header: h.msg, Short: h.short || h.sized && !fits}
	if fits {
		if fits, err = d.boundary(end); err != nil {
			return nil, err
		}
	}
	if !fits {
		if end, err = d.resync(off, d.number); err != nil {
			return nil, err
		}
		bad.Rest = end == d.size
	}
	bad.Place = Place{Number: d.number, Offset: off, Length: end - off}
	d.at = end
	return nil, bad
}

func (d *Decoder) begin() error {
	d.begun = true
	whole := Place{Number: 1, Length: d.size}
	fail := func(code int, text string) error {
		d.at, d.number = d.size, 1
		return &Bad{Place: whole, Rest: true, Short: true, Header: &Message{}, Errors: []*Error{{Code: code, Message: 1, Text: text}}}
	}
	if d.size == 0 {
		return fail(CodeParser, "the file is empty")
	}
	var err error
	if d.end, err = sniff(d.src, d.size); err != nil {
		d.begun = false
		return err
	}
	if d.end == "" {
		return fail(CodePartition, fmt.Sprintf("no line end in the first %d octets", min(d.size, maxLine)))
	}
	return nil
}

// attach makes the message's contents ranges of the file, in the order of the data.
func (d *Decoder) attach(h *header) {
	at := h.data
	if h.msg.Text == nil {
		h.msg.Text = section{d.src, at, h.text}
	}
	at += h.text
	for i, n := range h.sizes {
		if n < 0 {
			continue
		}
		h.msg.Attachments[i].Content = section{d.src, at, n}
		at += n
	}
}

// over tells that no message follows at off: the file ends, or holds nothing more than line ends and Ctrl-Z, with
// which DOS editors and COPY end a file.
func (d *Decoder) over(off int64) (bool, error) {
	if off >= d.size {
		return true, nil
	}
	if d.size-off > 1024 { // CP/M padding never exceeded a sector
		return false, nil
	}
	b := make([]byte, d.size-off)
	if n, err := d.src.ReadAt(b, off); n < len(b) {
		return false, short(err)
	}
	return len(bytes.Trim(b, "\r\n\x1a")) == 0, nil
}

// boundary tells that off is where a message ends: the end of the file, or another message's first line.
func (d *Decoder) boundary(off int64) (bool, error) {
	over, err := d.over(off)
	if over || err != nil {
		return over, err
	}
	b := make([]byte, min(int64(len(version)), d.size-off))
	if n, err := d.src.ReadAt(b, off); n < len(b) {
		return false, short(err)
	}
	return beginsVersion(b), nil
}

// section is a range of the input.
type section struct {
	src  io.ReaderAt
	off  int64
	size int64
}

func (s section) Size() int64 { return s.size }

func (s section) Open() (io.ReadSeekCloser, error) {
	return sectionReader{io.NewSectionReader(s.src, s.off, s.size)}, nil
}

// sectionReader makes an error of an input that has become shorter since it was decoded.
type sectionReader struct{ *io.SectionReader }

func (r sectionReader) Read(p []byte) (int, error) {
	n, err := r.SectionReader.Read(p)
	if err == io.EOF {
		if at, serr := r.Seek(0, io.SeekCurrent); serr == nil && at < r.Size() {
			return n, io.ErrUnexpectedEOF
		}
	}
	return n, err
}

func (sectionReader) Close() error { return nil }

// Whole tells whether no message of a file stops short of its declared end: false for a file that is still being
// written, true also for one that is bad in other ways. The error is the input's.
func Whole(src io.ReaderAt, size int64, opt Options) (bool, error) {
	opt.Files = nil
	d := NewDecoder(src, size, opt)
	for {
		_, err := d.Next()
		if err == io.EOF {
			return true, nil
		}
		if err == nil {
			continue
		}
		bad, ok := errors.AsType[*Bad](err)
		if !ok {
			return false, err
		}
		if bad.Short {
			return false, nil
		}
	}
}

// More tells whether anything follows what Next returned last.
func (d *Decoder) More() bool {
	over, err := d.over(d.at)
	return err != nil || !over
}
