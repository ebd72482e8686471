package rtse

import (
	"errors"
	"fmt"
	"io"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/presentation"
	"backbone/connectors/x400/session"
)

// Transfer is one RT-TRANSFER of ours: an APDU of Size octets. It is kept by the caller until it has been handed over, so
// that it can be resumed on another association after one is lost.
type Transfer struct {
	Content io.ReadSeeker
	Size    int64

	ref       session.Ref // association in which the activity began
	id        []byte
	confirmed int  // the last sync point that the peer confirmed
	size      int  // of a segment
	mode      Mode // segments of different modes do not add up
	ended     bool // the end was sent: the peer may have taken it
	prefix    []byte
}

// Resumable tells whether a lost association left something to resume: a confirmed checkpoint.
func (t *Transfer) Resumable() bool { return t.confirmed > 0 }

// Ended tells whether the peer may have taken the transfer although no confirmation came.
func (t *Transfer) Ended() bool { return t.ended }

// Ref names the association to recover.
func (t *Transfer) Ref() session.Ref { return t.ref }

// gone makes the peer's end of the connection an error where a wait was under way.
func gone(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Send begins t and hands it over: nil means that the peer is responsible for it. After an *Exception the peer is not,
// and the association can be used again. After any other error the association is lost; t tells whether it can be resumed.
func (a *Association) Send(t *Transfer) error {
	if !a.turn {
		return errors.New("rtse: the turn is not ours")
	}
	a.activities++
	var w ber.Writer
	w.Int(ber.Integer, int64(a.activities))
	id, err := w.Bytes()
	if err != nil {
		return err
	}
	t.ref, t.id, t.confirmed, t.ended, t.mode, t.size = a.ref, id, 0, false, a.mode, a.checkpoint
	t.prefix = a.external(t.Size)
	if err := a.s.Send(&session.SPDU{Type: session.AS, ActivityID: id}); err != nil {
		return err
	}
	return a.segments(t)
}

// Resume continues t, which a lost association interrupted, after its last confirmed checkpoint. The association must
// have been opened to recover t.Ref.
func (a *Association) Resume(t *Transfer) error {
	if t.mode != a.mode || t.size != a.checkpoint {
		return errors.New("rtse: the new association has other checkpoints or another mode")
	}
	a.activities++
	var w ber.Writer
	w.Int(ber.Integer, int64(a.activities))
	id, err := w.Bytes()
	if err != nil {
		return err
	}
	t.prefix = a.external(t.Size)
	ar := &session.SPDU{Type: session.AR, Ref: t.ref, OldActivity: t.id, Serial: t.confirmed, ActivityID: id}
	if err := a.s.Send(ar); err != nil {
		return err
	}
	t.ref, t.id = a.ref, id
	return a.segments(t)
}

// external is what goes before the APDU in normal mode: the value transferred is an EXTERNAL with the APDU in the
// context of message transfer. In the other modes it is the APDU itself.
func (a *Association) external(size int64) []byte {
	if a.mode != Normal {
		return nil
	}
	var ref ber.Writer
	ref.Int(ber.Integer, a.contexts.mtse)
	b, _ := ref.Bytes() // an integer can't fail
	single := ber.AppendHeader(nil, ber.Context(0), true, int(size))
	out := ber.AppendHeader(nil, ber.ExternalType, true, len(b)+len(single)+int(size))
	return append(append(out, b...), single...)
}

// segments sends what follows the last confirmed checkpoint, the end, and waits for the peer to take it.
func (a *Association) segments(t *Transfer) error {
	total := int64(len(t.prefix)) + t.Size
	at := int64(t.confirmed) * int64(t.size)
	size := int64(t.size)
	if t.size == 0 {
		return a.whole(t, total)
	}
	serial := t.confirmed
	buf := make([]byte, min(size, total))
	for {
		n := min(total-at, size)
		if err := t.readAt(buf[:n], at); err != nil {
			return fmt.Errorf("rtse: reading the transfer: %w", err)
		}
		data, err := a.pack(buf[:n])
		if err != nil {
			return err
		}
		if err := a.s.Send(&session.SPDU{Type: session.DT, UserData: data}); err != nil {
			return err
		}
		serial++
		if at += n; at == total {
			break
		}
		if err := a.s.Send(&session.SPDU{Type: session.MIP, Serial: serial}); err != nil {
			return err
		}
		for serial-t.confirmed >= a.window {
			if err := a.confirmation(t, serial, false); err != nil {
				return err
			}
		}
	}
	t.ended = true
	if err := a.s.Send(&session.SPDU{Type: session.AE, Serial: serial}); err != nil {
		return err
	}
	return a.confirmation(t, serial, true)
}

// whole sends all in one segment, since there are no checkpoints (X.228 7.2.2), as it is read.
func (a *Association) whole(t *Transfer, total int64) error {
	var head []byte
	if a.mode == Normal {
		var err error
		if head, err = presentation.LongHeader(a.contexts.rtse, total); err != nil {
			return err
		}
	}
	if t.Size > 0 {
		if _, err := t.Content.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("rtse: reading the transfer: %w", err)
		}
	}
	s := &session.SPDU{Type: session.DT, UserData: append(head, t.prefix...)}
	if t.Size > 0 {
		s.More, s.MoreLen = t.Content, t.Size
	}
	if err := a.s.Send(s); err != nil {
		return err
	}
	t.ended = true
	if err := a.s.Send(&session.SPDU{Type: session.AE, Serial: 1}); err != nil {
		return err
	}
	return a.confirmation(t, 1, true)
}

