package msmail

import (
	"context"
	"io"
	"slices"
	"strings"

	"backbone/connectors"
	"backbone/connectors/msmail/translate"
	"backbone/gateway/mail"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"
)

// Deliver writes t for its post office, one file for all of its recipients. Microsoft Mail gives no delivery reports (KB
// Q149021): the outcome is relayed.
func (c *Connector) Deliver(ctx context.Context, t *connectors.Transfer) []mail.Outcome {
	out := make([]mail.Outcome, len(t.Envelope.Recipients))
	env := t.Envelope
	env.Recipients = nil
	o, err := c.admit(t)
	for i, r := range t.Envelope.Recipients {
		switch {
		case err != nil:
		case !o.text.CanWrite(r.Address):
			out[i] = failed(mail.UnknownRecipient("code page " + o.text.Page.String() + " of post office " + o.name + " can't write the address " + r.Address.Value))
		default:
			env.Recipients = append(env.Recipients, r)
		}
	}
	var done shadowpo.Delivery
	if err == nil && len(env.Recipients) > 0 {
		done, err = c.deliver(ctx, o, &env, t)
	}
	for i := range out {
		switch {
		case out[i].State != "":
		case err != nil:
			out[i] = failed(mail.AsFailure(err))
		default:
			out[i] = mail.Outcome{State: mail.Relayed, Peer: "file " + done.File + " for post office " + o.name}
		}
	}
	return out
}

func failed(f *mail.Failure) mail.Outcome {
	if f.Final() {
		return mail.Outcome{State: mail.Failed, Failure: f}
	}
	return mail.Outcome{State: mail.Deferred, Failure: f}
}

// admit finds the post office and asks what rules have to say before any work is done.
func (c *Connector) admit(t *connectors.Transfer) (*office, error) {
	o := c.office(t.NextHop)
	if o == nil {
		return nil, mail.LinkDown("post office "+t.NextHop+" is not configured here any more", nil)
	}
	limit := o.maxSize
	if limit == 0 {
		limit = c.maxSize
	}
	if limit > 0 && t.Content.Size() > limit && t.Envelope.Extra[translate.ExtraSystem] == "" { // KB Q133719
		return nil, mail.TooLarge("the message is larger than post office " + o.name + " takes")
	}
	visits := 0
	for _, h := range t.Envelope.Trace {
		if strings.EqualFold(h.Site, o.name) {
			visits++
		}
	}
	if visits > 1 { // once is a way home: forwarded to a mailbox of the post office that it came from
		return nil, mail.Loop("post office " + o.name + " has had this message before")
	}
	return o, nil
}

func (c *Connector) deliver(ctx context.Context, o *office, env *mail.Envelope, t *connectors.Transfer) (d shadowpo.Delivery, err error) {
	defer o.poison(&err, "id", env.ID)
	m, err := o.text.Out(env, t.Content, c.env.Book)
	if err != nil {
		return d, err
	}
	defer func() {
		if cerr := m.Close(); err == nil && cerr != nil {
			err = mail.LocalFault("can't read the stored content", cerr)
		}
	}()
	d, err = o.write(ctx, t.Key, env.ID, m)
	if err == nil && !d.Duplicate {
		for _, n := range m.Notes {
			t.Note(n)
		}
	}
	return d, err
}

// write puts a message into the post office's folder; what the code page or MMFF's limits change is added to its notes.
func (o *office) write(ctx context.Context, key, id string, m *translate.Outbound) (shadowpo.Delivery, error) {
	f := shadowpo.Outbound{Key: key, From: m.Message.From.Value, ID: id}
	if o.side {
		f.Side = m.Side
	}
	for _, a := range m.Message.To {
		f.To = append(f.To, a.Value)
	}
	// The header alone, so that MMFF's refusal of it is told from trouble with reading the contents.
	head := *m.Message
	head.Text, head.Attachments = nil, slices.Clone(head.Attachments)
	for i := range head.Attachments {
		head.Attachments[i].Content = nil
	}
	notes, err := mmff.Encode(io.Discard, &head, o.text.EncodeOptions())
	if err != nil {
		return shadowpo.Delivery{}, mail.BadContent("the message can't be written in MMFF", err)
	}
	m.Notes = append(m.Notes, notes...)
	f.Write = func(w io.Writer) (err error) {
		defer o.poison(&err, "id", id) // here, so that the drop can tidy up behind it
		if _, err := mmff.Encode(w, m.Message, o.text.EncodeOptions()); err != nil {
			return mail.LocalFault("can't read the stored content", err)
		}
		return nil
	}
	return o.drop.Deliver(ctx, f)
}
