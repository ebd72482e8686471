package mixer

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	netmail "net/mail"
	"strings"
	"time"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/p22"
	"backbone/gateway/address"
	"backbone/gateway/address/t61"
	"backbone/gateway/mail"

	"github.com/emersion/go-message/textproto"
)

var words mime.WordDecoder

// heading maps a message's header (RFC 2156 5.1). What has no place in a heading goes along as it is in the extension
// HeaderFields, the fields of the parts in PartFields.
func (m *Mapper) heading(h textproto.Header, parts []string) (*p22.Heading, error) {
	out := &p22.Heading{Importance: p22.ImportanceNormal}
	var kept []string
	keep := func(f textproto.HeaderFields) {
		raw, err := f.Raw()
		switch {
		case err != nil || !ascii(raw):
			m.Note(mail.Note{Field: f.Key(), Action: mail.NoteLost, Detail: "X.400 carries header fields in ASCII only"})
		case m.Options.Stack1984 && !m.beside():
			m.Note(mail.Note{Field: f.Key(), Action: mail.NoteLost, Detail: "1984 has no place for it"})
		default:
			kept = append(kept, strings.TrimRight(string(raw), "\r\n"))
		}
	}
	receipts := h.Get("Disposition-Notification-To") != ""
	for f := h.Fields(); f.Next(); {
		v := f.Value()
		ok := true
		switch key := strings.ToLower(f.Key()); key {
		case "mime-version", "return-path":
		case "from":
			var all []p22.ORDescriptor
			if all, ok = m.descriptors(v); ok && len(all) > 0 {
				out.Originator = &all[0]
				if len(all) > 1 {
					out.Authorizing = all
				}
			}
		case "sender":
			// The sender is the originator, and From then the authorizing users (RFC 2156 5.1.2).
			var all []p22.ORDescriptor
			if all, ok = m.descriptors(v); ok && len(all) == 1 {
				if from, fromOK := m.descriptors(h.Get("From")); fromOK {
					out.Authorizing = from
				}
				defer func(d p22.ORDescriptor) { out.Originator = &d }(all[0])
			}
		case "to":
			out.Primary, ok = m.recipients(out.Primary, v, receipts)
		case "cc":
			out.Copy, ok = m.recipients(out.Copy, v, receipts)
		case "bcc":
			out.Blind, ok = m.recipients(out.Blind, v, receipts)
		case "reply-to":
			out.ReplyTo, ok = m.descriptors(v)
		case "subject":
			s, err := words.DecodeHeader(v)
			if err != nil {
				s = v
			}
			out.Subject = s
			if ok = p22.SubjectFits(s) && s != ""; !ok {
				m.Note(mail.Note{Field: "Subject", Action: mail.NoteChanged, Detail: "T.61 can't say it, or not in 128 octets; it goes along beside"})
			}
		case "message-id":
			out.This, ok = m.identifier(v)
		case "in-reply-to":
			var id p22.IPMID
			if id, ok = m.identifier(v); ok {
				out.RepliedTo = &id
			}
		case "references":
			out.Related, ok = m.identifiers(v)
		case "supersedes", "obsoletes": // of RFC 2156 and RFC 1327
			out.Obsoleted, ok = m.identifiers(v)
		case "incomplete-copy":
			ok = !m.Options.Stack1984
			if ok {
				out.Extensions = append(out.Extensions, p22.NewIncompleteCopy())
			}
		case "language":
			x, fits := p22.NewLanguages(strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }))
			if ok = fits && !m.Options.Stack1984; ok {
				out.Extensions = append(out.Extensions, x)
			}
		case "importance":
			out.Importance, ok = map[string]int64{"low": p22.ImportanceLow, "normal": p22.ImportanceNormal, "high": p22.ImportanceHigh}[strings.ToLower(v)]
			if !ok {
				out.Importance = p22.ImportanceNormal
			}
		case "sensitivity":
			out.Sensitivity, ok = map[string]int64{"personal": p22.Personal, "private": p22.Private, "company-confidential": p22.CompanyConfidential}[strings.ToLower(v)]
		case "expiry-date", "expires":
			out.Expiry, ok = date(v)
		case "reply-by":
			out.Reply, ok = date(v)
		case "autoforwarded":
			out.AutoForwarded = strings.EqualFold(v, "true")
		default:
			if !strings.HasPrefix(key, "content-") && key != "x-mmff-body" && key != "x-mmff-name" {
				keep(f)
			}
		}
		if !ok {
			keep(f)
		}
	}
	if out.This.Local == "" {
		out.This.Local = "none"
	}
	return out, m.extensions(out, kept, parts)
}

