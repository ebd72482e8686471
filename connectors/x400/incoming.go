package x400

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	netmail "net/mail"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/mixer"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/p22"
	"backbone/connectors/x400/rtse"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
)

// arrivals takes the transfers of one association.
type arrivals struct {
	peer *peer
	gw   connectors.Acceptor
	from string
	mode rtse.Mode
}

// arrival is one transfer.
type arrival struct {
	*arrivals
	*spool
	ctx context.Context
}

func (a *arrivals) sink(ctx context.Context) (rtse.Sink, error) {
	return &arrival{a, newSpool(a.peer.dir, transferLimit(a.peer.cfg.MaxSize)), ctx}, nil
}

// transferLimit is what a transfer may have for a content of size octets: the encoding adds something, and the content itself
// is measured by the gateway. Zero has no limit.
func transferLimit(size int64) int64 {
	if size <= 0 {
		return 0
	}
	return size + size/2 + 1<<20
}

// Discard forgets the transfer.
func (a *arrival) Discard() {
	a.forget(a.spool)
}

// Commit takes responsibility. Once it was taken the spool is not needed any more; when it was not, the association
// discards the transfer.
func (a *arrival) Commit() error {
	err := a.take()
	if err != nil {
		a.peer.log.Warn("transfer not taken", "connector", a.peer.connector, "from", a.from, "err", err)
		return err
	}
	a.Discard()
	return nil
}

// take gives the transfer to the gateway. Its error means that the peer keeps the message and tries again; what can't
// ever be taken is answered with a report, or kept aside, and is no error.
func (a *arrival) take() error {
	b, err := a.bytes()
	if err != nil {
		return err
	}
	var broken *notAnAPDU
	if err = a.offer(b); !errors.As(err, &broken) {
		return err
	}
	// There is nobody to report to: an operator decides.
	name, keepErr := quarantine{a.peer}.keep(b, err, time.Now())
	if keepErr == nil {
		a.peer.log.Error("a transfer is no MTS-APDU and was kept aside", "connector", a.peer.connector, "peer", a.peer.remoteMTA, "file", name, "err", err)
	}
	return keepErr
}

// notAnAPDU says why octets are no MTS-APDU.
type notAnAPDU struct{ error }

// offer gives the gateway what b holds; a *notAnAPDU says that it holds nothing.
func (a *arrival) offer(b []byte) error {
	value, err := rtse.Value(b)
	if err != nil {
		return &notAnAPDU{err}
	}
	apdu, err := p1.Parse(value)
	switch {
	case err != nil:
		return &notAnAPDU{err}
	case apdu.Message != nil:
		return a.message(apdu.Message)
	case apdu.Report != nil:
		return a.report(apdu.Report)
	}
	return a.probe(apdu.Probe)
}

