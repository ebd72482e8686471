package translate

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"

	"github.com/emersion/go-message"
	gomail "github.com/emersion/go-message/mail"
	"github.com/emersion/go-message/textproto"
)

// header is the message's header, with the empty line after it.
func (in *inbound) header() ([]byte, error) {
	var h gomail.Header
	m := in.m
	in.contentHeader(&h)
	h.Set("MIME-Version", "1.0")
	in.priority(&h)
	if in.kind != "" {
		h.Set(fieldKind, in.kind)
		auto := "auto-replied" // RFC 3834 5
		if in.kind == kindDirSync {
			auto = "auto-generated"
		}
		h.Set("Auto-Submitted", auto)
	}
	h.SetMessageID(in.env.MessageID)
	in.sent(&h)
	if s := shown(m.Subject); m.Subject != "" {
		h.SetSubject(s)
		if s != m.Subject {
			h.Set(fieldSubject, exactText(m.Subject))
		}
	}
	var to, cc []*gomail.Address
	for _, r := range in.env.Recipients {
		if in.isCC(r.Address) {
			cc = append(cc, in.mailbox(r.Address, r.Name))
		} else {
			to = append(to, in.mailbox(r.Address, r.Name))
		}
	}
	h.SetAddressList("Cc", cc)
	h.SetAddressList("To", to)
	h.SetAddressList("From", []*gomail.Address{in.mailbox(m.From, in.a.Book.Name(m.From))})
	return headerBytes(h.Header.Header)
}

