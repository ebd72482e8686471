package cotp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Packets is what the transport needs of the network: TPKT on TCP gives it.
type Packets interface {
	// ReadPacket gives one TPDU, valid until the next call.
	ReadPacket() ([]byte, error)
	// WritePacket sends its parts as one TPDU.
	WritePacket(parts ...[]byte) error
}

const (
	// DefaultSize is the TPDU that we offer. PP offers 2048; larger ones save headers.
	DefaultSize = 8192
	// defaultAbsent applies when a peer names no size: RFC 1006 section 5 allows what fits a TPKT.
	defaultAbsent = 65531
	minSize       = 128
)

// DefaultMaxTSDU bounds what ReadTSDU puts together.
const DefaultMaxTSDU = 64 << 20

// Disconnected is the peer's DR or ER.
type Disconnected struct {
	By     Code
	Reason Reason
}

func (d *Disconnected) Error() string {
	return fmt.Sprintf("cotp: the peer disconnected (%s): %s", d.By, d.Reason)
}

// Conn is an open transport connection. One goroutine may read while another writes.
type Conn struct {
	p        Packets
	dst, src uint16
	size     int // of a TPDU, header included
	tsdu     []byte
	// MaxTSDU bounds what ReadTSDU puts together; it may be set before each.
	MaxTSDU int
	// Spill, when it is set, opens a place for a TSDU of more than spillAt octets, which then is not held in memory.
	Spill   func() (Spill, error)
	spilled Spill
}

// Spill takes a long TSDU and gives it back in one piece: a file that is mapped.
type Spill interface {
	io.Writer
	// Bytes are what was written, until Close.
	Bytes() ([]byte, error)
	Close() error
}

// spillAt is the longest TSDU that is held in memory when there is another place for it.
const spillAt = 256 << 10

func newConn(p Packets, dst, src uint16, size int) *Conn {
	return &Conn{p: p, dst: dst, src: src, size: size, MaxTSDU: DefaultMaxTSDU}
}

// Connect asks the peer for a connection from the calling to the called selector; either may be empty. src is our
// reference, not zero. A refusal is a *Disconnected.
func Connect(p Packets, calling, called []byte, src uint16) (*Conn, error) {
	cr := TPDU{Code: CR, Src: src, Calling: calling, Called: called, Size: DefaultSize}
	if err := p.WritePacket(cr.Append(nil)); err != nil {
		return nil, fmt.Errorf("cotp: sending the connection request: %w", err)
	}
	b, err := p.ReadPacket()
	if err != nil {
		return nil, fmt.Errorf("cotp: waiting for the connection confirm: %w", err)
	}
	t, err := Parse(b)
	if err != nil {
		return nil, err
	}
	switch {
	case t.Code == DR || t.Code == ER:
		return nil, &Disconnected{t.Code, t.Reason}
	case t.Code != CC:
		return nil, fmt.Errorf("cotp: %s where the connection confirm was due", t.Code)
	case t.Dst != src:
		return nil, fmt.Errorf("cotp: connection confirm for reference %04x, not %04x", t.Dst, src)
	case t.Class>>4 != 0:
		return nil, fmt.Errorf("cotp: the peer confirmed class %d, which was not offered", t.Class>>4)
	case t.Size > DefaultSize:
		return nil, fmt.Errorf("cotp: the peer confirmed TPDUs of %d octets, more than was offered", t.Size)
	}
	size := t.Size
	if size == 0 {
		size = DefaultSize
	}
	return newConn(p, t.Src, src, size), nil
}

// Call is a peer's connection request that waits for its answer.
type Call struct {
	Calling, Called []byte
	p               Packets
	cr              TPDU
}

// Accept waits for a peer's connection request.
func Accept(p Packets) (*Call, error) {
	b, err := p.ReadPacket()
	if err != nil {
		return nil, err
	}
	t, err := Parse(b)
	if err != nil {
		return nil, err
	}
	if t.Code != CR {
		return nil, fmt.Errorf("cotp: %s where the connection request was due", t.Code)
	}
	if len(t.Called) > MaxSelector || len(t.Calling) > MaxSelector {
		return nil, fmt.Errorf("cotp: a selector of more than %d octets", MaxSelector)
	}
	c := &Call{p: p, cr: t, Calling: append([]byte(nil), t.Calling...), Called: append([]byte(nil), t.Called...)}
	return c, nil
}

// Confirm opens the connection. src is our reference, not zero. A class above 0 is answered with 0, which every
// offer of a class allows (X.224 table 3).
func (c *Call) Confirm(src uint16) (*Conn, error) {
	size := min(c.cr.Size, DefaultSize)
	cc := TPDU{Code: CC, Dst: c.cr.Src, Src: src, Size: size}
	if err := c.p.WritePacket(cc.Append(nil)); err != nil {
		return nil, fmt.Errorf("cotp: sending the connection confirm: %w", err)
	}
	if size == 0 {
		size = defaultAbsent
	}
	return newConn(c.p, c.cr.Src, src, size), nil
}

