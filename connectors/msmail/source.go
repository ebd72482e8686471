package msmail

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/connectors/msmail/translate"
	"backbone/gateway/mail"
	"backbone/shadowpo"
)

// Serve takes what the post offices submit until ctx ends. A post office whose folder is not there is waited for, while
// the others are served.
func (c *Connector) Serve(ctx context.Context, gw connectors.Acceptor) error {
	errs := make([]error, len(c.offices))
	var wg sync.WaitGroup
	for i, o := range c.offices {
		wg.Go(func() {
			errs[i] = o.drop.Watch(ctx, func(ctx context.Context, in *shadowpo.Inbound) error { return c.take(ctx, gw, o, in) })
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// take offers one message to the gateway. Nil lets the drop forget it; a final failure puts it into badmail, with a
// report to its sender; any other error leaves it in the drop for later.
func (c *Connector) take(ctx context.Context, gw connectors.Acceptor, o *office, in *shadowpo.Inbound) error {
	if in.Repeated {
		if known, err := gw.Known(ctx, in.Key); err != nil || known {
			return err
		}
	}
	a := translate.Arrival{ID: arrivalID(in.Key), Domain: c.domain(), Now: time.Now(), Book: c.env.Book, Via: c.name}
	m, err := o.translated(in, a)
	if err == nil && m.Open == nil {
		for _, n := range m.Notes {
			c.log.Info("message taken out of the mail", "postoffice", o.name, "file", in.File, "originator", in.Message.From.String(), "reason", n.Detail)
		}
		return nil
	}
	if err == nil {
		err = c.offer(ctx, gw, o, in, m)
	}
	if err == nil || !mail.AsFailure(err).Final() {
		return err
	}
	if rerr := c.refuse(ctx, o, in, mail.AsFailure(err), a); rerr != nil {
		return rerr // the report is owed: the refusal is repeated, and the report with it
	}
	return err
}

// arrivalID is made of the drop's key, so that a message that is offered twice is the same message.
func arrivalID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%x", sum[:12])
}

// translated runs In. What makes it panic is poison, not the end of the gateway.
func (o *office) translated(in *shadowpo.Inbound, a translate.Arrival) (m *translate.Inbound, err error) {
	defer o.poison(&err, "file", in.File)
	return o.text.In(in.Message, in.Side, a)
}

func (c *Connector) offer(ctx context.Context, gw connectors.Acceptor, o *office, in *shadowpo.Inbound, m *translate.Inbound) (err error) {
	sum, err := in.SHA256()
	if err != nil {
		return mail.LocalFault("can't read the drop file", err)
	}
	m.Envelope.Source = mail.Source{Connector: c.name, Peer: o.name, Detail: in.File, Authenticated: true}
	content := m.Open()
	defer func() { err = errors.Join(err, content.Close()) }()
	_, err = gw.Accept(ctx, connectors.Submission{
		Envelope: m.Envelope, Content: content, Dedup: in.Key,
		Notes: slices.Concat([]mail.Note{{Field: "drop file", Action: mail.NoteMapped, Detail: in.File + ", SHA-256 " + sum}}, in.Notes, m.Notes),
	})
	return err
}

// refuse reports to the sender in his own format. Its key follows from the message's, so that it is written once.
func (c *Connector) refuse(ctx context.Context, o *office, in *shadowpo.Inbound, f *mail.Failure, a translate.Arrival) error {
	report, err := o.text.Refusal(in.Message, f, a)
	if err != nil || report == nil {
		return err
	}
	c.log.Info("submitted message refused", "postoffice", o.name, "file", in.File, "originator", in.Message.From.String(), "class", string(f.Class), "err", f)
	_, err = o.write(ctx, "ndr/"+in.Key, "", report)
	return err
}

// poison turns a panic of translation into a failure of the one message.
func (o *office) poison(err *error, key, value string) {
	if r := recover(); r != nil {
		o.log.Error("translation panicked", key, value, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*err = mail.BadContent("the message can't be converted", fmt.Errorf("translation panicked: %v", r))
	}
}