// envelope makes the gateway's envelope of what messages and probes have in common, for the recipients that we are
// responsible for.
func (a *arrival) envelope(v *p1.Envelope) mail.Envelope {
	p := a.peer
	env := mail.Envelope{
		Kind: mail.KindMessage, Originator: p.addresses.Native(v.Originator.Address), NotBefore: v.Deferred,
		Source:      mail.Source{Connector: p.connector, Peer: p.remoteMTA, Detail: a.from, Authenticated: true},
		ContentType: v.ContentType.String(), RetFull: v.Indicators.Has(p1.ContentReturnRequest),
		Extra: map[string]string{extraID: v.ID.String(), extraTrace: base64.StdEncoding.EncodeToString(p1.EncodeTrace(v.Trace))},
		// The identifier goes into reports as the envelope identifier does (RFC 2156 5.3.10), with the originator's own behind it.
		EnvID: v.ID.String() + mixer.Correlator(v.Extensions),
		Trace: a.hops(v.Trace, v.Extensions),
	}
	if env.Originator == p.addresses.Native(p.postmaster()) {
		env.Originator = address.Address{} // what went out without an originator
	}
	// The identifier of one of our own gateways is the message's on all sites; a stranger's may be another's there.
	if local := v.ID.Local; (v.ID.GDI.Same(p.gdi) || p.cfg.RemoteAddress != "") && len(local) <= 32 && strings.IndexFunc(local, func(r rune) bool { return r <= ' ' || r > '~' }) < 0 {
		env.ID = local
	}
	if v.ContentID != "" {
		env.Extra[extraContentID] = v.ContentID
	}
	if v.EITs != nil {
		env.Extra[extraEITs] = base64.StdEncoding.EncodeToString(v.EITs)
	}
	if v.Bilateral != nil {
		env.Extra[extraBilateral] = base64.StdEncoding.EncodeToString(v.Bilateral)
	}
	if kept := relayed(v.Extensions); len(kept) > 0 {
		env.Extra[extraExtension] = base64.StdEncoding.EncodeToString(p1.EncodeExtensions(kept))
	}
	if t, ok := p1.LatestDelivery(v.Extensions); ok {
		env.NotAfter = t
	}
	switch v.Priority {
	case p1.PriorityUrgent:
		env.Priority = mail.Urgent
	case p1.PriorityNonUrgent:
		env.Priority = mail.NonUrgent
	}
	if n := len(v.Trace); n > 0 {
		env.Sent = v.Trace[0].Arrival
	}
	if !v.Originator.Plain() {
		env.Extra[extraName] = base64.StdEncoding.EncodeToString(p1.EncodeORName(v.Originator))
	}
	var more []p1.Recipient
	for _, r := range v.Recipients {
		if !r.Responsible() {
			continue
		}
		env.Recipients = append(env.Recipients, a.recipient(r))
		if len(r.Extensions) > 0 || r.Conversion >= 0 || !r.Name.Plain() {
			more = append(more, r)
		}
	}
	if len(more) > 0 {
		env.Extra[extraPerRcpt] = base64.StdEncoding.EncodeToString(p1.EncodeRecipients(more))
	}
	return env
}

func (a *arrival) recipient(r p1.Recipient) mail.Recipient {
	out := mail.Recipient{Address: a.peer.addresses.Native(r.Name.Address), Number: int(r.Number), Notify: mail.NotifyNever,
		ORCPT: mixer.IntendedAs(r.Number, r.Name.Address)}
	switch {
	case r.Indicators.Has(p1.OriginatorReport) || r.Indicators.Has(p1.OriginatingMTAReport):
		out.Notify = mail.NotifySuccess | mail.NotifyFailure
	case r.Indicators.Has(p1.OriginatorNonDeliveryReport) || r.Indicators.Has(p1.OriginatingMTANonDelivery):
		out.Notify = mail.NotifyFailure
	}
	return out
}

// relayed are the extensions that travel on as they are: not those that the gateway has in fields of its own, nor the
// internal trace, which is written anew.
func relayed(all []p1.Extension) []p1.Extension {
	var out []p1.Extension
	for _, x := range all {
		switch x.Number {
		case p1.ExtLatestDelivery, p1.ExtInternalTrace, p1.ExtContentCorrelator:
		default:
			out = append(out, x)
		}
	}
	return out
}

// hops are the gateways that the trace names: foreign domains, then MTAs of the internal trace, those of other domains with their
// domain. A message that has left
// our domain and come back is shown as having been here: then the gateway finds the loop (X.411 14.3.1).
func (a *arrival) hops(trace []p1.TraceElement, extensions []p1.Extension) []mail.Hop {
	var out []mail.Hop
	for _, t := range trace {
		if !t.GDI.Same(a.peer.gdi) {
			out = append(out, mail.Hop{Site: t.GDI.String(), At: t.Arrival})
		}
	}
	left := false
	for i, t := range trace {
		if t.GDI.Same(a.peer.gdi) && i+1 < len(trace) && !trace[i+1].GDI.Same(a.peer.gdi) && !trace[i+1].Rerouted {
			left = true
		}
	}
	for _, t := range p1.InternalTrace(extensions) {
		switch {
		case t.MTA == "":
		case t.GDI.Same(a.peer.gdi):
			out = append(out, mail.Hop{Site: t.MTA, Via: a.peer.connector, At: t.Arrival})
		default: // an MTA of another domain may well have a name like ours
			out = append(out, mail.Hop{Site: t.GDI.String() + t.MTA, Via: a.peer.connector, At: t.Arrival})
		}
	}
	if left {
		out = append(out, mail.Hop{Site: a.peer.site.Name, Via: a.peer.connector})
	}
	return out
}

