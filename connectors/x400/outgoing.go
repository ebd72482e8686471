package x400

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/mixer"
	"backbone/connectors/x400/p1"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
)

// Keys of Envelope.Extra: what only P1 can say, for the way on.
const (
	extraID        = "p1.mts-identifier"
	extraContentID = "p1.content-identifier"
	extraTrace     = "p1.trace"         // base64 of the elements as they came
	extraEITs      = "p1.original-eits" // base64, as it came, and so are the others
	extraBilateral = "p1.bilateral-information"
	extraExtension = "p1.extensions" // base64 of the envelope's extensions that are relayed as they came
	extraName      = "p1.originator" // base64, when it says what an address here can't
	extraPerRcpt   = "p1.recipients" // base64 of the recipients that came with more than an address here says
)

// octets is a rendered MTS-APDU.
type octets struct {
	joined
	done func()
}

// render makes the MTS-APDU of t.
func (p *peer) render(t *connectors.Transfer) (*octets, error) {
	env := &t.Envelope
	m := p.mapper(t.Note)
	o := m.Options
	if env.Kind == mail.KindReport {
		apdu, err := p.renderReport(t, m)
		if err != nil || apdu != nil {
			return apdu, err
		}
	}
	v := p.envelope(env)
	r, err := t.Content.Open()
	if err != nil {
		return nil, mail.LocalFault("the content can't be opened", err)
	}
	if env.ContentType != "" && env.ContentType != "message/rfc822" {
		v.ContentType = contentType(env.ContentType)
		return header(v, r, t.Content.Size(), o, func() { r.Close() }) // read only
	}
	defer r.Close() // read only
	s := newSpool(p.dir, 0)
	source := &watched{ReadSeeker: r}
	err = p.renderContent(s, source, env, m)
	if source.err == nil {
		_, source.err = io.Copy(io.Discard, source) // what follows the last boundary
	}
	if err != nil && source.err == nil && s.fault == nil && source.at == t.Content.Size() {
		err = p.renderOpaque(s, source, t, m, err)
	}
	switch {
	case source.err == nil && source.at != t.Content.Size():
		source.err = io.ErrUnexpectedEOF
		fallthrough
	case source.err != nil:
		s.close() //nolint:errcheck // the first error counts
		return nil, mail.LocalFault("the content can't be read", source.err)
	case s.fault != nil:
		s.close() //nolint:errcheck // the first error counts
		return nil, mail.LocalFault("the spool file can't be written", s.fault)
	case err != nil:
		s.close() //nolint:errcheck // the first error counts
		if f := (*mail.Failure)(nil); errors.As(err, &f) {
			return nil, f
		}
		return nil, mail.BadContent("the content can't be mapped to X.400", err)
	}
	v.ContentType = p1.ContentType{BuiltIn: p1.ContentP22}
	if o.Stack1984 {
		v.ContentType.BuiltIn = p1.ContentP2
	}
	return header(v, s.reader(), s.size, o, func() { s.close() }) //nolint:errcheck // unnamed and read only
}

