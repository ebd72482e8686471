package dirsync

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"backbone/gateway/address"
)

// Text is a message as mail: the body, and the list where it stands apart.
type Text struct {
	Subject    string
	Body       string
	Attachment string // "" when the transactions stand in the body
}

// AttachmentName is what the attached list is called. *Ours.*
const AttachmentName = "DIRSYNC.TXT"

// Text writes the message with CRLF lines.
func (m *Message) Text(form Form) Text {
	var b strings.Builder
	key := func(name, format string, args ...any) { fmt.Fprintf(&b, name+"="+format+"\r\n", args...) }
	b.WriteString("[dirsync]\r\n")
	key("TASK", "%s", m.Task)
	key("REQNAME", "PCM:%s", m.Requestor)
	if len(m.Types) > 0 {
		key("TYPES", "%s", strings.Join(m.Types, "|"))
	}
	if m.Templates {
		key("TEMPLATE", "YES")
	}
	key("REQSEQ", "%010d", m.Req.Number)
	key("SRVSEQ", "%010d", m.Srv.Number)
	key("XBB-VERSION", "%d", Version)
	key("XBB-CYCLE", "%d", m.Cycle)
	key("XBB-IMPSEQ", "%d", m.ImpSeq)
	key("XBB-REQMARK", "%s", m.Req)
	key("XBB-SRVMARK", "%s", m.Srv)
	if len(m.Base) > 0 {
		marks := make([]string, len(m.Base))
		for i, k := range m.Base {
			marks[i] = k.String()
		}
		key("XBB-BASE", "%s", strings.Join(marks, ","))
	}
	if m.Password != "" {
		key("XBB-PASSWORD", "%s", oneLine(m.Password))
	}
	if m.Full {
		key("XBB-FULL", "YES")
	}
	if m.Code != 0 {
		key("XBB-ERROR", "%d %s", m.Code, oneLine(m.Reason))
	}
	for i, p := range m.Problems {
		if i == 100 {
			key("XBB-REPORT", "and %d more", len(m.Problems)-i)
			break
		}
		key("XBB-REPORT", "%d %d %s", p.Code, p.Line, oneLine(p.Text))
	}
	key("TRANSACTIONS", "%s", form)
	t := Text{Subject: m.subject()}
	var list strings.Builder
	list.WriteString("[dirsync-transactions]\r\n")
	for i := range m.Transactions {
		m.Transactions[i].appendTo(&list)
	}
	if form == InAttachment {
		t.Attachment = list.String()
	} else {
		b.WriteString(list.String())
	}
	t.Body = b.String()
	return t
}

// subject is as KB Q96060 and Q133428 show it.
func (m *Message) subject() string {
	switch m.Task {
	case Answer:
		return fmt.Sprintf("SrvTx R=%d S=%d(was %d) I=%d %d sent", m.Req.Number, m.Srv.Number, m.was(), m.ImpSeq, len(m.Transactions))
	case Refuse:
		return fmt.Sprintf("Error %d for %s", m.Code, m.Requestor)
	}
	return fmt.Sprintf("ReqTx R=%d(was %d) S=%d I=%d %d sent", m.Req.Number, m.was(), m.Srv.Number, m.ImpSeq, len(m.Transactions))
}

func (m *Message) was() uint64 {
	if len(m.Base) == 0 {
		return 0
	}
	return m.Base[0].Number
}

// String is NUMBER:STAMP.
func (k Mark) String() string { return fmt.Sprintf("%d:%016x", k.Number, k.Stamp) }

func parseMark(s string) (k Mark, err error) {
	number, stamp, _ := strings.Cut(s, ":")
	if k.Number, err = strconv.ParseUint(number, 10, 63); err == nil {
		k.Stamp, err = strconv.ParseUint(stamp, 16, 64)
	}
	if err != nil {
		err = fmt.Errorf("%q is no mark", cut(s, 40))
	}
	return k, err
}

// ErrNotDirSync is returned for text without a [dirsync] section.
var ErrNotDirSync = errors.New("dirsync: the message has no [dirsync] section")