// dedup is the same whenever this hand-over is offered again, and differs when the same message comes for other
// recipients or by another way.
func (a *arrival) dedup(kind string, id p1.MTSIdentifier, trace int, recipients []p1.Recipient) string {
	h := fnv.New64a()
	for _, r := range recipients {
		if r.Responsible() {
			fmt.Fprintf(h, "%d %s\n", r.Number, r.Name.Address)
		}
	}
	return fmt.Sprintf("x400/%s/%s/%s/%d/%x", a.peer.remoteMTA, kind, id, trace, h.Sum64())
}

func (a *arrival) message(m *p1.Message) error {
	env := a.envelope(m.Envelope)
	if len(env.Recipients) == 0 {
		return nil // all of them are others' to serve
	}
	dedup := a.dedup("message", m.ID, len(m.Trace), m.Recipients)
	known, err := a.gw.Known(a.ctx, dedup)
	if err != nil || known {
		return err
	}
	if x, bad := forbidden(m.Envelope); bad {
		return a.refuse(&env, dedup, &mail.Failure{Class: mail.Permanent, Enhanced: "5.5.4", Reason: 1, Diagnostic: 18, Text: "the extension " + x.String() + " is critical and not understood here"})
	}
	content, done, err := a.octets(m.Content)
	if err != nil {
		return err
	}
	defer done()
	sub := connectors.Submission{Envelope: env, Content: bytes.NewReader(content), Dedup: dedup}
	if t := m.ContentType; t.OID == "" && (t.BuiltIn == p1.ContentP2 || t.BuiltIn == p1.ContentP22) {
		canonical := newSpool(a.peer.dir, 0)
		defer a.forget(canonical)
		if err := a.canonical(m, content, &sub, canonical); err != nil {
			return err
		}
	}
	_, err = a.gw.Accept(a.ctx, sub)
	if f := mail.AsFailure(err); err != nil && f.Final() {
		return a.refuse(&sub.Envelope, dedup, f)
	}
	return err
}

// forbidden gives a critical extension that is not understood (X.411 9.2): a relay minds those critical for transfer, and
// we may be about to deliver as well.
func forbidden(v *p1.Envelope) (p1.Extension, bool) {
	for _, bit := range []int{p1.CriticalForTransfer, p1.CriticalForDelivery} {
		if x, bad := p1.Forbids(v.Extensions, bit); bad {
			return x, true
		}
		for _, r := range v.Recipients {
			if x, bad := p1.Forbids(r.Extensions, bit); bad && r.Responsible() {
				return x, true
			}
		}
	}
	return p1.Extension{}, false
}

// canonical puts an interpersonal message into the canonical form, in s, and what belongs to it into sub. What can't be read goes as an
// attachment of a message of ours; an error is a fault of ours.
func (a *arrival) canonical(m *p1.Message, content []byte, sub *connectors.Submission, s *spool) error {
	as := *sub
	as.Envelope.ContentType = "message/rfc822"
	why := a.mapped(m, content, &as, s)
	if why != nil && s.fault == nil {
		a.peer.log.Warn("content can't be read: it goes on as it came", "id", sub.Envelope.EnvID, "connector", a.peer.connector,
			"originator", sub.Envelope.Originator, "err", why)
		as = *sub
		as.Envelope.ContentType = "message/rfc822"
		as.Notes = []mail.Note{{Field: "content", Action: mail.NoteChanged, Detail: "can't be read, and goes as an attachment: " + why.Error()}}
		if err := s.Truncate(0); err != nil {
			return mail.LocalFault("the spool file can't be written", err)
		}
		c := a.peer.carrier(&as.Envelope, "The content of this X.400 message can't be read.", "CONTENT.P22")
		why = c.write(s, bytes.NewReader(content))
	}
	if why != nil {
		return mail.LocalFault("the spool file can't be written", why)
	}
	r := s.reader()
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return mail.LocalFault("the spool file can't be read", err)
	}
	as.Content = r
	*sub = as
	return nil
}

