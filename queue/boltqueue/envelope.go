package boltqueue

import (
	"time"

	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Field numbers are for ever: a number that is no longer written is never used again.

func (e *enc) envelope(v *mail.Envelope) {
	e.str(1, v.ID)
	e.str(2, v.MessageID)
	e.str(3, string(v.Kind))
	e.address(4, v.Originator)
	e.str(5, v.Name)
	for i := range v.Recipients {
		e.sub(6, func(e *enc) { e.recipient(&v.Recipients[i]) })
	}
	e.int(7, int64(v.Priority))
	e.str(8, v.Subject)
	e.zoned(9, v.Sent)
	e.time(10, v.Arrived)
	e.time(11, v.NotBefore)
	e.time(12, v.NotAfter)
	e.str(13, v.EnvID)
	e.bool(14, v.RetFull)
	e.bool(15, v.EightBit)
	e.bool(16, v.UTF8)
	for _, h := range v.Trace {
		e.sub(17, func(e *enc) { e.str(1, h.Site); e.str(2, h.Via); e.zoned(3, h.At) })
	}
	e.sub(18, func(e *enc) {
		e.str(1, v.Source.Connector)
		e.str(2, v.Source.Peer)
		e.str(3, v.Source.Detail)
		e.bool(4, v.Source.Authenticated)
	})
	e.str(19, v.About)
	e.str(20, v.ContentType)
	for _, k := range slices.Sorted(maps.Keys(v.Extra)) {
		e.sub(21, func(e *enc) { e.str(1, k); e.str(2, v.Extra[k]) })
	}
}

func (e *enc) address(n protowire.Number, a address.Address) {
	if !a.IsZero() {
		e.sub(n, func(e *enc) { e.str(1, string(a.Type)); e.str(2, a.Value) })
	}
}

func (e *enc) recipient(r *mail.Recipient) {
	e.address(1, r.Address)
	e.str(2, r.Name)
	e.str(3, r.ORCPT)
	e.uint(4, uint64(r.Notify))
	e.int(5, int64(r.Number))
}

func decodeEnvelope(b []byte, v *mail.Envelope) error {
	return fields(b, func(f field) (err error) {
		switch f.N {
		case 1:
			v.ID = f.str()
		case 2:
			v.MessageID = f.str()
		case 3:
			v.Kind = mail.Kind(f.Raw)
		case 4:
			v.Originator, err = decodeAddress(f.Raw)
		case 5:
			v.Name = f.str()
		case 6:
			var r mail.Recipient
			err = decodeRecipient(f.Raw, &r)
			v.Recipients = append(v.Recipients, r)
		case 7:
			v.Priority = mail.Priority(f.int())
		case 8:
			v.Subject = f.str()
		case 9:
			v.Sent = f.zoned()
		case 10:
			v.Arrived = f.time()
		case 11:
			v.NotBefore = f.time()
		case 12:
			v.NotAfter = f.time()
		case 13:
			v.EnvID = f.str()
		case 14:
			v.RetFull = f.bool()
		case 15:
			v.EightBit = f.bool()
		case 16:
			v.UTF8 = f.bool()
		case 17:
			var h mail.Hop
			err = decodeHop(f.Raw, &h)
			v.Trace = append(v.Trace, h)
		case 18:
			err = decodeSource(f.Raw, &v.Source)
		case 19:
			v.About = f.str()
		case 20:
			v.ContentType = f.str()
		case 21:
			err = decodeExtra(f.Raw, v)
		}
		return err
	})
}

func decodeAddress(b []byte) (a address.Address, err error) {
	err = fields(b, func(f field) error {
		switch f.N {
		case 1:
			a.Type = knownType(f.Raw)
		case 2:
			a.Value = f.str()
		}
		return nil
	})
	return a, err
}

// knownType saves the copy of a word that every address has.
func knownType(b []byte) address.Type {
	switch address.Type(b) {
	case address.SMTP:
		return address.SMTP
	case address.MS:
		return address.MS
	case address.X400:
		return address.X400
	}
	return address.Type(b)
}

func decodeRecipient(b []byte, r *mail.Recipient) error {
	return fields(b, func(f field) (err error) {
		switch f.N {
		case 1:
			r.Address, err = decodeAddress(f.Raw)
		case 2:
			r.Name = f.str()
		case 3:
			r.ORCPT = f.str()
		case 4:
			r.Notify = mail.Notify(f.Num)
		case 5:
			r.Number = int(f.int())
		}
		return err
	})
}

func decodeHop(b []byte, h *mail.Hop) error {
	return fields(b, func(f field) error {
		switch f.N {
		case 1:
			h.Site = f.str()
		case 2:
			h.Via = f.str()
		case 3:
			h.At = f.zoned()
		}
		return nil
	})
}

func decodeSource(b []byte, s *mail.Source) error {
	return fields(b, func(f field) error {
		switch f.N {
		case 1:
			s.Connector = f.str()
		case 2:
			s.Peer = f.str()
		case 3:
			s.Detail = f.str()
		case 4:
			s.Authenticated = f.bool()
		}
		return nil
	})
}

func decodeExtra(b []byte, v *mail.Envelope) error {
	var k, x string
	err := fields(b, func(f field) error {
		switch f.N {
		case 1:
			k = f.str()
		case 2:
			x = f.str()
		}
		return nil
	})
	if v.Extra == nil {
		v.Extra = map[string]string{}
	}
	v.Extra[k] = x
	return err
}

func (e *enc) failure(v *mail.Failure) {
	text := v.Text
	if text == "" && v.Cause != nil {
		text = v.Cause.Error() // the cause itself is not kept
	}
	e.str(1, string(v.Class))
	e.str(2, string(v.Scope))
	e.int(3, int64(v.Code))
	e.str(4, v.Enhanced)
	e.int(5, int64(v.Reason))
	e.int(6, int64(v.Diagnostic))
	e.int(7, int64(v.MSMail))
	e.str(8, text)
	e.str(9, v.Peer)
	e.int(10, int64(v.RetryAfter))
}

func decodeFailure(b []byte, v *mail.Failure) error {
	return fields(b, func(f field) error {
		switch f.N {
		case 1:
			v.Class = mail.Class(f.Raw)
		case 2:
			v.Scope = mail.Scope(f.Raw)
		case 3:
			v.Code = int(f.int())
		case 4:
			v.Enhanced = f.str()
		case 5:
			v.Reason = int(f.int())
		case 6:
			v.Diagnostic = int(f.int())
		case 7:
			v.MSMail = int(f.int())
		case 8:
			v.Text = f.str()
		case 9:
			v.Peer = f.str()
		case 10:
			v.RetryAfter = time.Duration(f.int())
		}
		return nil
	})
}