// Refuse answers with a DR.
func (c *Call) Refuse(r Reason) error {
	return c.p.WritePacket(TPDU{Code: DR, Dst: c.cr.Src, Reason: r}.Append(nil))
}

// ReadTSDU gives the next TSDU, valid until the next call. io.EOF means that the peer closed, *Disconnected that it
// said so.
func (c *Conn) ReadTSDU() ([]byte, error) {
	c.tsdu = c.tsdu[:0]
	if err := c.Drop(); err != nil {
		return nil, err
	}
	total := 0
	for first := true; ; first = false {
		b, err := c.p.ReadPacket()
		if err != nil {
			if errors.Is(err, io.EOF) && !first {
				return nil, fmt.Errorf("cotp: a TSDU breaks off: %w", io.ErrUnexpectedEOF)
			}
			return nil, err
		}
		t, err := Parse(b)
		if err != nil {
			return nil, err
		}
		switch t.Code {
		case DT:
		case DR, ER:
			return nil, &Disconnected{t.Code, t.Reason}
		default:
			return nil, fmt.Errorf("cotp: %s on an open connection", t.Code)
		}
		if first && t.EOT {
			return t.Data, nil
		}
		if total += len(t.Data); total > c.MaxTSDU {
			return nil, fmt.Errorf("cotp: a TSDU of more than %d octets", c.MaxTSDU)
		}
		if err := c.gather(t.Data); err != nil {
			return nil, err
		}
		if !t.EOT {
			continue
		}
		if c.spilled == nil {
			return c.tsdu, nil
		}
		if b, err = c.spilled.Bytes(); err != nil {
			return nil, fmt.Errorf("cotp: a long TSDU: %w", err)
		}
		return b, nil
	}
}

// gather adds to the TSDU under way: in memory, or beyond spillAt where Spill says.
func (c *Conn) gather(b []byte) error {
	if c.spilled == nil && (c.Spill == nil || len(c.tsdu)+len(b) <= spillAt) {
		c.tsdu = append(c.tsdu, b...)
		return nil
	}
	if c.spilled == nil {
		var err error
		if c.spilled, err = c.Spill(); err != nil {
			return fmt.Errorf("cotp: a long TSDU: %w", err)
		}
		if _, err := c.spilled.Write(c.tsdu); err != nil {
			return fmt.Errorf("cotp: a long TSDU: %w", err)
		}
		c.tsdu = c.tsdu[:0]
	}
	if _, err := c.spilled.Write(b); err != nil {
		return fmt.Errorf("cotp: a long TSDU: %w", err)
	}
	return nil
}

// Drop forgets a TSDU that was spilled. Whoever set Spill calls it when the connection is over.
func (c *Conn) Drop() error {
	s := c.spilled
	if c.spilled = nil; s == nil {
		return nil
	}
	return s.Close()
}

// WriteTSDU sends parts as one TSDU, in as many TPDUs as it needs.
func (c *Conn) WriteTSDU(parts ...[]byte) error {
	const header = 3
	room := max(c.size, minSize) - header
	whole := parts[0]
	if len(parts) > 1 {
		total := 0
		for _, p := range parts {
			total += len(p)
		}
		whole = make([]byte, 0, total)
		for _, p := range parts {
			whole = append(whole, p...)
		}
	}
	for {
		n := min(len(whole), room)
		eot := byte(0)
		if n == len(whole) {
			eot = 0x80
		}
		if err := c.p.WritePacket([]byte{2, byte(DT), eot}, whole[:n]); err != nil {
			return err
		}
		if whole = whole[n:]; len(whole) == 0 {
			return nil
		}
	}
}

// WriteFrom sends head and the n octets that r gives as one TSDU, without holding it.
func (c *Conn) WriteFrom(head []byte, r io.Reader, n int64) error {
	const header = 3
	buf := make([]byte, max(c.size, minSize)-header)
	data, left := io.MultiReader(bytes.NewReader(head), r), int64(len(head))+n
	for {
		part := buf[:min(left, int64(len(buf)))]
		if _, err := io.ReadFull(data, part); err != nil {
			return fmt.Errorf("cotp: what was to be sent ends early: %w", err)
		}
		left -= int64(len(part))
		eot := byte(0)
		if left == 0 {
			eot = 0x80
		}
		if err := c.p.WritePacket([]byte{2, byte(DT), eot}, part); err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
	}
}

// Disconnect sends a DR. In class 0 the end of the network connection says the same; ISODE's stacks like to hear it.
func (c *Conn) Disconnect(r Reason) error {
	return c.p.WritePacket(TPDU{Code: DR, Dst: c.dst, Src: c.src, Reason: r}.Append(nil))
}