// mapped writes an interpersonal message in the canonical form.
func (a *arrival) mapped(m *p1.Message, content []byte, sub *connectors.Submission, s *spool) error {
	object, err := p22.Parse(content)
	if err != nil {
		return err
	}
	env := &sub.Envelope
	facts := mixer.Facts{MTSIdentifier: m.ID.String(), Originator: m.Originator.Address, Submitted: env.Sent, ContentType: "P2-1984 (2)"}
	if m.ContentType.BuiltIn == p1.ContentP22 {
		facts.ContentType = "P2-1988 (22)"
	}
	for i := len(m.Trace) - 1; i >= 0; i-- {
		facts.Trace = append(facts.Trace, fmt.Sprintf("by %s; Relayed; %s", m.Trace[i].GDI, m.Trace[i].Arrival.UTC().Format(time.RFC1123Z)))
	}
	for _, rcpt := range m.Recipients {
		if rcpt.Responsible() || m.Indicators.Has(p1.Disclosure) {
			facts.Recipients = append(facts.Recipients, rcpt.Name.Address)
		}
	}
	for _, l := range p1.DLExpansionHistory(m.Extensions) {
		facts.Extra = append(facts.Extra, [2]string{"DL-Expansion-History", l.List.Address.MIXER() + "; " + l.At.UTC().Format(time.RFC1123Z)})
	}
	if m.Indicators.Has(p1.ImplicitConversionProhibited) {
		facts.Extra = append(facts.Extra, [2]string{"Conversion", "prohibited"})
	}
	mapper := a.peer.mapper(func(n mail.Note) { sub.Notes = append(sub.Notes, n) })
	mapper.Options.Stack1984 = m.ContentType.BuiltIn == p1.ContentP2
	w := bufio.NewWriterSize(s, 64<<10)
	if object.IPN != nil {
		env.Kind = mail.KindReceipt
		to := ""
		if len(env.Recipients) > 0 {
			to = a.peer.addresses.Mailbox(env.Recipients[0].Address)
		}
		err = mapper.FromIPN(w, object.IPN, facts, to)
	} else {
		env.Subject, env.MessageID = cut(object.IPM.Subject, 256), object.IPM.This.Local
		err = mapper.FromIPM(w, object.IPM, facts)
	}
	if err != nil {
		return err
	}
	return w.Flush()
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

// octets gives a string's contents in one piece: where they are when they came so, else from a second spool file.
func (a *arrival) octets(e ber.Element) ([]byte, func(), error) {
	if !e.Constructed {
		return e.Body, func() {}, nil
	}
	s := newSpool(a.peer.dir, 0)
	if err := e.WriteOctets(s); err != nil {
		a.forget(s)
		if s.fault == nil {
			return nil, nil, &notAnAPDU{err}
		}
		return nil, nil, mail.LocalFault("the content can't be put into a spool file", err)
	}
	b, err := s.bytes()
	if err != nil {
		a.forget(s)
		return nil, nil, mail.LocalFault("the spool file can't be read", err)
	}
	return b, func() { a.forget(s) }, nil
}

// forget closes a spool that nothing depends on any more.
func (a *arrival) forget(s *spool) {
	if err := s.close(); err != nil {
		a.peer.log.Debug("closing a spool file", "connector", a.peer.connector, "err", err)
	}
}

// refuse takes a message that can't be served, and reports on it to its originator, who is the peer's to find.
func (a *arrival) refuse(env *mail.Envelope, dedup string, f *mail.Failure) error {
	d := &dsn.Report{ReportingMTA: dsn.MTA{Type: "x400", Name: a.peer.localMTA}, EnvID: env.EnvID, About: env.ID, Arrival: time.Now()}
	for _, r := range env.Recipients {
		if r.Notify.Wants(mail.NotifyFailure) {
			d.Recipients = append(d.Recipients, dsn.ForRecipient(r, dsn.Failed, f))
		}
	}
	a.peer.log.Info("message refused", "id", env.EnvID, "connector", a.peer.connector, "originator", env.Originator, "class", f.Class, "err", f)
	if len(d.Recipients) == 0 || env.Originator.IsZero() || env.Kind != mail.KindMessage {
		return nil // never a report about a report
	}
	return a.submitReport(d, env.Originator, dedup+"/report")
}

// submitReport gives the gateway a report of ours.
func (a *arrival) submitReport(d *dsn.Report, to address.Address, dedup string) error {
	domain := a.peer.addresses.Domain
	o := dsn.Options{From: netmail.Address{Name: "Postmaster of " + a.peer.site.Name, Address: "postmaster@" + domain},
		To: netmail.Address{Address: a.peer.addresses.Mailbox(to)}, Date: time.Now(), MessageID: fmt.Sprintf("%x@%s", fnvOf(dedup), domain)}
	var b bytes.Buffer
	eightBit, err := dsn.Build(&b, d, nil, o)
	if err != nil {
		return err
	}
	// It comes from us, not from the peer: its way leads back there, which for the peer's own mail would be a loop.
	env := mail.Envelope{Kind: mail.KindReport, Recipients: []mail.Recipient{{Address: to, Notify: mail.NotifyNever}}, About: d.About, EightBit: eightBit,
		Source: mail.Source{Connector: a.peer.connector, Peer: a.peer.localMTA, Detail: a.from, Authenticated: true}, ContentType: "message/rfc822"}
	_, err = a.gw.Accept(a.ctx, connectors.Submission{Envelope: env, Content: &b, Dedup: dedup})
	return final(err, a)
}

func fnvOf(s string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, s) //nolint:errcheck // a hash takes everything
	return h.Sum64()
}

