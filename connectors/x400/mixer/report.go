package mixer

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/p22"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
)

// IntendedAs writes a recipient's originally specified number and O/R address into an RFC 3461 ORCPT, from which a report
// finds them again, also when it comes back through SMTP: "x400;3;/S=Kumar/O=SITEB/.../" (the number is *ours*).
func IntendedAs(number int64, or address.ORAddress) string {
	return fmt.Sprintf("x400;%d;%s", number, or.MIXER())
}

// intended undoes IntendedAs, of an address that dsn has parsed; number is 0 when there is none.
func intended(a address.Address) (number int64, or address.ORAddress) {
	if a.Type != address.X400 {
		return 0, or
	}
	v := a.Value
	if head, rest, ok := strings.Cut(v, ";"); ok {
		if n, err := strconv.ParseInt(head, 10, 16); err == nil {
			number, v = n, rest
		}
	}
	or, err := address.ParseORAddress(v)
	if err != nil {
		or = address.ORAddress{}
	}
	return number, or
}

// statuses are the enhanced status codes of X.411's diagnostics (RFC 2156 appendix; RFC 3463).
var statuses = map[int64]string{0: "5.1.1", 1: "5.1.4", 2: "5.4.5", 3: "5.4.6", 4: "5.2.1", 5: "5.4.7", 6: "5.6.1", 7: "5.2.3", 8: "5.6.3", 9: "5.6.2",
	10: "5.6.2", 11: "5.5.4", 12: "5.6.0", 13: "5.3.4", 14: "5.5.0", 15: "5.6.1", 16: "5.5.3", 17: "5.7.1", 18: "5.5.4", 19: "5.6.5",
	26: "5.7.1", 27: "5.4.6", 28: "5.7.2", 29: "5.7.2", 30: "5.2.4", 46: "5.7.5", 47: "5.6.3", 48: "5.4.0", 49: "5.4.7"}

var reasonStatuses = map[int64]string{0: "5.4.0", 1: "5.0.0", 2: "5.6.3", 5: "5.7.1", 6: "5.4.3", 8: "5.7.0"}

func status(reason, diagnostic int64) string {
	if s := statuses[diagnostic]; s != "" && diagnostic >= 0 {
		return s
	}
	if s := reasonStatuses[reason]; s != "" {
		return s
	}
	return "5.0.0"
}

// FromReport writes a report as a delivery status notification for o.To (RFC 2156 5.3.10).
func (m *Mapper) FromReport(w io.Writer, r *p1.Report, mta string, o dsn.Options) (eightBit bool, err error) {
	out := &dsn.Report{ReportingMTA: dsn.MTA{Type: "x400", Name: mta + " in " + r.ID.GDI.String()}, About: r.Subject.Local, EnvID: Correlator(r.ContentExtensions)}
	for _, x := range r.Recipients {
		d := dsn.Recipient{Final: m.Native(x.Actual.Address), Action: dsn.Delivered, Status: "2.1.5", LastAttempt: x.Arrival, Text: clean(x.Supplementary)}
		if x.Intended != nil {
			d.Original = m.Native(x.Intended.Address)
		}
		if x.NonDelivery {
			d.Action, d.Status = dsn.Failed, status(x.Reason, x.Diagnostic)
			d.X400 = &dsn.X400{Reason: int(x.Reason), Diagnostic: int(x.Diagnostic)}
			d.DiagnosticType, d.Diagnostic = "x400", strings.TrimSpace(fmt.Sprintf("%d %d %s", x.Reason, x.Diagnostic, clean(x.Supplementary)))
		} else if !x.Delivered.IsZero() {
			d.LastAttempt = x.Delivered
		}
		out.Recipients = append(out.Recipients, d)
	}
	var original mail.Content
	if r.Returned.Present() && r.Returned.OctetLen() < int64(p22.Limits.Joined) {
		if content, err := p22.Parse(r.Returned.Octets()); err == nil && content.IPM != nil {
			var b bytes.Buffer
			if m.FromIPM(&b, content.IPM, Facts{}) == nil {
				original = held(b.Bytes())
			}
		}
	}
	return dsn.Build(w, out, original, o)
}

// held is a small content in memory.
type held []byte

func (h held) Size() int64 { return int64(len(h)) }
func (h held) Open() (io.ReadSeekCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(h), io.NopCloser(nil)}, nil
}

