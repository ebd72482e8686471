package queuetest

import (
	"encoding/binary"
	"io"
)

// pattern is n octets that do not repeat soon.
func pattern(n int) []byte {
	b := make([]byte, n)
	e := &endless{n: int64(n)}
	for at := 0; at < n; {
		k, err := e.Read(b[at:])
		if err != nil {
			break
		}
		at += k
	}
	return b
}

// endless yields n octets of pattern without holding them: a block, stamped with its number.
type endless struct {
	n, at int64
}

var block = func() (b [4096]byte) {
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}()

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	off := e.at % int64(len(block))
	n := copy(p[:min(int64(len(p)), e.n)], block[off:])
	if off == 0 && n >= 8 {
		binary.BigEndian.PutUint64(p, uint64(e.at))
	}
	e.at += int64(n)
	e.n -= int64(n)
	return n, nil
}
