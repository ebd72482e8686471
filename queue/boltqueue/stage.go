package boltqueue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"path/filepath"

	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/queue/boltqueue/disk"
)

// staged is a body on its way in: in memory, or in the file in which it stays.
type staged struct {
	s     *Store
	mem   []byte
	file  disk.File
	num   uint64 // the body's number, when it has a file
	size  int64
	sha   hash.Hash
	crc   uint32
	sum   string
	ended bool
}

func (g *staged) Size() int64    { return g.size }
func (g *staged) SHA256() string { return g.sum }

func (g *staged) Open() (io.ReadSeekCloser, error) {
	if g.ended {
		return nil, fmt.Errorf("staged body: %w", queue.ErrNotFound)
	}
	if g.file == nil {
		return memReader{bytes.NewReader(g.mem)}, nil
	}
	f, err := g.s.fs.Open(g.s.bodyPath(g.num), false)
	if err != nil {
		return nil, err
	}
	return &fileReader{f: f, SectionReader: io.NewSectionReader(f, 0, g.size), want: g.crc, sum: crc32.New(castagnoli), name: where(g.num, true)}, nil
}

// Discard ends a body that is not wanted. It may be called again.
func (g *staged) Discard() error {
	if g.ended {
		return nil
	}
	g.ended = true
	g.mem = nil
	if g.file == nil {
		return nil
	}
	return errors.Join(g.file.Close(), g.s.fs.Remove(g.s.bodyPath(g.num)))
}

// Stage implements queue.Store.
func (s *Store) Stage(ctx context.Context, r io.Reader, max int64) (queue.Staged, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	err := s.fatal
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	g := &staged{s: s, sha: sha256.New()}
	if err := g.read(ctx, r, max); err != nil {
		return nil, errors.Join(err, g.Discard())
	}
	g.sum = hex.EncodeToString(g.sha.Sum(nil))
	return g, nil
}

// room refuses new mail when less than the reserve would be left.
func (s *Store) room(n int64) error {
	free, err := s.fs.Free(s.o.dir)
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if free-n < s.o.Reserve {
		return fmt.Errorf("%w: %d MiB free in %s, %d MiB kept in reserve", queue.ErrFull, free>>20, s.o.dir, s.o.Reserve>>20)
	}
	return nil
}

// chunk is how much of a large body is in memory at a time.
const chunk = 256 << 10

func (g *staged) read(ctx context.Context, r io.Reader, max int64) error {
	buf := make([]byte, 0, 8<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(buf) == cap(buf) {
			if len(buf) >= g.limit() {
				if err := g.flush(buf); err != nil {
					return err
				}
				buf = buf[:0]
			} else {
				buf = append(make([]byte, 0, min(4*cap(buf), g.limit())), buf...)
			}
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		g.sha.Write(buf[len(buf) : len(buf)+n])
		g.crc = crc32.Update(g.crc, castagnoli, buf[len(buf):len(buf)+n])
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
	if g.file == nil && g.size <= int64(g.s.o.bodyLimit) {
		g.mem = buf
		return nil
	}
	return g.flush(buf)
}

// limit is the size at which the buffer is written out. One octet more than the largest small body, so that a body of
// exactly that size is small.
func (g *staged) limit() int {
	if g.file != nil {
		return chunk
	}
	return g.s.o.bodyLimit + 1
}

// flush writes what is in the buffer, the last octets read, to the body's file.
func (g *staged) flush(buf []byte) error {
	if g.file == nil {
		g.num = g.s.number()
		path := g.s.bodyPath(g.num)
		if err := g.s.makeShard(filepath.Dir(path)); err != nil {
			return err
		}
		f, err := g.s.fs.Create(path)
		if err != nil {
			return err
		}
		g.file = f
	}
	if err := g.s.room(int64(len(buf))); err != nil {
		return err
	}
	_, err := g.file.WriteAt(buf, g.size-int64(len(buf)))
	return err
}

// makeShard makes a folder of bodies; its own name is durable before anything is in it.
func (s *Store) makeShard(dir string) error {
	s.shardMu.Lock()
	defer s.shardMu.Unlock()
	if s.shards[dir] {
		return nil
	}
	if err := s.fs.MkdirAll(dir); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	s.shards[dir] = true
	return nil
}

// finish makes a large body's octets and its name durable. Only then may the log speak of it: a record that survives a
// power cut although nobody was told of it is as good as any other.
func (g *staged) finish() error {
	if g.file == nil {
		return nil
	}
	g.s.syncs.Add(1)
	if err := g.file.Sync(); err != nil {
		return err
	}
	return g.s.syncShard(filepath.Dir(g.s.bodyPath(g.num)))
}

// syncShard makes the names in a folder of bodies durable. Callers that come while it runs share the next run.
func (s *Store) syncShard(dir string) error {
	ticket := s.tickets.Add(1)
	s.shardSync.Lock()
	defer s.shardSync.Unlock()
	if s.shardDone[dir] >= ticket {
		return nil
	}
	covers := s.tickets.Load()
	s.syncs.Add(1)
	if err := s.fs.SyncDir(dir); err != nil {
		return err
	}
	s.shardDone[dir] = covers
	return nil
}

// kept closes the file of a body that is stored now.
func (g *staged) kept() error {
	g.ended = true
	g.mem = nil
	if g.file == nil {
		return nil
	}
	return g.file.Close()
}
