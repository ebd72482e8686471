// Package archive carries a queue from one store to another, whatever either is made of: a tar file that says all that
// package queue says of a message, and that nothing but tar is needed to look into.
//
//	archive.json          format, identifier, time
//	suspensions.json      what was suspended
//	000001/1A.envelope    the envelope of entry 1A, with its recipients, as JSON
//	000001/1A.attempts    its state, due time, attempts so far and last failure, as JSON
//	000001/body           the content that the entries of a folder share
//	known/000001          dedup keys that are remembered, as JSON: a peer that repeats a transfer after the move is answered as before
//	complete.json         how much there is: an archive without it was cut short
//
// Entries get new numbers and keys where they are read in; messages keep their identifiers, and with them what peers
// recognize a repeated transfer by. It never changes the store that it reads; one that it writes to takes a second reading of the same archive for what it is, and goes on where the first ended.
package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
	"backbone/queue/exactjson"
)

// format is the version that Export writes and Import reads.
const format = 1

// head is archive.json.
type head struct {
	Format int       `json:"format"`
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
}

// Counts is what was written or read; complete.json.
type Counts struct {
	Messages int `json:"messages"`
	Entries  int `json:"entries"`
	Keys     int `json:"keys"` // remembered
	// Known is how many of the messages were there already: from an earlier reading of the same archive.
	Known int `json:"known,omitempty"`
}

// progress is an entry's .attempts file.
type progress struct {
	Dest     queue.Dest     `json:"dest"`
	State    queue.State    `json:"state"` // ready, held or trash
	Next     time.Time      `json:"next"`
	Expires  time.Time      `json:"expires"`
	Created  time.Time      `json:"created"`
	Attempts int            `json:"attempts"`
	Tries    map[string]int `json:"tries,omitempty"`
	Last     *mail.Failure  `json:"last,omitempty"`
	Delayed  bool           `json:"delayed,omitempty"`
	Unknown  bool           `json:"unknown,omitempty"` // an attempt's outcome is not known
	Reason   string         `json:"reason,omitempty"`
	By       string         `json:"by,omitempty"`
	SHA256   string         `json:"sha256"` // of the body
}

// page is how many entries, keysPage how many dedup keys are asked for at a time.
const (
	page     = 500
	keysPage = 2000
)

// Export writes all entries of s, the trash included, to w. Nothing may be delivered meanwhile: what is, may be in the archive
// or not. An entry that is leased is written as one whose last attempt's outcome is unknown. It takes memory for the numbers
// of the entries. A body that can't be read ends it with an error that names the entry.
func Export(ctx context.Context, s queue.Store, w io.Writer) (n Counts, err error) {
	folders, err := messages(ctx, s)
	if err != nil {
		return n, err
	}
	x := &writer{tar: tar.NewWriter(w), at: time.Now().UTC().Truncate(time.Second)}
	if err := x.json("archive.json", head{Format: format, ID: rand.Text(), At: x.at}); err != nil {
		return n, err
	}
	if err := x.json("suspensions.json", s.Suspensions()); err != nil {
		return n, err
	}
	for i, ids := range folders {
		entries, err := x.message(ctx, s, fmt.Sprintf("%06d", i+1), ids)
		if err != nil {
			return n, err
		}
		if n.Entries += entries; entries > 0 {
			n.Messages++
		}
	}
	if n.Keys, err = x.keys(ctx, s); err != nil {
		return n, err
	}
	return n, errors.Join(x.json("complete.json", n), x.tar.Close())
}

// keys writes what s remembers.
func (x *writer) keys(ctx context.Context, s queue.Store) (n int, err error) {
	var at queue.Cursor
	for file := 1; ; file++ {
		ms, next, err := s.Remembered(ctx, at, keysPage)
		if err != nil {
			return n, err
		}
		if len(ms) > 0 {
			if err := x.json(fmt.Sprintf("known/%06d", file), ms); err != nil {
				return n, err
			}
		}
		n += len(ms)
		if at = next; next == "" {
			return n, nil
		}
	}
}

// messages lists the numbers of the entries that share a body, in the order of the first of each.
func messages(ctx context.Context, s queue.Store) (folders [][]queue.ID, err error) {
	number := map[string]int{}
	for _, f := range []queue.Filter{{}, {State: queue.Trash}} {
		var at queue.Cursor
		for {
			items, next, err := s.List(ctx, f, at, page)
			if err != nil {
				return nil, err
			}
			for _, it := range items {
				i, ok := number[it.Body.Where]
				if !ok {
					i = len(folders)
					number[it.Body.Where], folders = i, append(folders, nil)
				}
				folders[i] = append(folders[i], it.ID)
			}
			if at = next; next == "" {
				break
			}
		}
	}
	return folders, nil
}

type writer struct {
	tar *tar.Writer
	at  time.Time
}

func (x *writer) json(name string, v any) error {
	b, err := exactjson.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return x.file(name, int64(len(b)), bytes.NewReader(b))
}

func (x *writer) file(name string, size int64, r io.Reader) error {
	if err := x.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: x.at}); err != nil {
		return err
	}
	_, err := io.Copy(x.tar, r)
	return err
}

// message writes a folder and answers how many of its entries are still there.
func (x *writer) message(ctx context.Context, s queue.Store, folder string, ids []queue.ID) (n int, err error) {
	var ref queue.BodyRef
	for _, id := range ids {
		it, err := s.Get(ctx, id)
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return n, err
		}
		p := progress{Dest: it.Dest, State: it.State, Next: it.Next, Expires: it.Expires, Created: it.Created, Attempts: it.Attempts, Tries: it.Tries,
			Last: it.Last, Delayed: it.Delayed, Unknown: it.Unknown, Reason: it.Reason, By: it.By, SHA256: it.Body.SHA256}
		if p.State == queue.Leased {
			p.State, p.Unknown = queue.Ready, true
		}
		name := path.Join(folder, id.String())
		if err := errors.Join(x.json(name+".envelope", it.Envelope), x.json(name+".attempts", p)); err != nil {
			return n, err
		}
		ref = it.Body
		n++
	}
	if n == 0 {
		return 0, nil
	}
	r, err := s.Body(ref).Open()
	if err != nil {
		return n, fmt.Errorf("entry %s: %w", ids[0], err)
	}
	h := sha256.New()
	err = errors.Join(x.file(path.Join(folder, "body"), ref.Size, io.TeeReader(r, h)), r.Close())
	if err == nil && hex.EncodeToString(h.Sum(nil)) != ref.SHA256 {
		err = errors.New("its body is damaged")
	}
	if err != nil {
		return n, fmt.Errorf("entry %s: %w", ids[0], err)
	}
	return n, nil
}
