package translate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/shadowpo"

	"github.com/emersion/go-message"
)

// readReport parses the canonical report; nil when the message is none after all: then it travels as any other.
func (o *outbound) readReport() (*dsn.Report, error) {
	src, err := o.content.Open()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	r, err := dsn.Parse(src)
	if errors.Is(err, dsn.ErrNotReport) {
		o.note("report", mail.NoteChanged, "holds no delivery status: shown as an ordinary message")
		return nil, nil
	}
	return r, err
}

// reportKinds are the subjects of reports; MS Mail has only the first (KB Q147471), the others are ours.
var reportKinds = map[dsn.Action]struct{ subject, side string }{
	dsn.Failed:    {subjectFailed, sideNDR},
	dsn.Delayed:   {"Mail delayed", sideDelay},
	dsn.Delivered: {"Mail delivered", sideDR},
	dsn.Relayed:   {"Mail relayed", sideDR},
	dsn.Expanded:  {"Mail delivered to group", sideDR},
}

// report writes a delivery status notification as MS Mail writes its own (KB Q147471, Q131852), from POSTMASTER: the
// original's header, a dashed line, a reason with the recipients that it holds for, the original text. A delivery report
// is told from a failure by its action, not by what it returns (KB Q156728).
func (o *outbound) report(r *dsn.Report) error {
	kind := reportKinds[r.Worst()]
	m := o.msg
	m.From = o.po.Postmaster
	m.To = nil
	for _, rcpt := range o.env.Recipients {
		m.To = append(m.To, rcpt.Address)
	}
	o.sent(o.layout.header)
	m.Subject = kind.subject
	o.side.Add(shadowpo.SideType, kind.side)
	o.side.Add(shadowpo.SideAbout, oneLine(cmp.Or(o.env.About, r.About)))
	h, err := readHeaderOf(r.Header)
	if err != nil {
		h = message.Header{} // the report says what it knows
	}
	text := o.reportText(r, o.people(h, "From", o.env.Recipients[0].Address), o.people(h, "To", address.Address{}))
	return o.body(text, func(lf leaf) bool {
		return lf.embedded > 0 && (lf.role == asText || lf.role == asHTML)
	})
}

// rule is the dashed line: 78 dashes, the width of the DOS client's screen.
var rule = strings.Repeat("-", 78)

// reportText is everything above the original's text. from and to are the original's people.
func (o *outbound) reportText(r *dsn.Report, from, to string) string {
	var b strings.Builder
	line := func(label, value string) { fmt.Fprintf(&b, "%-9s%s\r\n", label, shown(value)) }
	line("FROM:", from)
	line("TO:", to)
	if sent := r.Original.Sent; !sent.IsZero() {
		sent = sent.In(o.po.Zone)
		line("DATE:", sent.Format("02-01-06"))
		line("TIME:", sent.Format("15:04"))
	}
	line("SUBJECT:", r.Original.Subject)
	b.WriteString(rule + "\r\n")

	for _, action := range []dsn.Action{dsn.Failed, dsn.Delayed, dsn.Relayed, dsn.Expanded, dsn.Delivered} {
		o.reasons(&b, r, action)
	}
	if r.About != "" {
		line("MTS-ID:", r.About)
	}
	b.WriteString(rule + "\r\n\r\n")
	return b.String()
}

// reasons groups the recipients of one action by their reason, in the order in which the reasons first occur.
func (o *outbound) reasons(b *strings.Builder, r *dsn.Report, action dsn.Action) {
	type group struct {
		head, advice string
		list         []dsn.Recipient
	}
	var groups []*group
	for _, rcpt := range r.Recipients {
		if rcpt.Action != action {
			continue
		}
		head, advice := o.reason(rcpt)
		i := slices.IndexFunc(groups, func(g *group) bool { return g.head == head && g.advice == advice })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{head: head, advice: advice})
		}
		groups[i].list = append(groups[i].list, rcpt)
	}
	for _, g := range groups {
		b.WriteString(g.head + "\r\n\r\n")
		for _, rcpt := range g.list {
			fmt.Fprintf(b, "    %s\r\n", o.display(rcpt))
			told := g.head
			for _, said := range []string{rcpt.Text, rcpt.Diagnostic} {
				if said = shown(said); said != "" && !strings.Contains(told, said) {
					fmt.Fprintf(b, "        %s\r\n", said)
					told += "\n" + said
				}
			}
			if !rcpt.WillRetryUntil.IsZero() {
				fmt.Fprintf(b, "        Delivery will be tried until %s.\r\n", rcpt.WillRetryUntil.In(o.po.Zone).Format("02-01-06 15:04"))
			}
		}
		b.WriteString("\r\n")
		if g.advice != "" {
			b.WriteString(g.advice + "\r\n\r\n")
		}
	}
}

// reason is "[nnn] text" for a failure, a sentence for the rest.
func (o *outbound) reason(r dsn.Recipient) (head, advice string) {
	head, advice = dsn.Explain(r)
	switch r.Action {
	case dsn.Failed:
		code := codeFor(r)
		if r.MSMail == 0 && code == 1 {
			return fmt.Sprintf("[%03d] %s", code, head), advice
		}
		return fmt.Sprintf("[%03d] %s", code, codeText(code)), advice
	case dsn.Delayed:
		return "The message has not been delivered yet. There is nothing that you must do. " + head, ""
	}
	return head, advice
}

// display is "Display (NET/PO/MBX)": the name by which the post office's users know the recipient, with the address that
// they wrote.
func (o *outbound) display(r dsn.Recipient) string {
	a := o.book.Native(r.Final)
	if !r.Original.IsZero() {
		a = o.book.Native(r.Original)
	}
	name := o.book.Name(a)
	if name == "" {
		name = r.Name
	}
	return shown(dsn.Display(name, a))
}

// shownPeople bounds a list of people in a report's heading.
const shownPeople = 20

// people lists a header's mailboxes, or the one that is known anyway.
func (o *outbound) people(h message.Header, field string, known address.Address) string {
	var out []string
	for i, m := range mailboxes(h, field) {
		if i == shownPeople {
			out = append(out, "...")
			break
		}
		a := o.book.Native(m.Address)
		out = append(out, dsn.Display(cmp.Or(o.book.Name(a), m.Name), a))
	}
	if len(out) == 0 && !known.IsZero() {
		return o.named([]address.Address{known})
	}
	return strings.Join(out, "; ")
}

// named lists addresses with the names that the directory has for them.
func (o *outbound) named(list []address.Address) string {
	var out []string
	for i, a := range list {
		if i == shownPeople {
			out = append(out, "...")
			break
		}
		out = append(out, dsn.Display(o.book.Name(a), a))
	}
	return strings.Join(out, "; ")
}
