package tracking

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ready opens the file for day, after closing the one before. A clock that goes back stays with the newest file.
func (w *writer) ready(day string) error {
	limit := int64(maxFile)
	if m := w.l.o.MaxBytes / 8; m > 0 && m < limit {
		limit = m
	}
	if w.f != nil && (day <= w.seg.day && w.size < limit) {
		return nil
	}
	next := segment{day: day}
	if last, ok := w.l.last(); ok && last.day >= day {
		next = last
		if st, err := os.Stat(last.log(w.l.dir)); w.f != nil || err == nil && st.Size() >= limit {
			next.n++
		}
	}
	w.close()
	return w.open(next)
}

func (l *Log) last() (segment, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segs) == 0 {
		return segment{}, false
	}
	return l.segs[len(l.segs)-1], true
}

// Newest is the beginning of the newest file's day (UTC), the zero time when there is none. It is in the future when the
// clock was ahead.
func (l *Log) Newest() time.Time {
	s, ok := l.last()
	if !ok {
		return time.Time{}
	}
	day, err := time.Parse(dayLayout, s.day)
	if err != nil { // it is not our file
		return time.Time{}
	}
	return day
}

// open opens or creates a file and mends its end: a line that a crash tore is ended, so that it spoils no other.
func (w *writer) open(s segment) error {
	dir := w.l.dir
	f, err := os.OpenFile(s.log(dir), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("tracking log: %w", err)
	}
	size, err := mend(f)
	if err != nil {
		return errors.Join(fmt.Errorf("tracking log: %s: %w", s.log(dir), err), f.Close())
	}
	if err := syncDir(dir); err != nil {
		w.l.o.Log.Warn("tracking log: folder not synced", "err", err)
	}
	if err := w.l.index.check(s, size); err != nil {
		w.l.o.Log.Warn("tracking index unreadable", "err", err)
	}
	w.f, w.seg, w.size, w.torn = f, s, size, false
	clear(w.seen)
	l := w.l
	l.mu.Lock()
	if n := len(l.segs); n == 0 || l.segs[n-1] != s {
		l.segs = append(l.segs, s)
	}
	l.active, l.size, l.chunk, l.chunkAt, l.synced = true, size, nil, size, size // what an earlier process wrote Open has synced
	segs := l.segs
	l.mu.Unlock()
	sizes := map[segment]int64{}
	if l.o.Archive != nil {
		for _, s := range segs {
			if st, err := os.Stat(s.log(dir)); err == nil {
				sizes[s] = st.Size()
			}
		}
	}
	left, err := prune(dir, segs, l.o.Keep, l.o.MaxBytes, time.Now())
	if err != nil {
		l.o.Log.Warn("old tracking log not removed", "err", err)
	}
	l.mu.Lock()
	l.segs = left
	for s, size := range sizes {
		if !slices.Contains(left, s) {
			l.pruned[s] = size
		}
	}
	l.mu.Unlock()
	l.index.forget(left)
	return nil
}

// mendFile mends the end of a file that is not open, and syncs what a killed process may have left with the operating system.
func mendFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = mend(f)
	return errors.Join(err, f.Sync(), f.Close())
}

func mend(f *os.File) (size int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size = st.Size()
	if size == 0 {
		return 0, nil
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], size-1); err != nil {
		return 0, err
	}
	if last[0] != '\n' {
		if _, err := f.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		size++
	}
	return size, nil
}

func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// startSync syncs the file beside the writing: a slow disk must not hold the mail up. endSync or close waits for it.
func (w *writer) startSync() {
	w.dirty = false
	if w.f == nil {
		return
	}
	f, done := w.f, make(chan error, 1)
	w.synced, w.syncing = done, w.size
	go func() { done <- f.Sync() }()
}

func (w *writer) endSync(err error) {
	w.synced = nil
	if err != nil {
		w.note(fmt.Errorf("tracking log: %w", err))
		w.l.o.Log.Error("tracking log not synced", "file", w.f.Name(), "err", err)
		return
	}
	w.l.syncedTo(w.syncing)
}

func (w *writer) close() {
	if w.f == nil {
		return
	}
	w.flushIndex()
	if w.synced != nil {
		w.endSync(<-w.synced)
	}
	w.syncing = w.size
	w.endSync(w.f.Sync())
	if err := w.f.Close(); err != nil {
		w.note(fmt.Errorf("tracking log: %w", err))
	}
	w.f = nil
	w.l.mu.Lock()
	w.l.active = false
	w.l.mu.Unlock()
}
