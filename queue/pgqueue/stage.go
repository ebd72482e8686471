package pgqueue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"backbone/gateway/mail"
	"backbone/queue"
)

// chunkSize is how much of a body is in one row, and in memory at a time. *Ours*.
const chunkSize = 128 << 10

// staged is a body on its way in: in memory, or in a file without a name, so that nothing of it outlives the process. It goes
// into the database within the transaction of its message: a body that nobody's message refers to is never there.
type staged struct {
	s     *Store
	mem   []byte
	file  *os.File
	size  int64
	sum   string
	ended bool
}

func (g *staged) Size() int64    { return g.size }
func (g *staged) SHA256() string { return g.sum }

// Open reads what was staged. Readers must be closed before the body is ended.
func (g *staged) Open() (io.ReadSeekCloser, error) {
	switch {
	case g.ended:
		return nil, fmt.Errorf("staged body: %w", queue.ErrNotFound)
	case g.file == nil:
		return nopCloser{bytes.NewReader(g.mem)}, nil
	}
	return nopCloser{io.NewSectionReader(g.file, 0, g.size)}, nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// Discard ends a body. It may be called again.
func (g *staged) Discard() error {
	if g.ended {
		return nil
	}
	g.ended, g.mem = true, nil
	if g.file == nil {
		return nil
	}
	return g.file.Close()
}

// Stage implements queue.Store.
func (s *Store) Stage(ctx context.Context, r io.Reader, max int64) (queue.Staged, error) {
	if err := s.openWrite(ctx); err != nil {
		return nil, err
	}
	g := &staged{s: s}
	if err := g.read(ctx, r, max); err != nil {
		return nil, errors.Join(err, g.Discard())
	}
	return g, nil
}

func (g *staged) read(ctx context.Context, r io.Reader, max int64) error {
	sha := sha256.New()
	buf := make([]byte, 0, 8<<10)
	limit := g.s.o.bodyLimit
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(buf) == cap(buf) {
			if len(buf) > limit {
				if err := g.spool(buf); err != nil {
					return err
				}
				buf = buf[:0]
			} else {
				buf = append(make([]byte, 0, min(4*cap(buf), limit+1)), buf...)
			}
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		sha.Write(buf[len(buf) : len(buf)+n])
		buf = buf[:len(buf)+n]
		if g.size += int64(n); max > 0 && g.size > max {
			return mail.TooLarge(fmt.Sprintf("message is larger than %d octets", max))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	g.sum = hex.EncodeToString(sha.Sum(nil))
	if g.file == nil && len(buf) <= limit {
		g.mem = buf
		return nil
	}
	return g.spool(buf)
}

// spool writes the last octets read to the body's file.
func (g *staged) spool(b []byte) error {
	if g.file == nil {
		f, err := os.CreateTemp(g.s.o.Spool, "body-*")
		if err != nil {
			return fmt.Errorf("queue spool: %w", err)
		}
		g.file = f
		if err := os.Remove(f.Name()); err != nil {
			return fmt.Errorf("queue spool: %w", err)
		}
	}
	if _, err := g.file.WriteAt(b, g.size-int64(len(b))); err != nil {
		return fmt.Errorf("queue spool: %w", err)
	}
	return nil
}

// chunks are a staged body's rows, for COPY: pgx.CopyFromSource.
type chunks struct {
	body int64
	r    io.Reader
	buf  []byte
	n    int32
	err  error
}

func (c *chunks) Next() bool {
	c.buf = c.buf[:cap(c.buf)]
	k, err := io.ReadFull(c.r, c.buf)
	c.buf = c.buf[:k]
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		c.err = err
	}
	c.n++
	return c.err == nil && k > 0
}

func (c *chunks) Values() ([]any, error) { return []any{c.body, c.n - 1, c.buf}, nil }
func (c *chunks) Err() error             { return c.err }
