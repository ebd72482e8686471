package dsn

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"

	"backbone/gateway/address"

	"github.com/emersion/go-message"
)

// Bounds of what Parse reads: no report of a sane peer comes near them.
const (
	maxStatus     = 8 << 20 // octets of the delivery-status part
	maxRecipients = 10_000
	maxParts      = 32 // body parts looked at
	maxDepth      = 4  // a report inside a list's or a scanner's wrapping
)

// Parse reads a delivery status notification. It is tolerant of what MTAs write: fields in any block and order, foreign
// action words, comments after values, a missing last boundary, Exim's X-Failed-Recipients without a delivery-status
// part. It answers ErrNotReport when there is no status of any recipient, and an error of the reader as it is. Memory
// and work are bounded by constants whatever r holds.
func Parse(r io.Reader) (*Report, error) {
	src := &source{r: r}
	e, err := message.ReadWithOptions(src, &message.ReadOptions{MaxHeaderBytes: MaxHeader})
	if src.err != nil {
		return nil, fmt.Errorf("dsn: read report: %w", src.err)
	}
	if err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
		return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	var rep Report
	parts := 0
	rep.walk(e, 0, &parts)
	if src.err != nil {
		return nil, fmt.Errorf("dsn: read report: %w", src.err)
	}
	if len(rep.Recipients) == 0 {
		rep.failedRecipients(e.Header.Get("X-Failed-Recipients"))
	}
	if len(rep.Recipients) == 0 {
		return nil, ErrNotReport
	}
	return &rep, nil
}

// source remembers an error of the stream itself, to tell it from one of the syntax.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// walk looks at the parts in order until it has the status and the original's header. A syntax error ends the walk: what was
// found before it counts.
func (r *Report) walk(e *message.Entity, depth int, parts *int) {
	typ, _, err := e.Header.ContentType()
	if err != nil {
		return
	}
	switch typ = strings.ToLower(typ); {
	case typ == "message/delivery-status", typ == "message/global-delivery-status":
		r.readStatus(e.Body)
	case typ == "text/rfc822-headers", typ == "message/rfc822", typ == "message/global", typ == "message/global-headers",
		typ == "message/rfc822-headers":
		if r.Header == nil && len(r.Recipients) > 0 {
			if h, err := readHeader(e.Body); err == nil {
				r.Header = h
				r.Original = describe(h)
			}
		}
	case strings.HasPrefix(typ, "multipart/") && depth < maxDepth:
		mr := e.MultipartReader()
		if mr == nil {
			return
		}
		for *parts < maxParts && (r.Header == nil || len(r.Recipients) == 0) {
			*parts++
			p, err := mr.NextPart()
			if p == nil || err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
				return
			}
			r.walk(p, depth+1, parts)
		}
	}
}

// readStatus reads the delivery-status part (RFC 3464 2.1): blocks of fields, parted by empty lines.
func (r *Report) readStatus(body io.Reader) {
	br := bufio.NewReaderSize(io.LimitReader(body, maxStatus), maxLine)
	for more := true; more && len(r.Recipients) < maxRecipients; {
		var block []headerField
		block, more = readBlock(br)
		rcpt := Recipient{}
		x400 := X400{-1, -1}
		for _, f := range block {
			if !r.messageField(f) {
				rcpt.recipientField(f, &x400)
			}
		}
		if rcpt.Final.IsZero() {
			rcpt.Final = rcpt.Original
		}
		if rcpt.Final.IsZero() {
			continue
		}
		if x400.Reason >= 0 || x400.Diagnostic >= 0 {
			rcpt.X400 = &x400
		}
		rcpt.settle()
		r.Recipients = append(r.Recipients, rcpt)
	}
}

func (r *Report) messageField(f headerField) bool {
	switch f.name {
	case "original-envelope-id":
		r.EnvID = decodeText(f.value)
	case "reporting-mta":
		r.ReportingMTA = parseMTA(decodeText(f.value))
	case "received-from-mta":
		r.ReceivedFrom = parseMTA(decodeText(f.value))
	case "arrival-date":
		r.Arrival = parseTime(f.value)
	case "x-mts-identifier":
		r.About = decodeText(f.value)
	default:
		return false
	}
	return true
}

