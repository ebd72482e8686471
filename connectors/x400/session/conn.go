package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// TSDUs is what the session needs of the transport.
type TSDUs interface {
	// ReadTSDU gives the next one, valid until the next call; io.EOF when the peer is gone.
	ReadTSDU() ([]byte, error)
	WriteTSDU(parts ...[]byte) error
	// WriteFrom sends head and the n octets that r gives as one TSDU.
	WriteFrom(head []byte, r io.Reader, n int64) error
}

// Conn sends and receives SPDUs in the order that X.225 allows. It is not for concurrent use.
type Conn struct {
	t TSDUs
	// waiting are SPDUs of a TSDU that held more than one.
	waiting []*SPDU
	// maxSend is the longest TSDU that the peer takes; 0 has no limit.
	maxSend int
	// segments of an SSDU under way, and how long it may become.
	ssdu    []byte
	inSSDU  bool
	MaxSSDU int
	in, out activity
}

// activity is the state of the activity in one direction.
type activity struct {
	open   bool
	ended  bool // its end was sent; until that is confirmed it may still be discarded or interrupted
	serial int  // the last sync point
}

// ErrProtocol is wrapped by errors about a peer that breaks the rules.
var ErrProtocol = errors.New("session protocol error")

// DefaultMaxSSDU bounds what segments may add up to.
const DefaultMaxSSDU = 64 << 20

// New runs a session over t, before its connection is agreed.
func New(t TSDUs) *Conn { return &Conn{t: t, MaxSSDU: DefaultMaxSSDU} }

// Limit sets the longest TSDU that may be sent, as CN and AC agreed it; 0 has no limit.
func (c *Conn) Limit(send uint16) { c.maxSend = int(send) }

// Waiting tells that Receive has an SPDU that came together with the last one.
func (c *Conn) Waiting() bool { return len(c.waiting) > 0 }

// Send sends s. DT is cut into segments when the agreed TSDU is too short for it.
func (c *Conn) Send(s *SPDU) error {
	c.out.track(s)
	total := int64(len(s.UserData)) + s.MoreLen
	switch {
	case s.Type == DT && c.maxSend > 0 && total+4 > int64(c.maxSend):
		data := io.Reader(bytes.NewReader(s.UserData))
		if s.More != nil {
			data = io.MultiReader(data, s.More)
		}
		return c.sendSegments(data, total)
	case s.Type == DT && s.More != nil:
		return c.t.WriteFrom(append([]byte{byte(GT), 0, byte(DT & 0xff), 0}, s.UserData...), s.More, s.MoreLen)
	case s.Type == DT:
		return c.t.WriteTSDU([]byte{byte(GT), 0, byte(DT & 0xff), 0}, s.UserData)
	}
	return c.t.WriteTSDU(s.Append(nil))
}

// sendSegments cuts an SSDU (X.225 7.37): the first segment says begin, the last one end.
func (c *Conn) sendSegments(r io.Reader, left int64) error {
	const header = 2 + 2 + 3 // GT, DT, enclosure item
	buf := make([]byte, max(c.maxSend-header, 1))
	for e := encloseHead; ; e = encloseMiddle {
		n := min(left, int64(len(buf)))
		if n == left {
			e = encloseTail
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return fmt.Errorf("session: what was to be sent ends early: %w", err)
		}
		if err := c.t.WriteTSDU((&SPDU{Type: DT, enclosure: e, UserData: buf[:n]}).Append(nil)); err != nil {
			return err
		}
		if left -= n; left == 0 {
			return nil
		}
	}
}

// Receive gives the next SPDU, valid until the next call; segments are put together. io.EOF means that the peer closed.
func (c *Conn) Receive() (*SPDU, error) {
	for {
		if len(c.waiting) == 0 {
			b, err := c.t.ReadTSDU()
			if err != nil {
				if errors.Is(err, io.EOF) && c.inSSDU {
					err = io.ErrUnexpectedEOF
				}
				return nil, err
			}
			if c.waiting, err = Parse(b); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
			}
		}
		s := c.waiting[0]
		c.waiting = c.waiting[1:]
		if err := c.in.check(s); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		switch {
		case c.inSSDU && s.Type != DT && s.Type != AB && s.Type != AI && s.Type != AD:
			return nil, fmt.Errorf("%w: %s between segments", ErrProtocol, s)
		case s.Type != DT:
			c.inSSDU = false
			return s, nil
		}
		if whole, err := c.assemble(s); whole || err != nil {
			return s, err
		}
	}
}

// assemble adds a DT to the SSDU under way and tells whether it is whole; then s has all of it.
func (c *Conn) assemble(s *SPDU) (bool, error) {
	switch {
	case s.enclosure == whole && !c.inSSDU:
		return true, nil
	case (s.enclosure == encloseHead) == c.inSSDU:
		return false, fmt.Errorf("%w: a segment out of place", ErrProtocol)
	case s.enclosure == encloseHead:
		c.ssdu, c.inSSDU = c.ssdu[:0], true
	}
	if len(c.ssdu)+len(s.UserData) > c.MaxSSDU {
		return false, fmt.Errorf("%w: segments of more than %d octets", ErrProtocol, c.MaxSSDU)
	}
	c.ssdu = append(c.ssdu, s.UserData...)
	if s.enclosure != encloseTail {
		return false, nil
	}
	s.UserData, s.enclosure, c.inSSDU = c.ssdu, whole, false
	return true, nil
}

// check refuses what X.225's state tables refuse for a receiver, and follows the activity.
func (a *activity) check(s *SPDU) error {
	switch s.Type {
	case AS, AR:
		if a.open {
			return fmt.Errorf("%s inside an activity", s.Type)
		}
		if len(s.ActivityID) > 6 {
			return fmt.Errorf("an activity identifier of %d octets", len(s.ActivityID))
		}
	case AI, AD:
		if !a.open && !a.ended {
			return fmt.Errorf("%s outside an activity", s.Type)
		}
	case DT:
		if !a.open {
			return fmt.Errorf("%s outside an activity", s.Type)
		}
	case MIP, AE:
		if !a.open {
			return fmt.Errorf("%s outside an activity", s)
		}
		if s.Serial != a.serial+1 {
			return fmt.Errorf("%s where %d was due", s, a.serial+1)
		}
	}
	a.track(s)
	return nil
}

func (a *activity) track(s *SPDU) {
	switch s.Type {
	case AS:
		*a = activity{open: true}
	case AR:
		*a = activity{open: true, serial: s.Serial}
	case MIP:
		a.serial = s.Serial
	case AE:
		*a = activity{ended: true}
	case AI, AD:
		*a = activity{}
	}
}

// InActivity tells whether the peer's activity is open.
func (c *Conn) InActivity() bool { return c.in.open }
