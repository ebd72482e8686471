package mmff

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// header is what one pass over a message's header lines found.
type header struct {
	msg    *Message
	errs   []*Error
	number int
	opt    *Options

	text  int64   // size of the inline body; 0 with XTEXT
	sizes []int64 // of the attachments, in order; -1 when the content is not inline
	data  int64   // offset of the first data octet
	// sized is true when the header ends where it should and every size in it can be read, so that the message's
	// end is known even when other things are wrong.
	sized bool
	short bool // the file stopped within the header
	seen  map[string]bool
	io    error // of a file named by XTEXT or XATTACH: not the message's fault
}

// end is the offset of the first octet behind the message, or -1 when the sizes overflow.
func (h *header) end() int64 {
	at := h.data
	for _, n := range append([]int64{h.text}, h.sizes...) {
		if n < 0 {
			continue
		}
		if at > math.MaxInt64-n {
			return -1
		}
		at += n
	}
	return at
}

func (h *header) fail(code int, l line, number int, format string, args ...any) {
	if len(h.errs) < maxErrors {
		h.errs = append(h.errs, &Error{Code: code, Message: h.number, Line: number, Offset: l.off, Text: ascii7(fmt.Sprintf(format, args...))})
	}
}

var version = []byte("VERSION:")

func beginsVersion(b []byte) bool {
	return len(b) >= len(version) && bytes.EqualFold(b[:len(version)], version)
}

// readHeader reads the header that begins at off. It goes on after a mistake, both to find every mistake and to learn
// where the message ends. Errors are the input's.
func (d *Decoder) readHeader(off int64, number int) (*header, error) {
	h := &header{msg: &Message{LineEnd: d.end}, number: number, opt: &d.opt, seen: map[string]bool{}, sized: true}
	in, err := d.linesAt(off)
	if err != nil {
		return nil, err
	}
	defer func() { d.bufAt = in.off }()
	for n := 1; ; n++ {
		l, err := in.next()
		if err == io.EOF {
			if in.off < d.size {
				return nil, short(err)
			}
			h.fail(CodeParser, line{off: off}, 0, "the file ends before the TEXT line")
			h.short, h.sized = true, false
			return h, nil
		}
		if err != nil {
			return nil, err
		}
		if l.short && in.off < d.size {
			return nil, short(nil)
		}
		if n > 1 && beginsVersion(l.text) {
			h.fail(CodeParser, l, n, "the next message begins before this one's TEXT line")
			h.sized = false
			return h, nil
		}
		if in.off-off > maxHeader {
			h.fail(CodeParser, l, n, "no TEXT line in %d octets", maxHeader)
			h.sized = false
			return h, nil
		}
		last := h.line(l, n)
		if h.io != nil {
			return nil, h.io
		}
		if last {
			h.data = in.off
			h.complete(off)
			return h, nil
		}
		if l.short {
			h.short, h.sized = true, false
			return h, nil
		}
	}
}

// linesAt reads from off, out of what is buffered when off lies in it: small messages come many to a file.
func (d *Decoder) linesAt(off int64) (*lines, error) {
	if d.buf == nil {
		d.buf, d.bufAt = bufio.NewReaderSize(nil, maxLine), -1
	}
	if skip := off - d.bufAt; d.bufAt >= 0 && skip >= 0 && skip <= int64(d.buf.Buffered()) {
		if _, err := d.buf.Discard(int(skip)); err != nil {
			return nil, err
		}
	} else {
		d.buf.Reset(io.NewSectionReader(d.src, off, d.size-off))
	}
	return &lines{buf: d.buf, end: d.end, off: off}, nil
}