// readAt reads from the prefix and the content as if they were one.
func (t *Transfer) readAt(b []byte, at int64) error {
	if p := int64(len(t.prefix)); at < p {
		n := copy(b, t.prefix[at:])
		b, at = b[n:], p
	}
	if _, err := t.Content.Seek(at-int64(len(t.prefix)), io.SeekStart); err != nil {
		return err
	}
	_, err := io.ReadFull(t.Content, b)
	return err
}

// pack puts a segment into the user data of a DT.
func (a *Association) pack(segment []byte) ([]byte, error) {
	if a.mode != Normal {
		return segment, nil
	}
	octets := append(ber.AppendHeader(nil, ber.OctetString, false, len(segment)), segment...)
	return presentation.AppendUserData(presentation.PDV{Context: a.contexts.rtse, Single: octets})
}

// confirmation waits for one confirmation of a sync point, or with end for that of the activity.
func (a *Association) confirmation(t *Transfer, sent int, end bool) error {
	for {
		s, err := a.s.Receive()
		if err != nil {
			return fmt.Errorf("rtse: waiting for a confirmation: %w", gone(err))
		}
		switch s.Type {
		case session.MIA:
			if s.Serial < t.confirmed || s.Serial > sent {
				return fmt.Errorf("rtse: the peer confirms %d, but %d were sent", s.Serial, sent)
			}
			t.confirmed = s.Serial
			if !end {
				return nil
			}
		case session.AEA:
			if !end || s.Serial != sent {
				return fmt.Errorf("rtse: %s where %d was sent", s, sent)
			}
			return nil
		case session.ED, session.ER:
			reason := byte(0)
			if len(s.Reason) > 0 {
				reason = s.Reason[0]
			}
			return a.discard(t, reason)
		case session.PT:
			a.please(s)
		case session.AB:
			return a.aborted(s)
		default:
			return fmt.Errorf("rtse: %s where a confirmation was due", s)
		}
	}
}

// discard gives up a transfer that the receiver reported an exception about: it will be begun anew.
func (a *Association) discard(t *Transfer, reason byte) error {
	t.confirmed, t.ended = 0, false
	if err := a.s.Send(&session.SPDU{Type: session.AD, Reason: []byte{reason}}); err != nil {
		return err
	}
	for {
		s, err := a.s.Receive()
		if err != nil {
			return fmt.Errorf("rtse: waiting for the discard to be confirmed: %w", gone(err))
		}
		switch s.Type {
		case session.ADA:
			return &Exception{reason}
		case session.MIA, session.AEA, session.ED, session.ER: // they crossed
		case session.PT:
			a.please(s)
		case session.AB:
			return a.aborted(s)
		default:
			return fmt.Errorf("rtse: %s where the confirmation of a discard was due", s)
		}
	}
}