// watched remembers whether it was the reader that failed, and how much it gave.
type watched struct {
	io.ReadSeeker
	at  int64
	err error
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadSeeker.Read(b)
	w.at += int64(n)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

func (w *watched) Seek(offset int64, whence int) (int64, error) {
	at, err := w.ReadSeeker.Seek(offset, whence)
	if w.at = at; err != nil {
		w.err = err
	}
	return at, err
}

func (p *peer) renderContent(s *spool, r io.ReadSeeker, env *mail.Envelope, m *mixer.Mapper) error {
	if env.Kind == mail.KindReceipt {
		if ipn, ok := m.ToIPN(r, env.Arrived); ok {
			b, err := ipn.Encode(m.Options)
			if err == nil {
				_, err = s.Write(b)
			}
			return err
		}
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	return m.ToIPM(s, r)
}

// renderOpaque writes a content that can't be mapped as a message with it as an attachment.
func (p *peer) renderOpaque(s *spool, r io.ReadSeeker, t *connectors.Transfer, m *mixer.Mapper, why error) error {
	t.Note(mail.Note{Field: "content", Action: mail.NoteChanged, Detail: "can't be mapped to X.400, and goes as an attachment: " + why.Error()})
	if err := s.Truncate(0); err != nil {
		return mail.LocalFault("the spool file can't be written", err)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err // which r remembers
	}
	carried := newSpool(p.dir, 0)
	err := p.carrier(&t.Envelope, "This message can't be mapped to X.400.", "MESSAGE.EML").write(carried, r)
	from := carried.reader()
	if err == nil {
		_, err = from.Seek(0, io.SeekStart)
	}
	if err != nil {
		err = mail.LocalFault("the spool file can't be written", err)
	} else {
		err = m.ToIPM(s, from)
	}
	return errors.Join(err, carried.close())
}

func header(v *p1.Envelope, body io.ReadSeeker, size int64, o p1.Options, done func()) (*octets, error) {
	head, err := v.Header(size, o)
	if err != nil {
		done()
		return nil, mail.BadContent("the envelope can't be written", err)
	}
	return &octets{joined{head: head, body: body, size: int64(len(head)) + size}, done}, nil
}

func contentType(s string) p1.ContentType {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return p1.ContentType{BuiltIn: n}
	}
	return p1.ContentType{OID: ber.OID(s)}
}

// identifier is the message's MTS identifier: that which it came with, or ours.
func (p *peer) identifier(env *mail.Envelope) p1.MTSIdentifier {
	if id, _, ok := mixer.ParseMTSIdentifier(env.Extra[extraID]); ok {
		return id
	}
	return p1.MTSIdentifier{GDI: p.gdi, Local: env.ID}
}

// envelope makes the transfer envelope; its content type is the caller's to say.
func (p *peer) envelope(env *mail.Envelope) *p1.Envelope {
	v := &p1.Envelope{ID: p.identifier(env), ContentID: env.Extra[extraContentID], Deferred: env.NotBefore, Originator: p1.ORName{Address: p.originator(env)}}
	switch {
	case env.Priority > mail.Normal:
		v.Priority = p1.PriorityUrgent
	case env.Priority < mail.Normal:
		v.Priority = p1.PriorityNonUrgent
	}
	indicators := []int{p1.AlternateRecipientAllowed}
	if env.RetFull {
		indicators = append(indicators, p1.ContentReturnRequest)
	}
	v.Indicators = ber.NewBits(8, indicators...)
	v.Trace, v.Extensions = p.trace(env), p.extensions(env)
	v.EITs, v.Bilateral = element(env.Extra[extraEITs]), element(env.Extra[extraBilateral])
	if n, ok := p1.ParseORName(octetsOf(env.Extra[extraName])); ok && n.Address.Equal(v.Originator.Address) {
		v.Originator = n
	}
	came := map[int64]p1.Recipient{}
	for _, r := range p1.ParseRecipients(octetsOf(env.Extra[extraPerRcpt])) {
		came[r.Number] = r
	}
	for i, r := range env.Recipients {
		number := int64(r.Number)
		if number == 0 {
			number = int64(i + 1)
		}
		bits := []int{p1.Responsibility}
		switch {
		case r.Notify.Wants(mail.NotifySuccess):
			bits = append(bits, p1.OriginatingMTAReport, p1.OriginatingMTANonDelivery, p1.OriginatorReport)
		case r.Notify.Wants(mail.NotifyFailure):
			bits = append(bits, p1.OriginatingMTANonDelivery, p1.OriginatorNonDeliveryReport)
		default:
			bits = append(bits, p1.OriginatingMTANonDelivery)
		}
		out := p1.Recipient{Name: p1.ORName{Address: p.addresses.RecipientOR(r.Address)}, Number: number, Indicators: ber.NewBits(8, bits...), Conversion: -1}
		if was, ok := came[number]; ok {
			out.Conversion, out.Extensions = was.Conversion, was.Extensions
			if was.Name.Address.Equal(out.Name.Address) {
				out.Name = was.Name
			}
		}
		v.Recipients = append(v.Recipients, out)
	}
	return v
}

// octetsOf undoes base64; nil when there is nothing, or something else.
func octetsOf(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// element gives an encoded element that was kept, or nothing.
func element(s string) []byte {
	b := octetsOf(s)
	if len(b) == 0 {
		return nil
	}
	d := ber.NewDecoder(b, ber.DefaultLimits)
	if d.Root(); d.Err() != nil {
		return nil
	}
	return b
}

// originator is never empty in X.400: the null one is our postmaster.
func (p *peer) originator(env *mail.Envelope) address.ORAddress {
	if env.Originator.IsZero() {
		return p.postmaster()
	}
	return p.addresses.OR(env.Originator)
}

func (p *peer) postmaster() address.ORAddress {
	or := p.addresses.Ours
	or.S = "POSTMASTER"
	return or
}

// trace is what the message came with, and our domain at its end when it is not there yet (X.411 14.3.1).
func (p *peer) trace(env *mail.Envelope) []p1.TraceElement {
	var out []p1.TraceElement
	if b := octetsOf(env.Extra[extraTrace]); len(b) > 0 {
		out = p1.ParseTrace(b)
	}
	if n := len(out); n == 0 || !out[n-1].GDI.Same(p.gdi) {
		out = append(out, p1.TraceElement{GDI: p.gdi, Arrival: env.Arrived})
	}
	return out
}

// extensions are those that the message came with, its latest delivery time, the originator's envelope identifier, and
// the internal trace: one element for each of our gateways.
func (p *peer) extensions(env *mail.Envelope) []p1.Extension {
	var out []p1.Extension
	if b := octetsOf(env.Extra[extraExtension]); len(b) > 0 {
		out = p1.ParseExtensions(b)
	}
	if !env.NotAfter.IsZero() {
		if x, err := p1.NewLatestDelivery(env.NotAfter); err == nil {
			out = append(out, x)
		}
	}
	if _, rest, isMTS := mixer.ParseMTSIdentifier(env.EnvID); !isMTS && env.EnvID != "" {
		out = append(out, mixer.NewCorrelator(env.EnvID))
	} else if rest != "" {
		out = append(out, mixer.NewCorrelator(rest))
	}
	var hops []p1.TraceElement
	for _, h := range env.Trace {
		if strings.HasPrefix(h.Site, "/") { // a domain, which the trace names; see arrival.hops
			continue
		}
		at := h.At
		if at.IsZero() {
			at = env.Arrived
		}
		hops = append(hops, p1.TraceElement{GDI: p.gdi, MTA: mtaName(h.Site), Arrival: at})
	}
	if len(hops) > 0 {
		if x, err := p1.NewInternalTrace(hops); err == nil {
			out = append(out, x)
		}
	}
	return out
}

// mtaName is a hop's name within what MTAName allows.
func mtaName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxMTAName)]
}