// line takes one header line and tells whether it was the last.
func (h *header) line(l line, n int) (last bool) {
	token, tail, ok := strings.Cut(string(l.text), ":")
	token = strings.ToUpper(strings.TrimRight(token, " "))
	switch {
	case l.fault != "":
		h.fail(CodePartition, l, n, "cannot split line %s: %s", show(string(l.text)), l.fault)
		token = strings.Trim(token, "\r\n")
		if l.short || l.text == nil || isSized(token) {
			h.sized = false
		}
		return !l.short && (token == "TEXT" || token == "XTEXT")
	case !ok:
		h.fail(CodePartition, l, n, "cannot split line %s into token and tail", show(string(l.text)))
		return false
	case n == 1 && token != "VERSION":
		h.fail(CodeToken, l, n, "a message begins with VERSION, not with token %s", show(token))
		h.sized = false
		return false
	}
	if single[token] {
		if h.seen[token] {
			h.fail(CodeParser, l, n, "%s occurs twice", token)
			return false
		}
		h.seen[token] = true
	}
	m := h.msg
	switch token {
	case "VERSION":
		h.version(l, n, strings.TrimSpace(tail))
	case "TO":
		m.To = h.address(m.To, l, n, tail)
	case "CC":
		if !h.opt.AcceptCC {
			h.fail(CodeToken, l, n, "cannot match token CC (has tail %s): a basic message has no such token", show(tail))
			return false
		}
		m.CC = h.address(m.CC, l, n, tail)
	case "FROM":
		if a := h.address(nil, l, n, tail); len(a) == 1 {
			m.From = a[0]
		}
	case "DATE":
		m.Date = h.decode(token, strings.TrimSpace(tail))
	case "TIME":
		m.Time = h.decode(token, strings.TrimSpace(tail))
	case "SUBJECT":
		m.Subject = unescape(h.decode(token, tail))
	case "PRIORITY":
		m.Priority = h.decode(token, strings.TrimSpace(tail))
	case "ATTACHMENT", "ATTACHMENTS": // the token table has the plural (KB Q118785), real output the singular (Q103801)
		h.attachment(l, n, tail)
	case "XATTACH":
		h.external(l, n, tail)
	case "TEXT":
		size, ok := parseSize(strings.TrimSpace(tail))
		if !ok {
			h.fail(CodeParser, l, n, "TEXT has no size in octets but %s", show(tail))
			h.sized = false
		}
		h.text = size
		return true
	case "XTEXT":
		m.Text = h.file(CodeTextFile, l, n, strings.TrimSpace(h.decode(token, tail)))
		return true
	default:
		h.fail(CodeToken, l, n, "cannot match token %s (has tail %s)", show(token), show(tail))
	}
	return false
}

// single are the tokens that a message has at most once. What FFAPI does with a second one nobody published; taking
// either would be a guess.
var single = map[string]bool{"VERSION": true, "FROM": true, "DATE": true, "TIME": true, "SUBJECT": true, "PRIORITY": true}

func isSized(token string) bool {
	return token == "TEXT" || token == "XTEXT" || strings.HasPrefix(token, "ATTACHMENT")
}

// complete checks what only the whole header tells.
func (h *header) complete(off int64) {
	at := line{off: off}
	if len(h.msg.To)+len(h.msg.CC) == 0 && !h.failedOn(CodeAddress, CodeService, CodePartition) {
		h.fail(CodeAddress, at, 0, "no TO line")
	}
	if !h.seen["FROM"] && !h.failedOn(CodePartition) {
		h.fail(CodeAddress, at, 0, "no FROM line")
	}
}

func (h *header) failedOn(codes ...int) bool {
	for _, e := range h.errs {
		for _, c := range codes {
			if e.Code == c {
				return true
			}
		}
	}
	return false
}

func (h *header) version(l line, n int, v string) {
	major, minor, ok := strings.Cut(v, ".")
	if !ok || len(major) != 1 || !digits(minor) || major < "1" || major > "3" {
		h.fail(CodeParser, l, n, "version %s is none of 1.00 to 3.99", show(v))
	}
	h.msg.Version = v
}