// final forgets a refusal that no repetition would change, about mail that nobody is to be told of.
func final(err error, a *arrival) error {
	if f := mail.AsFailure(err); err != nil && f.Final() {
		a.peer.log.Warn("report discarded", "connector", a.peer.connector, "err", f)
		return nil
	}
	return err
}

// report takes a report for one of our originators.
func (a *arrival) report(r *p1.Report) error {
	to := a.peer.addresses.Native(r.Destination.Address)
	if to == a.peer.addresses.Native(a.peer.postmaster()) { // what went out without an originator, see peer.originator
		to = address.Address{Type: address.SMTP, Value: "postmaster@" + a.peer.addresses.Domain}
	}
	dedup := a.dedup("report", r.ID, len(r.Trace), nil)
	var b bytes.Buffer
	domain := a.peer.addresses.Domain
	o := dsn.Options{From: netmail.Address{Name: "Postmaster of " + a.peer.remoteMTA, Address: "postmaster@" + domain},
		To: netmail.Address{Address: a.peer.addresses.Mailbox(to)}, Date: time.Now(), MessageID: fmt.Sprintf("%x@%s", fnvOf(dedup), domain), Full: true}
	mapper := a.peer.mapper(func(mail.Note) {})
	eightBit, err := mapper.FromReport(&b, r, a.peer.remoteMTA, o)
	if err != nil {
		return err
	}
	env := mail.Envelope{Kind: mail.KindReport, Recipients: []mail.Recipient{{Address: to, Notify: mail.NotifyNever}}, About: r.Subject.Local, EightBit: eightBit,
		Source: mail.Source{Connector: a.peer.connector, Peer: a.peer.remoteMTA, Detail: a.from, Authenticated: true}, ContentType: "message/rfc822",
		Trace: a.hops(r.Trace, r.Extensions), Extra: map[string]string{extraTrace: base64.StdEncoding.EncodeToString(p1.EncodeTrace(r.Trace))}}
	_, err = a.gw.Accept(a.ctx, connectors.Submission{Envelope: env, Content: &b, Dedup: dedup})
	return final(err, a)
}

// probe answers whether a message would get there (X.411 14.4): with a report on each recipient.
func (a *arrival) probe(v *p1.Envelope) error {
	env := a.envelope(v)
	d := &dsn.Report{ReportingMTA: dsn.MTA{Type: "x400", Name: a.peer.localMTA}, EnvID: env.EnvID, About: env.ID, Arrival: time.Now()}
	for _, r := range env.Recipients {
		err := a.gw.Screen(a.ctx, env.Source, env.Originator, r.Address)
		if limit := a.peer.cfg.MaxSize; err == nil && limit > 0 && v.ContentLength > limit {
			err = mail.TooLarge(fmt.Sprintf("%d octets, at most %d are taken", v.ContentLength, limit))
		}
		switch f := mail.AsFailure(err); {
		case err == nil:
			if r.Notify.Wants(mail.NotifySuccess) {
				d.Recipients = append(d.Recipients, dsn.ForRecipient(r, dsn.Delivered, nil))
			}
		case !f.Final():
			return err
		default:
			if r.Notify.Wants(mail.NotifyFailure) {
				d.Recipients = append(d.Recipients, dsn.ForRecipient(r, dsn.Failed, f))
			}
		}
	}
	if len(d.Recipients) == 0 || env.Originator.IsZero() {
		return nil
	}
	return a.submitReport(d, env.Originator, a.dedup("probe", v.ID, len(v.Trace), v.Recipients))
}