// extensions adds those of ours.
func (m *Mapper) extensions(h *p22.Heading, fields, parts []string) error {
	if m.Options.Stack1984 && !m.beside() {
		return nil
	}
	return addFields(h, fields, parts)
}

func addFields(h *p22.Heading, fields, parts []string) error {
	some := false
	for _, p := range parts {
		some = some || p != ""
	}
	for t, list := range map[ber.OID][]string{p22.HeaderFields: fields, p22.PartFields: parts} {
		if len(list) == 0 || (t == p22.PartFields && !some) {
			continue
		}
		x, err := p22.NewFields(t, list)
		if err != nil {
			return err
		}
		if t == p22.HeaderFields { // always first, that the same message gives the same octets
			h.Extensions = append([]p22.Extension{x}, h.Extensions...)
		} else {
			h.Extensions = append(h.Extensions, x)
		}
	}
	return nil
}

func date(s string) (time.Time, bool) {
	t, err := netmail.ParseDate(s)
	return t, err == nil
}

// descriptors maps mailboxes; false when the field can't be read.
func (m *Mapper) descriptors(v string) ([]p22.ORDescriptor, bool) {
	list, err := (&netmail.AddressParser{WordDecoder: &words}).ParseList(v)
	if err != nil {
		return nil, false
	}
	var out []p22.ORDescriptor
	for _, a := range list {
		d := p22.ORDescriptor{FreeForm: a.Name}
		or := m.OR(address.Address{Type: address.SMTP, Value: a.Address})
		if !or.IsZero() {
			d.Name = &p1.ORName{Address: or}
		}
		if _, lost := t61.Encode(a.Name); lost > 0 {
			m.Note(mail.Note{Field: "name " + a.Name, Action: mail.NoteChanged, Detail: "T.61 can't say all of it"})
		}
		out = append(out, d)
	}
	return out, true
}

func (m *Mapper) recipients(have []p22.RecipientSpecifier, v string, receipts bool) ([]p22.RecipientSpecifier, bool) {
	list, ok := m.descriptors(v)
	for _, d := range list {
		r := p22.RecipientSpecifier{ORDescriptor: d}
		if receipts {
			r.Notify = ber.NewBits(8, p22.NotifyReceipt, p22.NotifyNonReceipt)
		}
		have = append(have, r)
	}
	return have, ok
}

// identifier maps a Message-ID (RFC 2156 4.7): escaped as a local identifier; one that is too long goes along beside, and
// a digest of it stands for it.
func (m *Mapper) identifier(v string) (p22.IPMID, bool) {
	id := strings.TrimSpace(v)
	if strings.Count(id, "<") != 1 || !strings.HasPrefix(id, "<") || !strings.HasSuffix(id, ">") {
		return p22.IPMID{Local: digest(id)}, false
	}
	id = id[1 : len(id)-1]
	if local, domain, ok := cutLast(id); ok && domain == "MHS" { // an identifier of X.400's, coming back
		local = strings.Trim(local, `"`)
		if l, or, ok := strings.Cut(local, "*"); ok {
			out := p22.IPMID{Local: address.UnescapePrintable(l)}
			if parsed, err := address.ParseORAddress(or); err == nil && or != "" {
				out.User = &p1.ORName{Address: parsed}
			}
			return out, address.PrintableString(out.Local) && len(out.Local) <= p22.MaxLocal
		}
	}
	if e := address.EscapePrintable(id); len(e) <= p22.MaxLocal {
		return p22.IPMID{Local: e}, true
	}
	return p22.IPMID{Local: digest(id)}, false
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

func (m *Mapper) identifiers(v string) ([]p22.IPMID, bool) {
	var out []p22.IPMID
	for _, f := range strings.Fields(v) {
		id, ok := m.identifier(f)
		if !ok {
			return nil, false
		}
		out = append(out, id)
	}
	return out, true
}

// messageID is the Message-ID of an identifier.
func messageID(id p22.IPMID) string {
	if id.User == nil && strings.Contains(id.Local, "(a)") {
		if plain := address.UnescapePrintable(id.Local); !strings.ContainsAny(plain, "<> \t\r\n") {
			return "<" + plain + ">"
		}
	}
	or := ""
	if id.User != nil {
		or = id.User.Address.MIXER()
	}
	return `<"` + address.EscapePrintable(id.Local) + "*" + strings.ReplaceAll(or, `"`, "") + `"@MHS>`
}
