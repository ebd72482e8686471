package rtse

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/presentation"
	"backbone/connectors/x400/session"
)

// Sink takes one transfer.
type Sink interface {
	// Write takes a segment. Its error makes the association report an exception: the sender tries again later.
	io.Writer
	// Truncate forgets everything after the first size octets: the sender resumes at a checkpoint.
	Truncate(size int64) error
	// Commit takes responsibility for what was written. Nil must mean that it is safe; on error the sender keeps it.
	Commit() error
	// Discard ends a transfer that will never be whole. It may be called after Commit failed.
	Discard()
}

// incoming is a transfer of the peer's that is under way, or that waits to be resumed.
type incoming struct {
	id        []byte
	sink      Sink
	size      int64
	points    []int64 // size at each sync point, from 0
	committed bool
	failed    error // of the sink; told the peer already
}

// Event is what ended a call of Receive.
type Event uint8

const (
	// Taken: a transfer was committed and confirmed.
	Taken Event = iota + 1
	// NotTaken: a transfer was begun but not committed; the peer knows.
	NotTaken
	// Turn: the peer gave us the turn.
	Turn
	// TurnWanted: the peer, which has not the turn, asks for it. See Association.TurnWanted.
	TurnWanted
	// Released: the association has ended in order.
	Released
)

// Receive waits for what the peer does, up to one Event. begin opens a Sink for a transfer that begins; when it fails,
// the peer is told. What a lost association leaves half done goes into u, which may be nil.
func (a *Association) Receive(begin func() (Sink, error), u *Unfinished) (Event, error) {
	for {
		s, err := a.s.Receive()
		if err != nil {
			a.lost(u)
			return 0, err
		}
		ev, err := a.handle(s, begin, u)
		if err != nil {
			a.lost(u)
		}
		if ev != 0 || err != nil {
			return ev, err
		}
	}
}

func (a *Association) handle(s *session.SPDU, begin func() (Sink, error), u *Unfinished) (Event, error) {
	if a.turn && s.Type != session.PT && s.Type != session.AB && s.Type != session.FN {
		return 0, fmt.Errorf("rtse: %s although the turn is ours", s)
	}
	switch s.Type {
	case session.AS:
		a.in.drop() // an interrupted one that is not resumed
		a.in = &incoming{id: bytes.Clone(s.ActivityID), points: []int64{0}}
		a.in.sink, a.in.failed = begin()
		if a.in.failed != nil {
			a.in.sink = nothing{}
			return 0, a.exception(ReceiverJeopardized)
		}
	case session.AR:
		return 0, a.resume(s, u)
	case session.DT:
		return 0, a.segment(s)
	case session.MIP:
		if a.checkpoint == 0 {
			return 0, fmt.Errorf("rtse: %s, but no checkpoints were agreed", s)
		}
		if a.in.size == a.in.points[len(a.in.points)-1] && a.in.sink != (nothing{}) {
			return 0, fmt.Errorf("rtse: %s without data since the last one", s)
		}
		a.in.points = append(a.in.points, a.in.size)
		if s.NoAck || a.in.failed != nil {
			return 0, nil
		}
		return 0, a.s.Send(&session.SPDU{Type: session.MIA, Serial: s.Serial})
	case session.AE:
		return a.end(s)
	case session.AI:
		return 0, a.s.Send(&session.SPDU{Type: session.AIA})
	case session.AD:
		a.in.drop()
		a.in = nil
		return NotTaken, a.s.Send(&session.SPDU{Type: session.ADA})
	case session.PT:
		a.please(s)
		return TurnWanted, nil
	case session.GTC:
		if a.in != nil && a.in.committed {
			a.in = nil
		}
		if err := a.s.Send(&session.SPDU{Type: session.GTA}); err != nil {
			return 0, err
		}
		a.turn = true
		return Turn, nil
	case session.FN:
		return Released, a.releaseAnswer()
	case session.AB:
		return 0, a.aborted(s)
	default:
		return 0, fmt.Errorf("rtse: %s has no place here", s)
	}
	return 0, nil
}

// nothing takes what is not wanted.
type nothing struct{}

func (nothing) Write(b []byte) (int, error) { return len(b), nil }
func (nothing) Truncate(int64) error        { return nil }
func (nothing) Commit() error               { return errors.New("rtse: nothing was kept") }
func (nothing) Discard()                    {}

func (in *incoming) drop() {
	if in != nil && !in.committed {
		in.sink.Discard()
	}
}

// segment takes a DT's octets.
func (a *Association) segment(s *session.SPDU) error {
	if a.in == nil {
		return fmt.Errorf("rtse: %s after the end of its activity", s)
	}
	if a.mode != Normal {
		return a.in.take(a, s.UserData)
	}
	return a.unpack(s.UserData, func(b []byte) error { return a.in.take(a, b) })
}