func headerBytes(h textproto.Header) ([]byte, error) {
	var b bytes.Buffer
	if err := textproto.WriteHeader(&b, h); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// mailbox is how everyone else can reply to a.
func (in *inbound) mailbox(a address.Address, name string) *gomail.Address {
	s := in.a.Book.As(a, address.SMTP)
	if s.Type != address.SMTP {
		s = address.Encapsulate(a, in.a.Domain)
	}
	return &gomail.Address{Name: shown(name), Address: s.Value}
}

func (in *inbound) isCC(a address.Address) bool {
	for _, c := range in.cc {
		if c.Equal(a) {
			return true
		}
	}
	return false
}

func (in *inbound) priority(h *gomail.Header) {
	letter := in.m.Priority
	if !validPriority(letter) {
		letter = in.side.Get(shadowpo.SidePriority)
	}
	if !validPriority(letter) {
		letter = ""
	}
	_, importance, receipt := priorityIn(letter)
	if importance != "" {
		h.Set("X-Priority", map[string]string{"low": "5", "normal": "3", "high": "1"}[importance])
		h.Set("Importance", importance)
	}
	if !plainPriority(letter) {
		h.Set(fieldPriority, letter)
	}
	if receipt || in.side.Get(shadowpo.SideReceipt) != "" {
		h.SetAddressList("Disposition-Notification-To", []*gomail.Address{in.mailbox(in.m.From, "")})
		in.note("PRIORITY", mail.NoteMapped, "registered: a receipt is asked for (RFC 8098)")
	}
}

// sent writes Date, and DATE and TIME as they stood when they can't be read back from it: an hour that daylight saving
// skips, a year of two digits.
func (in *inbound) sent(h *gomail.Header) {
	h.SetDate(in.env.Sent)
	if in.m.Date == "" || in.m.Time == "" {
		return
	}
	var again mmff.Message
	again.SetSent(in.env.Sent)
	if stamp := in.m.Date + " " + in.m.Time; stamp != again.Date+" "+again.Time && plainStamp(stamp) {
		h.Set(fieldSent, stamp)
	}
}

// plainStamp tells what DATE and TIME may bring back from a header: digits and what stands between them.
func plainStamp(s string) bool {
	return len(s) <= 24 && strings.Count(s, " ") == 1 && strings.Trim(s, "0123456789-:. ") == ""
}

// contentHeader describes the content: the text alone, or text and attachments.
func (in *inbound) contentHeader(h *gomail.Header) {
	switch {
	case in.report != nil:
		h.SetContentType("multipart/report", map[string]string{"report-type": "delivery-status", "boundary": in.boundary()})
	case len(in.files) > 0:
		h.SetContentType("multipart/mixed", map[string]string{"boundary": in.boundary()})
	default:
		in.textHeader(&h.Header)
	}
}

func (in *inbound) textHeader(h *message.Header) {
	if in.form.exact {
		h.Set(fieldBody, "exact")
	}
	h.Set("Content-Transfer-Encoding", in.form.encoding)
	h.SetContentType("text/plain", map[string]string{"charset": in.form.charset})
}

// boundary can't stand in the content: base64 and quoted-printable never have "=_", and a plain body that has it at the
// beginning of a line is not sent plain.
func (in *inbound) boundary() string {
	return fmt.Sprintf("=_%x", sha256.Sum256([]byte(in.a.ID)))[:34]
}

// content is the whole message behind its header.
func (in *inbound) content(head []byte) io.ReadCloser {
	c := &chain{}
	c.add(head)
	if in.report == nil && len(in.files) == 0 {
		c.open(in.text(true))
		return c
	}
	var h message.Header
	in.textHeader(&h)
	c.part(in.boundary(), h, in.text(false))
	if in.report != nil {
		var h message.Header
		h.SetContentType("message/delivery-status", nil)
		c.part(in.boundary(), h, bytesOpener([]byte(in.report.StatusPart())))
	}
	for _, f := range in.files {
		c.part(in.boundary(), attachmentHeader(f.Name), func() (io.Reader, io.Closer, error) {
			src, err := f.Content.Open()
			if err != nil {
				return nil, nil, err
			}
			return encoded(src, "base64", false), src, nil
		})
	}
	c.add([]byte("\r\n--" + in.boundary() + "--\r\n"))
	return c
}

func (in *inbound) text(alone bool) opener {
	return func() (io.Reader, io.Closer, error) {
		if in.m.Text == nil {
			return strings.NewReader(""), io.NopCloser(nil), nil
		}
		src, err := in.m.Text.Open()
		if err != nil {
			return nil, nil, err
		}
		t := &canonicalText{lines: newLineReader(src, in.m.LineEnd, in.m.Text.Size()), page: in.page}
		if in.form.charset == mimeLabel(in.page) {
			t.page = nil
		}
		return encoded(t, in.form.encoding, alone && !in.form.atLine), src, nil
	}
}

func attachmentHeader(name string) message.Header {
	var h message.Header
	safe := SafeName(name)
	if safe != name {
		h.Set(fieldName, exactText(name))
	}
	params := map[string]string{}
	if safe != "" {
		params["filename"] = safe
	}
	h.SetContentDisposition("attachment", params)
	h.Set("Content-Transfer-Encoding", "base64")
	h.SetContentType(typeOf(safe), nil)
	return h
}

// opener opens what comes next only when its turn has come.
type opener func() (io.Reader, io.Closer, error)

func bytesOpener(b []byte) opener {
	return func() (io.Reader, io.Closer, error) { return bytes.NewReader(b), io.NopCloser(nil), nil }
}

// chain reads one piece after the other, and holds at most one of them open.
type chain struct {
	next   []opener
	r      io.Reader
	closer io.Closer
	err    error
}

func (c *chain) add(b []byte) { c.next = append(c.next, bytesOpener(b)) }

func (c *chain) open(o opener) { c.next = append(c.next, o) }

// part adds a body part behind its boundary. A header that can't be written ends the chain when it is reached.
func (c *chain) part(boundary string, h message.Header, body opener) {
	b, err := headerBytes(h.Header)
	if err != nil {
		c.open(func() (io.Reader, io.Closer, error) { return nil, nil, err })
		return
	}
	c.add([]byte("\r\n--" + boundary + "\r\n" + string(b)))
	c.open(body)
}

func (c *chain) Read(p []byte) (int, error) {
	for c.err == nil {
		if c.r == nil {
			if len(c.next) == 0 {
				return 0, io.EOF
			}
			r, closer, err := c.next[0]()
			if err != nil {
				c.err = err
				break
			}
			c.r, c.closer, c.next = r, closer, c.next[1:]
		}
		n, err := c.r.Read(p)
		if err == io.EOF {
			c.r, err = nil, c.closer.Close()
		}
		c.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, c.err
}

// Close closes the piece that is open.
func (c *chain) Close() error {
	if c.r == nil {
		return nil
	}
	c.r, c.next = nil, nil
	return c.closer.Close()
}