// Parse reads a message from its body and, where it says so, its attachments. The error says that the message as a whole
// can't be read; what is wrong with single records is in Problems.
func Parse(body string, attachments ...string) (Message, error) {
	var m Message
	r := reader{}
	in := ""
	form := Form("")
	n := 0
	for line := range lines(body) {
		n++
		if h := strings.ToLower(strings.TrimSpace(line)); strings.HasPrefix(h, "[") {
			in = h
			continue
		}
		switch in {
		case "[dirsync]":
			f, err := m.header(line)
			if err != nil {
				return m, fmt.Errorf("dirsync: line %d: %w", n, err)
			}
			if f != "" {
				form = f
			}
		case "[dirsync-transactions]":
			r.line(n, line)
		}
	}
	if in == "" || m.Task == "" && m.Requestor == "" {
		return m, ErrNotDirSync
	}
	if form == "internal" {
		return m, fmt.Errorf("dirsync: transactions in MS Mail's internal form, which is not public: the partner must send them %s or %s", InBody, InAttachment)
	}
	for _, a := range attachments {
		inside, n := false, 0
		for line := range lines(a) {
			n++
			if strings.HasPrefix(line, "[") {
				inside = strings.EqualFold(strings.TrimSpace(line), "[dirsync-transactions]")
			} else if inside {
				r.line(n, line)
			}
		}
	}
	r.finish()
	m.Transactions, m.Problems = r.out, append(m.Problems, r.problems...)
	if m.Task == "" {
		m.Task = Answer
	}
	if m.Requestor == "" {
		return m, errors.New("dirsync: REQNAME is missing")
	}
	for _, t := range m.Transactions {
		if m.Task != Answer {
			m.Req.Number = max(m.Req.Number, t.Number)
		}
	}
	return m, nil
}

// lines yields lines without their ends, whichever of CR, LF and CRLF those are. Octets that are no UTF-8 become U+FFFD.
func lines(s string) func(func(string) bool) {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return func(yield func(string) bool) {
		for s != "" {
			i := strings.IndexAny(s, "\r\n")
			if i < 0 {
				yield(s)
				return
			}
			if !yield(s[:i]) {
				return
			}
			if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
				i++
			}
			s = s[i+1:]
		}
	}
}

// header takes a key of the [dirsync] section. Unknown ones are left alone: the list of them is not public.
func (m *Message) header(line string) (form Form, err error) {
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return "", nil
	}
	value = strings.TrimSpace(value)
	number := func() (n uint64) {
		if n, err = strconv.ParseUint(value, 10, 63); err != nil {
			err = fmt.Errorf("%s: %q is no number", strings.TrimSpace(key), cut(value, 40))
		}
		return n
	}
	switch strings.ToUpper(strings.TrimSpace(key)) {
	case "TASK":
		m.Task = Task(strings.ToUpper(value))
	case "REQNAME", "NAME":
		typ, po := splitType(value)
		switch typ {
		case "", "PCM", "CSI", "MS":
		default:
			return "", fmt.Errorf("requestor %q is no PCM:NET/PO", cut(value, 40))
		}
		p, perr := address.ParsePostOffice(po)
		if perr != nil {
			return "", fmt.Errorf("requestor %q is no PCM:NET/PO: %w", cut(value, 40), perr) // KB Q99268
		}
		m.Requestor = p.String()
	case "TYPES":
		m.Types = nil
		for t := range strings.SplitSeq(value, "|") {
			if t = strings.ToUpper(strings.TrimSpace(t)); t != "" && len(t) <= 8 && len(m.Types) < 32 {
				m.Types = append(m.Types, t)
			}
		}
	case "TEMPLATE":
		m.Templates = strings.EqualFold(value, "YES")
	case "REQSEQ":
		m.Req.Number = number()
	case "SRVSEQ":
		m.Srv.Number, m.Counts = number(), true
	case "TRANSACTIONS":
		return Form(strings.ToLower(value)), nil
	case "XBB-REQMARK":
		m.Req, err = parseMark(value)
	case "XBB-SRVMARK":
		m.Srv, err = parseMark(value)
	case "XBB-BASE":
		m.Base = nil
		for f := range strings.SplitSeq(value, ",") {
			k, perr := parseMark(f)
			if perr != nil || len(m.Base) == maxMarks {
				return "", fmt.Errorf("%s: %q is no list of at most %d marks", strings.TrimSpace(key), cut(value, 40), maxMarks)
			}
			m.Base = append(m.Base, k)
		}
	case "XBB-IMPSEQ":
		m.ImpSeq = number()
	case "XBB-CYCLE":
		m.Cycle = int64(number())
	case "XBB-PASSWORD":
		m.Password = value
	case "XBB-FULL":
		m.Full = strings.EqualFold(value, "YES")
	case "XBB-ERROR":
		code, text, _ := strings.Cut(value, " ")
		value = code
		m.Code, m.Reason = int(number()%10000), text
	case "XBB-REPORT":
		f := strings.SplitN(value, " ", 3)
		if len(f) == 3 && len(m.Problems) < maxProblems {
			p := Problem{Text: f[2]}
			p.Code, _ = strconv.Atoi(f[0]) // a report for people: what can't be read is 0
			p.Line, _ = strconv.Atoi(f[1])
			m.Problems = append(m.Problems, p)
		}
	}
	return "", err
}
