package pgqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"backbone/gateway/mail"
	"backbone/queue"
)

// content is a stored body.
type content struct {
	s   *Store
	ref queue.BodyRef
}

// Body implements queue.Store.
func (s *Store) Body(ref queue.BodyRef) mail.Content { return content{s, ref} }

func (c content) Size() int64 { return c.ref.Size }

func bodyNumber(where string) (uint64, error) {
	i := strings.LastIndexByte(where, ' ')
	id, err := queue.ParseID(where[i+1:])
	if err != nil || i < 0 {
		return 0, fmt.Errorf("%w: %q names no body", queue.ErrNotFound, where)
	}
	return uint64(id), nil
}

// Open reads the first chunk; the others are read one by one as the reader gets there. A body whose last item ends meanwhile
// ends with queue.ErrNotFound.
func (c content) Open() (io.ReadSeekCloser, error) {
	if c.s.closed.Load() {
		return nil, queue.ErrClosed
	}
	n, err := bodyNumber(c.ref.Where)
	if err != nil {
		return nil, err
	}
	r := &bodyReader{s: c.s, body: int64(n), size: c.ref.Size, chunk: -1}
	return r, r.load(0)
}

// bodyReader reads a body chunk by chunk.
type bodyReader struct {
	s     *Store
	body  int64
	size  int64
	at    int64
	chunk int64 // number of the one in buf
	buf   []byte
}

func (r *bodyReader) load(n int64) error {
	if r.chunk == n {
		return nil
	}
	want := min(r.size-n*chunkSize, chunkSize)
	err := r.s.patiently(r.s.ctx, time.Time{}, func(ctx context.Context) error {
		rows, err := r.s.pool.Query(ctx, "select data from chunk where body = $1 and n = $2", r.body, n)
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() {
			return errors.Join(rows.Err(), pgx.ErrNoRows)
		}
		r.buf = append(r.buf[:0], rows.RawValues()[0]...)
		rows.Close()
		return rows.Err()
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("body %s: %w", queue.ID(r.body), queue.ErrNotFound)
	case err != nil:
		return fmt.Errorf("body %s: %w", queue.ID(r.body), err)
	case int64(len(r.buf)) != want:
		return fmt.Errorf("body %s is damaged: chunk %d has %d octets, want %d", queue.ID(r.body), n, len(r.buf), want)
	}
	r.chunk = n
	return nil
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if err := r.load(r.at / chunkSize); err != nil {
		return 0, err
	}
	n := copy(p, r.buf[r.at%chunkSize:])
	r.at += int64(n)
	return n, nil
}

func (r *bodyReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("body: seek before its beginning")
	}
	r.at = offset
	return offset, nil
}

func (r *bodyReader) Close() error { return nil }
