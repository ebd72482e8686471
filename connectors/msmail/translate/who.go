package translate

import (
	netmail "net/mail"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo"

	"github.com/emersion/go-message"
)

// from is whom a reply will reach. The header's author comes first, since the envelope's originator may be a list's
// bounce address; when both are one, the envelope has him in his native form.
func (o *outbound) from(h message.Header) address.Address {
	a := o.env.Originator
	if list := mailboxes(h, "From"); len(list) > 0 {
		author := list[0].Address
		if a.IsZero() || !o.book.As(a, address.SMTP).Equal(author) {
			a = o.book.Native(author)
		}
	}
	if a.IsZero() {
		return o.po.Postmaster
	}
	return o.replyable(a)
}

// replyable is a as the post office's users can reply to it: itself, when it is Microsoft Mail or of a type for which the
// post office has a gateway; else the directory's proxy for it; else encapsulated in a type for which there is a gateway.
// When there is none, FROM still says who wrote, and the ledger that no reply will find the way.
func (o *outbound) replyable(a address.Address) address.Address {
	usable := func(b address.Address) bool { return o.po.canReply(b) && o.po.CanWrite(b) }
	if usable(a) {
		return a
	}
	for _, t := range append([]address.Type{address.MS}, o.po.Gateways...) {
		if b := o.book.As(a, t); b.Type == t && usable(b) {
			o.note("From", mail.NoteMapped, "%s is %s here", a, b)
			return b
		}
	}
	if b := o.book.As(a, address.SMTP); !o.po.CanWrite(a) && o.po.CanWrite(b) {
		a = b
	}
	if !o.po.CanWrite(a) {
		o.note("From", mail.NoteLost, "%s can't be written in code page %s: POSTMASTER stands for it", a, o.po.Page)
		return o.po.Postmaster
	}
	o.note("From", mail.NoteLost, "users of %s can't reply to %s: it has no proxy of type MS and the post office no gateway for its type", o.po.Name.PostOffice(), a)
	return a
}

// nameOf is how people know a.
func (o *outbound) nameOf(a address.Address, h message.Header) string {
	if name := o.book.Name(a); name != "" {
		return shown(name)
	}
	if list := mailboxes(h, "From"); len(list) > 0 && list[0].Name != "" {
		return list[0].Name
	}
	return a.Value
}

// parties keeps in the side file whom the message was for: TO has only those for whom this copy is.
func (o *outbound) parties(h message.Header) {
	to, cc, reply := o.native(h, "To"), o.native(h, "Cc"), o.native(h, "Reply-To")
	o.sideList(sideTo, to)
	o.sideList(shadowpo.SideCC, cc)
	o.sideList(sideReplyTo, reply)
	if len(cc) > 0 {
		o.note("Cc", mail.NoteChanged, "%d copy recipients: MMFF has no CC (KB Q87223), those of this post office stand in TO", len(cc))
	}
	if len(reply) > 0 && !reply[0].Equal(o.msg.From) {
		o.note("Reply-To", mail.NoteLost, "%s: MMFF has no reply address beside FROM", reply[0])
	}
}

// maxParties bounds the lists in a side file, which itself is bounded.
const maxParties = 1500

func (o *outbound) sideList(key string, list []address.Address) {
	for i, a := range list {
		if i == maxParties {
			o.note(key, mail.NoteLost, "%d of %d addresses left out of the side file", len(list)-i, len(list))
			return
		}
		if v := oneLine(a.String()); len(v) < 1024 {
			o.side.Add(key, v)
		}
	}
}

func (o *outbound) native(h message.Header, field string) []address.Address {
	var out []address.Address
	for _, m := range mailboxes(h, field) {
		out = append(out, o.book.Native(m.Address))
	}
	return out
}

// namedAddress is a mailbox of a header.
type namedAddress struct {
	Name    string
	Address address.Address
}

// mailboxes reads an address list as well as it can be read: one bad address does not hide the others.
func mailboxes(h message.Header, field string) []namedAddress {
	value := h.Get(field)
	if value == "" {
		return nil
	}
	list, err := netmail.ParseAddressList(value)
	if err != nil {
		list = nil
		for s := range strings.SplitSeq(value, ",") {
			if a, err := netmail.ParseAddress(strings.TrimSpace(s)); err == nil {
				list = append(list, a)
			}
		}
	}
	var out []namedAddress
	for _, a := range list {
		if m, err := address.ParseMailbox(a.Address); err == nil {
			if smtp, err := m.Address(); err == nil {
				out = append(out, namedAddress{shown(decodeWords(a.Name)), smtp})
			}
		}
	}
	return out
}