func (h *header) address(to []address.Address, l line, n int, tail string) []address.Address {
	if len(h.msg.To)+len(h.msg.CC) >= h.opt.maxRecipients() {
		if !h.failedOn(CodeTooMany) {
			h.fail(CodeTooMany, l, n, "more than %d recipients", h.opt.maxRecipients())
		}
		return to
	}
	s, lost := h.opt.codePage().Decode([]byte(tail))
	a, err := address.ParseMMFF(s)
	if err == nil && lost > 0 {
		err = fmt.Errorf("address %s has octets that code page %s does not know", show(s), h.opt.codePage())
	}
	if err != nil {
		code := CodeAddress
		if e, ok := errors.AsType[*address.Error](err); ok && e.Part == address.PartType {
			code = CodeService
		}
		h.fail(code, l, n, "bad %s", err)
		return to
	}
	return append(to, a)
}

func (h *header) attachment(l line, n int, tail string) {
	tail = strings.TrimRight(tail, " ")
	i := strings.LastIndexByte(tail, ' ') // names hold blanks: the size is the last word
	size, ok := int64(0), false
	if i > 0 {
		size, ok = parseSize(tail[i+1:])
	}
	name := ""
	if ok {
		name = strings.Trim(h.decode("ATTACHMENT", tail[:i]), " ")
	}
	switch {
	case !ok:
		h.fail(CodeParser, l, n, "ATTACHMENT is not a file name and a size in octets but %s", show(tail))
		h.sized = false
		return
	case name == "":
		h.fail(CodeParser, l, n, "ATTACHMENT has no file name")
	case len(h.sizes) >= maxAttachments:
		h.fail(CodeParser, l, n, "more than %d attachments", maxAttachments)
		h.sized = false
		return
	}
	h.msg.Attachments = append(h.msg.Attachments, Attachment{Name: name})
	h.sizes = append(h.sizes, size)
}

// maxAttachments bounds what one header can make us hold. MS Mail's own bound is not published.
const maxAttachments = 2000

// external takes XATTACH. The table in Q118785 shows no separator before the logical name, the command line has a
// comma (Q113454): both it and a blank are read.
func (h *header) external(l line, n int, tail string) {
	s := strings.TrimSpace(h.decode("XATTACH", tail))
	physical, logical := s, ""
	if i := strings.IndexAny(s, ", "); i >= 0 {
		physical, logical = s[:i], strings.TrimSpace(s[i+1:])
	}
	if logical == "" {
		logical = physical
	}
	c := h.file(CodeOpen, l, n, physical)
	if len(h.sizes) >= maxAttachments {
		h.fail(CodeParser, l, n, "more than %d attachments", maxAttachments)
		return
	}
	h.msg.Attachments = append(h.msg.Attachments, Attachment{Name: logical, Content: c})
	h.sizes = append(h.sizes, -1)
}

// file opens what XTEXT or XATTACH names. Such a name may be any path on the writer's machine (KB Q118785); ours takes
// only the plain name of a file beside the message, and only where the post office is set up for it.
func (h *header) file(code int, l line, n int, name string) mail.Content {
	if h.opt.Files == nil {
		h.fail(CodeExternalName, l, n, "text and attachments in files of their own are not taken from this post office: %s", show(name))
		return nil
	}
	if !Plain83(name) {
		h.fail(CodeExternalName, l, n, "%s is not the plain name of a file beside this one", show(name))
		return nil
	}
	c, err := h.opt.Files(name)
	switch {
	case err == nil:
		h.msg.Notes = append(h.msg.Notes, mail.Note{Field: "file " + name, Action: mail.NoteMapped, Detail: "taken from a file beside the message"})
		return c
	case errors.Is(err, ErrRefused):
		h.fail(CodeExternalName, l, n, "%s: %v", show(name), err)
	case errors.Is(err, fs.ErrNotExist):
		h.fail(code, l, n, "cannot open file %s: it is not there", show(name))
	default:
		h.io = fmt.Errorf("mmff: file %s named in message %d: %w", name, h.number, err)
	}
	return nil
}

func (h *header) decode(field, raw string) string {
	s, lost := h.opt.codePage().Decode([]byte(raw))
	if lost > 0 {
		h.msg.Notes = append(h.msg.Notes, mail.Note{Field: field, Action: mail.NoteLost,
			Detail: fmt.Sprintf("%d octets have no character in code page %s", lost, h.opt.codePage())})
	}
	return s
}

func parseSize(s string) (int64, bool) {
	if !digits(s) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
