// Package tpkt puts transport protocol data units on TCP (RFC 1006 section 6, RFC 2126): four octets of header, then one
// TPDU. It knows nothing of what a TPDU says. A broken header ends the connection: there is no way back into step.
package tpkt

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	version   = 3
	headerLen = 4
	// MaxPayload is the longest TPDU: the length field counts the header.
	MaxPayload = 65535 - headerLen
	// minPayload is the shortest TPDU of class 0: length indicator, code, and one octet more.
	minPayload = 3
)

// Conn sends and receives TPKTs. One goroutine may read while another writes.
type Conn struct {
	r   *bufio.Reader
	w   io.Writer
	in  []byte
	out []byte
	at  int64 // octets read
}

// New speaks TPKT over rw.
func New(rw io.ReadWriter) *Conn { return &Conn{r: bufio.NewReaderSize(rw, 16<<10), w: rw} }

// ReadPacket gives the next packet's contents, valid until the next call. io.EOF means that the peer closed between
// packets; other errors name the octet of the connection. The reserved octet may hold anything (KB Q157015).
func (c *Conn) ReadPacket() ([]byte, error) {
	var head [headerLen]byte
	if n, err := io.ReadFull(c.r, head[:]); err != nil {
		if n > 0 {
			err = fmt.Errorf("tpkt: octet %d: header breaks off: %w", c.at+int64(n), err)
		}
		return nil, err
	}
	if head[0] != version {
		return nil, fmt.Errorf("tpkt: octet %d: version %d, not %d: this is no RFC 1006 peer", c.at, head[0], version)
	}
	n := int(binary.BigEndian.Uint16(head[2:])) - headerLen
	if n < minPayload {
		return nil, fmt.Errorf("tpkt: octet %d: a length of %d octets holds no TPDU", c.at+2, n+headerLen)
	}
	if cap(c.in) < n {
		c.in = make([]byte, n, max(n, 8<<10))
	}
	c.in = c.in[:n]
	if got, err := io.ReadFull(c.r, c.in); err != nil {
		return nil, fmt.Errorf("tpkt: octet %d: packet of %d octets breaks off: %w", c.at+headerLen+int64(got), n, err)
	}
	c.at += headerLen + int64(n)
	return c.in, nil
}

// Buffered is how many octets have been read and not been given out yet.
func (c *Conn) Buffered() int { return c.r.Buffered() }

// WritePacket sends parts as one packet, in one write.
func (c *Conn) WritePacket(parts ...[]byte) error {
	c.out = append(c.out[:0], version, 0, 0, 0)
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
	if n := len(c.out) - headerLen; n < minPayload || n > MaxPayload {
		return fmt.Errorf("tpkt: a TPDU of %d octets does not fit a packet", n)
	}
	binary.BigEndian.PutUint16(c.out[2:], uint16(len(c.out)))
	_, err := c.w.Write(c.out)
	return err
}
