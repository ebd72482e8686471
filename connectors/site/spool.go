package site

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"backbone/gateway/mail"
)

// spool keeps the contents that have arrived in part from one peer, so that a broken transfer goes on where it stopped,
// also after a restart. A part is a file named HASH-SIZE.part: the hash of the transfer's key and the size that was
// announced. Losing a part costs the peer time and nothing else, so that everything here may be thrown away.
type spool struct {
	dir      string
	maxCount int
	maxBytes int64 // sum of announced sizes
	maxAge   time.Duration

	mu    sync.Mutex
	parts map[string]*partInfo
	bytes int64
}

type partInfo struct {
	size    int64
	touched time.Time
	busy    chan struct{} // closed when the transfer that has the part lets go; nil: nobody has it
}

// checkpoint is how many octets arrive between two fsyncs of a part. *Ours*; RTSE's are 30 KB (KB Q234157), for lines
// a thousand times slower.
const checkpoint = 4 << 20

const partSuffix = ".part"

func openSpool(dir string, maxCount int, maxBytes int64, maxAge time.Duration) (*spool, error) {
	s := &spool{dir: filepath.Join(dir, "partial"), maxCount: maxCount, maxBytes: maxBytes, maxAge: maxAge, parts: map[string]*partInfo{}}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		size, ok := partSize(e.Name())
		fi, err := e.Info()
		if !ok || err != nil || !fi.Mode().IsRegular() {
			continue
		}
		s.parts[e.Name()] = &partInfo{size: size, touched: fi.ModTime()}
		s.bytes += size
	}
	return s, s.sweep(time.Now())
}

// partName holds nothing that a peer chose: a hash can't leave the folder.
func partName(key string, size int64) string {
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%s-%d%s", hex.EncodeToString(sum[:16]), size, partSuffix)
}

func partSize(name string) (int64, bool) {
	head, ok := strings.CutSuffix(name, partSuffix)
	_, digits, found := strings.Cut(head, "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && found && err == nil && n >= 0
}

// sweep removes the parts that nobody went on with, and the oldest beyond the bounds.
func (s *spool) sweep(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, p := range s.parts {
		if p.busy == nil && now.Sub(p.touched) > s.maxAge {
			errs = append(errs, s.removeLocked(name))
		}
	}
	_, err := s.roomLocked(0, 0)
	return errors.Join(append(errs, err)...)
}

// roomLocked evicts idle parts, oldest first, until count more parts of size octets in all fit.
func (s *spool) roomLocked(count int, size int64) (bool, error) {
	for len(s.parts)+count > s.maxCount || s.bytes+size > s.maxBytes {
		oldest := ""
		for name, p := range s.parts {
			if p.busy == nil && (oldest == "" || p.touched.Before(s.parts[oldest].touched)) {
				oldest = name
			}
		}
		if oldest == "" {
			return false, nil
		}
		if err := s.removeLocked(oldest); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (s *spool) removeLocked(name string) error {
	s.bytes -= s.parts[name].size
	delete(s.parts, name)
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// part is a content on its way in. Only the transfer that claimed it touches it.
type part struct {
	spool    *spool
	name     string
	size     int64
	received int64
	unsynced int64
	spoilt   bool // not to be gone on with
	file     *os.File
	hash     hash.Hash
}

// claim gives the part for a transfer key, with what has arrived of it before. While another transfer has it, claim
// waits: that one may be about to finish. The error is a *mail.Failure.
func (s *spool) claim(ctx context.Context, key string, size int64) (*part, error) {
	name := partName(key, size)
	for {
		busy, err := s.take(name, size)
		if err != nil {
			return nil, err
		}
		if busy == nil {
			break
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.2", Reason: 1, Diagnostic: 2,
				MSMail: 5, Text: "an earlier attempt with this message is still under way", Cause: ctx.Err()}
		}
	}
	p := &part{spool: s, name: name, size: size, hash: sha256.New()}
	if err := p.open(); err != nil {
		p.spoilt = true
		return nil, mail.LocalFault("the spool of the site link can't be used", errors.Join(err, p.letGo()))
	}
	return p, nil
}

// take marks the part as ours, or gives the channel to wait on.
func (s *spool) take(name string, size int64) (busy chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.parts[name]; ok {
		if p.busy != nil {
			return p.busy, nil
		}
		p.busy = make(chan struct{})
		return nil, nil
	}
	ok, err := s.roomLocked(1, size)
	if err != nil {
		return nil, mail.LocalFault("the spool of the site link can't be used", err)
	}
	if !ok {
		f := mail.LocalFault(fmt.Sprintf("the spool of the site link is full: %d messages of %d octets are under way", len(s.parts), s.bytes), nil)
		f.Code, f.Enhanced = 452, "4.3.1"
		return nil, f
	}
	s.parts[name] = &partInfo{size: size, busy: make(chan struct{})}
	s.bytes += size
	return nil, nil
}

// open finds what is there and brings the hash up to it.
func (p *part) open() error {
	var err error
	if p.file, err = os.OpenFile(filepath.Join(p.spool.dir, p.name), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if p.received, err = io.Copy(p.hash, io.LimitReader(p.file, p.size+1)); err != nil {
		return err
	}
	if p.received > p.size { // not ours, or spoilt
		p.received = 0
		p.hash.Reset()
		if err := p.file.Truncate(0); err != nil {
			return err
		}
		_, err = p.file.Seek(0, io.SeekStart)
	}
	return err
}

// write adds b. The caller sees to it that no more comes than was announced. After an error the part is spoilt: what
// the file holds then is not known.
func (p *part) write(b []byte) error {
	if _, err := p.file.Write(b); err != nil {
		p.spoilt = true
		return err
	}
	p.hash.Write(b)
	p.received += int64(len(b))
	if p.unsynced += int64(len(b)); p.unsynced >= checkpoint {
		p.unsynced = 0
		if err := p.file.Sync(); err != nil {
			p.spoilt = true
			return err
		}
	}
	return nil
}

// content reads what has arrived, from the beginning.
func (p *part) content() io.Reader { return io.NewSectionReader(p.file, 0, p.received) }

// letGo ends the claim. What has arrived stays for a later transfer, unless the part is spoilt or empty.
func (p *part) letGo() error {
	var errs []error
	if p.file != nil {
		if !p.spoilt && p.received > 0 {
			errs = append(errs, p.file.Sync())
		}
		errs = append(errs, p.file.Close())
	}
	s := p.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.parts[p.name]
	close(info.busy)
	info.busy, info.touched = nil, time.Now()
	if p.spoilt || p.received == 0 || errors.Join(errs...) != nil {
		errs = append(errs, s.removeLocked(p.name))
	}
	return errors.Join(errs...)
}