// renderReport makes a report of t; nil when X.411 has no such report, and it goes as a message.
func (p *peer) renderReport(t *connectors.Transfer, m *mixer.Mapper) (*octets, error) {
	r, err := t.Content.Open()
	if err != nil {
		return nil, mail.LocalFault("the content can't be opened", err)
	}
	defer r.Close() // read only
	d, err := dsn.Parse(r)
	if err != nil {
		return nil, nil //nolint:nilerr // no status in it: it goes as a message
	}
	report, ok := m.ToReport(d, p1.MTSIdentifier{GDI: p.gdi, Local: t.Envelope.ID}, p.trace(&t.Envelope), t.Envelope.Arrived)
	if !ok || len(t.Envelope.Recipients) != 1 {
		return nil, nil
	}
	report.Destination = p1.ORName{Address: p.addresses.RecipientOR(t.Envelope.Recipients[0].Address)}
	b, err := report.Encode(nil, m.Options)
	if err != nil {
		return nil, mail.BadContent("the report can't be written", err)
	}
	return &octets{joined{head: b, size: int64(len(b))}, func() {}}, nil
}

// renderProbe makes a probe of t, which has no content.
func (p *peer) renderProbe(t *connectors.Transfer) (*octets, error) {
	v := p.envelope(&t.Envelope)
	v.Probe, v.Deferred, v.Priority = true, time.Time{}, 0
	o := p.mapper(t.Note).Options
	v.ContentType = p1.ContentType{BuiltIn: p1.ContentP22}
	if o.Stack1984 {
		v.ContentType.BuiltIn = p1.ContentP2
	}
	if t.Content != nil {
		v.ContentLength = t.Content.Size()
	}
	b, err := v.EncodeProbe(o)
	if err != nil {
		return nil, mail.BadContent("the probe can't be written", fmt.Errorf("p1: %w", err))
	}
	return &octets{joined{head: b, size: int64(len(b))}, func() {}}, nil
}