// take gives octets to the sink; when that fails, the sender is told once.
func (in *incoming) take(a *Association, b []byte) error {
	in.size += int64(len(b))
	if in.failed != nil {
		return nil // until the sender has heard
	}
	if _, err := in.sink.Write(b); err != nil {
		in.failed = err
		return a.exception(ReceiverJeopardized)
	}
	return nil
}

// unpack finds the segment in a DT of normal mode: an RTTR, which is an OCTET STRING in the context of RTSE, as one
// value or more, possibly in pieces, which are given to take one by one.
func (a *Association) unpack(data []byte, take func([]byte) error) error {
	pdvs, err := presentation.ParseUserData(data)
	if err != nil {
		return err
	}
	for _, p := range pdvs {
		if p.Context != a.contexts.rtse {
			return fmt.Errorf("rtse: data in presentation context %d, which is not that of RTSE (%d)", p.Context, a.contexts.rtse)
		}
		if p.Single == nil {
			if err := take(p.Octets); err != nil {
				return err
			}
			continue
		}
		d := ber.NewDecoder(p.Single, ber.DefaultLimits)
		root := d.Root()
		if !root.Is(ber.OctetString) {
			root.Failf("no RTTR")
		}
		if d.Err() == nil {
			err = root.WriteOctets(pieces(take))
		}
		if d.Err() != nil {
			return fmt.Errorf("rtse: RTTR: %w", d.Err())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pieces is an io.Writer that is a function.
type pieces func([]byte) error

func (f pieces) Write(b []byte) (int, error) { return len(b), f(b) }

// end takes responsibility, or says that it does not.
func (a *Association) end(s *session.SPDU) (Event, error) {
	in := a.in
	if in == nil {
		return 0, fmt.Errorf("rtse: %s without an activity", s)
	}
	if in.failed == nil && !in.committed {
		if in.failed = in.sink.Commit(); in.failed != nil {
			return 0, a.exception(ReceiverJeopardized)
		}
		in.committed = true
	}
	if in.failed != nil {
		return 0, nil // the sender will discard it
	}
	return Taken, a.s.Send(&session.SPDU{Type: session.AEA, Serial: s.Serial})
}

// exception tells the sender that its transfer can't be taken; it answers with a discard or an interrupt.
func (a *Association) exception(reason byte) error {
	return a.s.Send(&session.SPDU{Type: session.ED, Reason: []byte{reason}})
}

// resume continues a transfer, of this association after an interrupt, or of a lost one.
func (a *Association) resume(s *session.SPDU, u *Unfinished) error {
	in := a.in
	if in == nil || in.committed || !bytes.Equal(in.id, s.OldActivity) || len(s.Ref.Common) > 0 {
		in.drop()
		in = u.take(s.Ref, s.OldActivity)
	}
	a.in = in
	if in == nil {
		a.in = &incoming{sink: nothing{}, failed: errors.New("unknown activity")}
		if err := a.abort(AbortUnknownActivity); err != nil {
			return err
		}
		return fmt.Errorf("rtse: the peer resumes activity %x, of which nothing is known", s.OldActivity)
	}
	in.id = bytes.Clone(s.ActivityID)
	if in.committed {
		// Its confirmation was lost: what comes again was taken already.
		in.sink, in.points = nothing{}, make([]int64, s.Serial+1)
		return nil
	}
	if s.Serial < 0 || s.Serial >= len(in.points) {
		return fmt.Errorf("rtse: the peer resumes at %d, but only %d checkpoints are known", s.Serial, len(in.points)-1)
	}
	in.size = in.points[s.Serial]
	in.points = in.points[:s.Serial+1]
	if err := in.sink.Truncate(in.size); err != nil {
		in.failed = err
		return a.exception(ReceiverJeopardized)
	}
	return nil
}

// lost keeps what the end of the association interrupted.
func (a *Association) lost(u *Unfinished) {
	in := a.in
	a.in = nil
	if in == nil || in.failed != nil {
		in.drop()
		return
	}
	u.keep(a.ref, in)
}

// Value gives the APDU in what was transferred: in normal mode the value of the EXTERNAL, else the whole.
func Value(transferred []byte) ([]byte, error) {
	d := ber.NewDecoder(transferred, ber.DefaultLimits)
	root := d.Root()
	if d.Err() != nil {
		return nil, fmt.Errorf("rtse: %w", d.Err())
	}
	if !root.Is(ber.ExternalType) {
		return transferred, nil
	}
	x := root.External()
	out := x.Value.Raw
	if x.Value.Is(ber.Context(1)) && !x.Value.Constructed {
		out = x.Value.Body
	}
	if d.Err() != nil {
		return nil, fmt.Errorf("rtse: %w", d.Err())
	}
	return out, nil
}