// ToReport makes a report of a delivery status notification. Facts that it lacks come from the caller: the report's
// identifier, our domain, and now. ok is false when X.411 has no such report: a delay.
func (m *Mapper) ToReport(d *dsn.Report, id p1.MTSIdentifier, trace []p1.TraceElement, now time.Time) (r *p1.Report, ok bool) {
	r = &p1.Report{ID: id, Trace: trace, Subject: p1.MTSIdentifier{GDI: id.GDI, Local: d.About}}
	correlator := d.EnvID
	if s, rest, isMTS := ParseMTSIdentifier(d.EnvID); isMTS {
		r.Subject, correlator = s, rest
	}
	if correlator != "" {
		r.ContentExtensions = append(r.ContentExtensions, NewCorrelator(correlator))
	}
	if r.Subject.Local == "" {
		r.Subject.Local = "unknown"
	}
	for i, x := range d.Recipients {
		if x.Action == dsn.Delayed {
			continue
		}
		number, or := intended(x.Original)
		if number == 0 {
			number = int64(i + 1)
		}
		out := p1.ReportedRecipient{Actual: p1.ORName{Address: m.OR(x.Final)}, Number: number, Arrival: now, Diagnostic: -1,
			Indicators: ber.NewBits(8, p1.Responsibility, p1.OriginatingMTANonDelivery, p1.OriginatorNonDeliveryReport)}
		if !or.IsZero() {
			out.Actual.Address = or
			if actual := m.OR(x.Final); !actual.Equal(or) && !x.Final.IsZero() {
				out.Actual.Address, out.Intended = actual, &p1.ORName{Address: or}
			}
		}
		if x.Action == dsn.Failed {
			out.NonDelivery, out.Reason, out.Diagnostic = true, 1, 0
			if x.X400 != nil {
				out.Reason, out.Diagnostic = int64(x.X400.Reason), int64(x.X400.Diagnostic)
			}
			out.Supplementary = supplementary(x)
		} else {
			out.Delivered = now
			if !x.LastAttempt.IsZero() {
				out.Delivered = x.LastAttempt
			}
			if x.Action == dsn.Relayed {
				out.UserType = 6 // other: we can't say more
			}
		}
		r.Recipients = append(r.Recipients, out)
	}
	return r, len(r.Recipients) > 0
}

// supplementary is what a person may read, in 256 characters of PrintableString.
func supplementary(x dsn.Recipient) string {
	text := strings.TrimSpace(x.Status + " " + x.Text + " " + x.Diagnostic)
	text = strings.Map(func(r rune) rune {
		if r == '@' || r == '_' {
			return ' '
		}
		if !address.PrintableString(string(r)) {
			return '.'
		}
		return r
	}, text)
	return text[:min(len(text), 256)]
}

// ParseMTSIdentifier reads MIXER's "[/PRMD=../ADMD=../C=../;local]" from the beginning of an envelope identifier, and gives
// what follows it: the originator's own, which came as content correlator.
func ParseMTSIdentifier(s string) (id p1.MTSIdentifier, rest string, ok bool) {
	in, ok := strings.CutPrefix(s, "[")
	in, rest, ok2 := strings.Cut(in, "]")
	gdi, local, ok3 := strings.Cut(in, ";")
	if !ok || !ok2 || !ok3 || local == "" || len(local) > 32 {
		return p1.MTSIdentifier{}, "", false
	}
	or, err := address.ParseORAddress(gdi)
	if err != nil {
		return p1.MTSIdentifier{}, "", false
	}
	return p1.MTSIdentifier{GDI: p1.GDI{Country: or.C, ADMD: or.A, PRMD: or.P}, Local: local}, rest, true
}

// Correlator is what the originator's system gave to be returned with reports, "" when nothing or when it is no text.
func Correlator(all []p1.Extension) string {
	x, ok := p1.Find(all, p1.ExtContentCorrelator)
	if !ok {
		return ""
	}
	d := ber.NewDecoder(x.Value, ber.DefaultLimits)
	text := d.Root().Text()
	if d.Err() != nil || len(text) > 100 || strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return ""
	}
	return text
}

// NewCorrelator carries an RFC 3461 ENVID as the content correlator (X.411 8.2.1.1.1.32), an IA5String.
func NewCorrelator(envid string) p1.Extension {
	return p1.Extension{Number: p1.ExtContentCorrelator, Value: append(ber.AppendHeader(nil, ber.IA5String, false, len(envid)), envid...)}
}
