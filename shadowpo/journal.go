package shadowpo

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"
)

// journal remembers which key was delivered under which name, in two generations of text files: SENT and SENT.OLD, a
// line "name time key crc" each. When the first line of SENT is as old as keys must be kept, SENT becomes SENT.OLD, so
// a key is kept at least that long and at most twice as long, and nothing is ever rewritten.
type journal struct {
	state folder
	keep  time.Duration
	f     file
	last  uint64 // the highest number in it

	mu      sync.Mutex
	keys    map[keyHash]uint64 // of SENT
	oldKeys map[keyHash]uint64 // of SENT.OLD
	first   time.Time          // of SENT's first line
}

// keyHash stands for a key in memory: its length does not matter there, and a collision cannot be hoped for.
type keyHash [16]byte

func hashKey(key string) keyHash {
	h := sha256.Sum256([]byte(key))
	return keyHash(h[:16])
}

const (
	sentFile    = "SENT"
	sentOldFile = "SENT.OLD"
)

func openJournal(state folder, keep time.Duration) (*journal, error) {
	j := &journal{state: state, keep: keep}
	old, err := state.Open(sentOldFile)
	if err == nil {
		j.oldKeys, _, _, err = j.load(old)
		err = errors.Join(err, old.Close())
	}
	if err = ignoreMissing(err); err != nil {
		return nil, err
	}
	if j.f, err = state.Append(sentFile); err != nil {
		return nil, err
	}
	var good int64
	j.keys, j.first, good, err = j.load(j.f)
	if err == nil {
		err = j.f.Truncate(good) // a torn line was never acknowledged
	}
	if err == nil {
		err = errors.Join(j.f.Sync(), state.Sync())
	}
	if err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	return j, nil
}

func (j *journal) load(f file) (map[keyHash]uint64, time.Time, int64, error) {
	keys, first := map[keyHash]uint64{}, time.Time{}
	lines, good, err := readJournal(f)
	for _, l := range lines {
		p := strings.Split(l, " ")
		if len(p) != 3 {
			continue
		}
		n, ok := nameNumber(p[0])
		at, terr := strconv.ParseInt(p[1], 10, 64)
		if !ok || terr != nil {
			continue
		}
		if first.IsZero() {
			first = time.Unix(at, 0)
		}
		keys[hashKey(p[2])] = n
		j.last = max(j.last, n)
	}
	return keys, first, good, err
}

// name is what a key was delivered as.
func (j *journal) name(key string) (uint64, bool) {
	h := hashKey(key)
	j.mu.Lock()
	defer j.mu.Unlock()
	if n, ok := j.keys[h]; ok {
		return n, true
	}
	n, ok := j.oldKeys[h]
	return n, ok
}

// mark sets those of the numbers that some key was delivered as.
func (j *journal) mark(numbers map[uint64]bool) {
	for _, keys := range []map[keyHash]uint64{j.keys, j.oldKeys} {
		for _, n := range keys {
			if _, ok := numbers[n]; ok {
				numbers[n] = true
			}
		}
	}
}

// add makes keys durable, then known. Called by one goroutine. After an error the session must end: what of the batch
// is on the disk is read from there by the next.
func (j *journal) add(batch []*intent) error {
	now := time.Now()
	if !j.first.IsZero() && now.Sub(j.first) > j.keep {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	var b strings.Builder
	for _, in := range batch {
		b.WriteString(journalLine(fmt.Sprintf("%s %d %s", in.name, now.Unix(), in.key)))
	}
	if _, err := io.WriteString(j.f, b.String()); err != nil {
		return err
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.first.IsZero() {
		j.first = now
	}
	for _, in := range batch {
		n, _ := nameNumber(in.name)
		j.keys[hashKey(in.key)] = n
	}
	return nil
}

func (j *journal) rotate() error {
	if err := j.f.Close(); err != nil {
		return err
	}
	if err := j.state.Replace(sentFile, sentOldFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := j.state.Append(sentFile)
	if err != nil {
		return err
	}
	j.f = f
	if err := j.state.Sync(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.oldKeys = j.keys
	j.keys, j.first = map[keyHash]uint64{}, time.Time{}
	return nil
}

func (j *journal) close() error { return j.f.Close() }
