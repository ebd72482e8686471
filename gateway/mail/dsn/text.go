package dsn

import (
	"fmt"
	"strings"
	"time"

	"backbone/gateway/address"
)

// Subject is the report's subject line, as Exchange worded it (KB Q157630).
func (r *Report) Subject() string {
	s := clean(r.Original.Subject)
	if s == "" {
		s = "(no subject)"
	}
	switch r.Worst() {
	case Failed:
		return "Undeliverable: " + s
	case Delayed:
		return "Delayed: " + s
	case Relayed:
		return "Relayed: " + s
	case Expanded:
		return "Expanded: " + s
	}
	return "Delivered: " + s
}

// openings tell a person in the first line what kind of report this is.
var openings = []struct {
	action Action
	text   string
}{
	{Failed, "did not reach the following recipient(s):"},
	{Delayed, "has not reached the following recipient(s) yet. There is nothing that you must do: delivery goes on being tried."},
	{Delivered, "was delivered to the following recipient(s):"},
	{Relayed, "was handed on for the following recipient(s); their system will not tell whether it arrived:"},
	{Expanded, "was delivered to the following distribution list(s):"},
}

// shownRecipients bounds the text part; the delivery-status part lists all.
const shownRecipients = 200

// text is the part for people.
func (r *Report) text(headerOnly bool) string {
	var b strings.Builder
	b.WriteString("Your message\r\n\r\n")
	line := func(label, value string) {
		if value = clean(value); value != "" {
			fmt.Fprintf(&b, "    %-9s%s\r\n", label, value)
		}
	}
	line("Subject:", r.Original.Subject)
	line("Sent:", humanTime(r.Original.Sent))
	line("Id:", r.Original.MessageID)
	it := "" // the first opening completes the sentence "Your message ..."
	for _, o := range openings {
		n := 0
		for i := range r.Recipients {
			if r.Recipients[i].Action != o.action {
				continue
			}
			if n == 0 {
				b.WriteString("\r\n" + it + o.text + "\r\n")
				it = "It "
			}
			if n++; n <= shownRecipients {
				r.Recipients[i].text(&b)
			}
		}
		if n > shownRecipients {
			fmt.Fprintf(&b, "\r\n    and %d more, listed in the second part of this report.\r\n", n-shownRecipients)
		}
	}
	b.WriteString("\r\n")
	line("From:", r.ReportingMTA.Name)
	line("MTS-ID:", r.About)
	if headerOnly {
		b.WriteString("\r\nOnly the header of your message is returned with this report.\r\n")
	}
	return b.String()
}

func (r *Recipient) text(b *strings.Builder) {
	who := Display(r.Name, r.Final)
	fmt.Fprintf(b, "\r\n%s", who)
	if !r.LastAttempt.IsZero() {
		fmt.Fprintf(b, " on %s", humanTime(r.LastAttempt))
	}
	b.WriteString("\r\n")
	line := func(s string) {
		if s = clean(s); s != "" {
			b.WriteString("    " + s + "\r\n")
		}
	}
	if !r.Original.IsZero() && r.Original != r.Final {
		line("You wrote the address as " + r.Original.Value + ".")
	}
	reason, advice := Explain(*r)
	line(reason)
	line(r.Text)
	if r.Diagnostic != "" {
		by := r.RemoteMTA.Name
		if by == "" {
			by = "The other system"
		}
		line(by + " said: " + r.Diagnostic)
	}
	line(advice)
	if !r.WillRetryUntil.IsZero() && r.Action == Delayed {
		line("Delivery will be tried until " + humanTime(r.WillRetryUntil) + ".")
	}
	codes := "Status " + r.status()
	if r.X400 != nil {
		codes += fmt.Sprintf("; X.400 reason %d", r.X400.Reason)
		if r.X400.Diagnostic >= 0 {
			codes += fmt.Sprintf(", diagnostic %d", r.X400.Diagnostic)
		}
	}
	if r.MSMail > 0 {
		codes += fmt.Sprintf("; MS Mail [%03d]", r.MSMail)
	}
	line(codes)
}

// Display is how reports name a recipient: the friendly name with the address, never a bare internal form when there
// is a name (KB Q237951).
func Display(name string, a address.Address) string {
	name, value := clean(name), clean(a.Value)
	switch {
	case value == "":
		return name
	case name == "" || strings.EqualFold(name, value):
		return value
	}
	return name + " (" + value + ")"
}

func humanTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("Mon, 2 Jan 2006 15:04:05 -0700")
}

// status is the RFC 3463 code, or the bare class when what was given is not one.
func (r *Recipient) status() string {
	if ValidStatus(r.Status) {
		return r.Status
	}
	return defaultStatus(r.Action)
}

// ValidStatus tells an RFC 3463 code: class 2, 4 or 5, subject and detail of one to three digits.
func ValidStatus(s string) bool {
	p := strings.Split(s, ".")
	if len(p) != 3 || p[0] != "2" && p[0] != "4" && p[0] != "5" {
		return false
	}
	for _, n := range p[1:] {
		if len(n) == 0 || len(n) > 3 || strings.Trim(n, "0123456789") != "" {
			return false
		}
	}
	return true
}
