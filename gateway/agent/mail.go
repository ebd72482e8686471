package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"

	"github.com/emersion/go-message"
	"golang.org/x/text/encoding/ianaindex"
)

// maxMail bounds what is read of one message, in octets: a list of a million users.
const maxMail = 256 << 20

// letter is what the agent sees of a message: its texts.
type letter struct {
	body  string
	lists []string // attachments
}

// read takes a message apart. The error is one of reading the store; what can't be understood is left out.
func read(c mail.Content, page *mmff.CodePage) (l letter, err error) {
	src, err := c.Open()
	if err != nil {
		return l, err
	}
	defer src.Close()
	e, err := message.Read(io.LimitReader(src, maxMail))
	if e == nil {
		return l, fmt.Errorf("message: %w", err)
	}
	first := true
	err = e.Walk(func(_ []int, part *message.Entity, perr error) error {
		if part == nil {
			return perr
		}
		typ, params, _ := part.Header.ContentType()
		if strings.HasPrefix(typ, "multipart/") {
			return nil
		}
		b, rerr := io.ReadAll(part.Body)
		if rerr != nil && len(b) == 0 {
			return nil
		}
		if disposition, _, _ := part.Header.ContentDisposition(); first && disposition != "attachment" {
			l.body, first = text(b, params["charset"], page), false
		} else {
			l.lists = append(l.lists, text(b, params["charset"], page))
		}
		return nil
	})
	return l, err
}

// text decodes octets: as labelled, else as UTF-8 if they are, else in the post office's code page.
func text(b []byte, charset string, page *mmff.CodePage) string {
	if utf8.Valid(b) && (charset == "" || strings.EqualFold(charset, "us-ascii") || strings.EqualFold(charset, "utf-8")) {
		return string(b)
	}
	if enc, err := ianaindex.MIME.Encoding(charset); charset != "" && err == nil && enc != nil {
		if s, err := enc.NewDecoder().Bytes(b); err == nil {
			return string(s)
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	s, _ := page.Decode(b)
	return s
}

// outgoing is a message that the agent sends.
type outgoing struct {
	to         address.Address
	subject    string
	body       string
	attachment []byte // with name
	name       string
	dedup      string // the same message is sent once
}

// send hands a message to the gateway.
func (a *Agent) send(ctx context.Context, o outgoing) error {
	gw := a.gw.Load()
	if gw == nil {
		return errors.New("the gateway does not run")
	}
	if a.self.IsZero() {
		return errors.New("this site has no shadow post office (site.ms) from which its agent could send mail")
	}
	now := time.Now()
	smtp := func(x address.Address) string {
		if x.Type == address.SMTP {
			return x.Value
		}
		domain := strings.ToLower(a.o.Site.Name) + ".invalid"
		if len(a.o.Site.Domains) > 0 {
			domain = a.o.Site.Domains[0]
		}
		return address.Encapsulate(x, domain).Value
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMIME-Version: 1.0\r\n",
		smtp(a.self), smtp(o.to), mime.QEncoding.Encode("utf-8", o.subject), now.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	var h message.Header
	h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	if o.attachment != nil {
		h = message.Header{}
		h.SetContentType("multipart/mixed", nil)
	}
	var parts bytes.Buffer
	w, err := message.CreateWriter(&parts, h)
	if err != nil {
		return err
	}
	if o.attachment == nil {
		_, err = io.WriteString(w, o.body)
	} else {
		err = errors.Join(part(w, "text/plain", map[string]string{"charset": "utf-8"}, "quoted-printable", "", []byte(o.body)),
			part(w, "application/octet-stream", nil, "base64", o.name, o.attachment))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	_, err = (*gw).Accept(ctx, connectors.Submission{
		Envelope: mail.Envelope{
			Kind: mail.KindMessage, Originator: a.self, Recipients: []mail.Recipient{{Address: o.to, Notify: mail.NotifyNever}}, Subject: o.subject, Sent: now,
			Source: mail.Source{Connector: Name, Peer: agentHop, Authenticated: true}, Extra: map[string]string{"system": SystemKind},
		},
		Content: io.MultiReader(&b, &parts), Dedup: o.dedup,
	})
	return err
}

func part(w *message.Writer, typ string, params map[string]string, encoding, name string, content []byte) error {
	var h message.Header
	h.SetContentType(typ, params)
	h.Set("Content-Transfer-Encoding", encoding)
	if name != "" {
		h.SetContentDisposition("attachment", map[string]string{"filename": name})
	}
	p, err := w.CreatePart(h)
	if err != nil {
		return err
	}
	_, err = p.Write(content)
	return errors.Join(err, p.Close())
}