func (rcpt *Recipient) recipientField(f headerField, x400 *X400) {
	switch f.name {
	case "original-recipient":
		rcpt.Original = ParseAddress(decodeText(f.value))
	case "final-recipient":
		rcpt.Final = ParseAddress(decodeText(f.value))
	case "x-display-name":
		rcpt.Name = decodeText(f.value)
	case "action":
		rcpt.Action = Action(strings.ToLower(firstWord(f.value)))
	case "status":
		rcpt.Status = firstWord(f.value)
	case "remote-mta":
		rcpt.RemoteMTA = parseMTA(decodeText(f.value))
	case "diagnostic-code":
		typ, text, ok := strings.Cut(decodeText(f.value), ";")
		if !ok {
			typ, text = "", typ
		}
		if text = clean(text); text != "" {
			rcpt.DiagnosticType, rcpt.Diagnostic = cmp.Or(strings.ToLower(oneWord(typ)), "smtp"), text
		}
	case "last-attempt-date":
		rcpt.LastAttempt = parseTime(f.value)
	case "will-retry-until":
		rcpt.WillRetryUntil = parseTime(f.value)
	case "x-reason-text":
		rcpt.Text = decodeText(f.value)
	case "x-msmail-code":
		rcpt.MSMail = max(0, number(f.value, 999))
	case "x-x400-reason":
		x400.Reason = number(f.value, 255)
	case "x-x400-diagnostic":
		x400.Diagnostic = number(f.value, 255)
	}
}

// settle makes action and status agree where a stranger gave only one of them, or a word of his own.
func (rcpt *Recipient) settle() {
	if !ValidStatus(rcpt.Status) {
		rcpt.Status = ""
	}
	switch rcpt.Action {
	case Failed, Delayed, Delivered, Relayed, Expanded:
	default:
		switch {
		case strings.HasPrefix(rcpt.Status, "4"):
			rcpt.Action = Delayed
		case strings.HasPrefix(rcpt.Status, "2"):
			rcpt.Action = Delivered
		default:
			rcpt.Action = Failed
		}
	}
	rcpt.Status = rcpt.status()
	if rcpt.Action != Delayed {
		rcpt.WillRetryUntil = time.Time{} // RFC 3464 2.3.9
	}
}

// failedRecipients takes Exim's header, which it writes on bounces of every format.
func (r *Report) failedRecipients(list string) {
	for _, a := range strings.SplitN(list, ",", maxRecipients+1) {
		final := ParseAddress(a)
		if final.Type != address.SMTP || len(r.Recipients) == maxRecipients {
			continue
		}
		r.Recipients = append(r.Recipients, Recipient{Final: final, Action: Failed, Status: "5.0.0"})
	}
}

const maxLine = 64 << 10

type headerField struct{ name, value string } // name in lower case, value unfolded

// readBlock reads fields up to an empty line, which it takes, or the end. A line that is no field is skipped, an
// over-long one cut. Lines end with CRLF or LF.
func readBlock(br *bufio.Reader) (block []headerField, more bool) {
	for {
		line, err := br.ReadSlice('\n')
		s := strings.TrimRight(string(line), "\r\n")
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if s == "" && (err != nil || len(block) > 0) {
			return block, err == nil
		}
		if name, value, ok := strings.Cut(s, ":"); s != "" && (s[0] == ' ' || s[0] == '\t') {
			if last := len(block) - 1; last >= 0 && len(block[last].value) < maxLine {
				block[last].value += s
			}
		} else if ok {
			block = append(block, headerField{strings.ToLower(strings.TrimSpace(name)), value})
		}
		if err != nil {
			return block, false
		}
	}
}

func firstWord(s string) string {
	if w := strings.Fields(clean(s)); len(w) > 0 {
		return w[0]
	}
	return ""
}

func parseTime(s string) time.Time {
	t, err := netmail.ParseDate(strings.TrimSpace(s))
	if err != nil {
		return time.Time{}
	}
	return t
}

// number is a small one, or -1.
func number(s string, limit int) int {
	n, err := strconv.Atoi(firstWord(s))
	if err != nil || n < 0 || n > limit {
		return -1
	}
	return n
}
