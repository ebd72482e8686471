package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"backbone/queue"
	"backbone/queue/exactjson"
)

const (
	// importing is the reason for which an entry is held until all that the archive says of it is stored.
	importing = "being read from an archive"
	// maxWords bounds a file of JSON: thousands of recipients fit. *Ours*.
	maxWords = 16 << 20
	ttl      = 5 * time.Minute
)

// Import reads an archive into s. Each message is held until it is whole, so that gateways that share the store may run.
// An archive that was cut short is read as far as it goes, with an error. Reading it again stores nothing twice.
func Import(ctx context.Context, s queue.Store, r io.Reader) (n Counts, err error) {
	in := &reader{ctx: ctx, s: s, tar: tar.NewReader(r)}
	err = in.run()
	return in.n, err
}

type reader struct {
	ctx    context.Context
	s      queue.Store
	tar    *tar.Reader
	id     string
	folder string
	items  []queue.Item
	n      Counts
}

func (in *reader) run() error {
	var h head
	f, err := in.tar.Next()
	if err == nil && f.Name != "archive.json" {
		err = fmt.Errorf("it begins with %q", f.Name)
	}
	if err == nil {
		err = in.words(f, &h)
	}
	if err == nil && h.Format != format {
		err = fmt.Errorf("its format is %d, this program reads %d", h.Format, format)
	}
	if err != nil {
		return fmt.Errorf("not an archive of a queue: %w", err)
	}
	in.id = h.ID
	for {
		f, err := in.tar.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the archive was cut short: %d messages are in the queue", in.n.Messages)
		}
		if err != nil {
			return err
		}
		if f.Name == "complete.json" {
			return in.end(f)
		}
		if err := in.file(f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
}

func (in *reader) end(f *tar.Header) error {
	var want Counts
	if err := in.words(f, &want); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	if in.n.Messages != want.Messages || in.n.Entries != want.Entries || in.n.Keys != want.Keys {
		return fmt.Errorf("the archive has %d messages with %d entries and %d remembered keys, and says that there are %d with %d and %d",
			in.n.Messages, in.n.Entries, in.n.Keys, want.Messages, want.Entries, want.Keys)
	}
	return nil
}

// words reads a file of JSON.
func (in *reader) words(f *tar.Header, v any) error {
	if f.Size > maxWords {
		return fmt.Errorf("%d octets are too many", f.Size)
	}
	b, err := io.ReadAll(in.tar)
	if err != nil {
		return err
	}
	return exactjson.Unmarshal(b, v)
}

// file takes the next file: an entry's two come one after the other, and a folder's body last.
func (in *reader) file(f *tar.Header) error {
	dir, name := path.Split(f.Name)
	switch {
	case f.Name == "suspensions.json":
		return in.suspensions(f)
	case dir == "known/" && len(in.items) == 0:
		return in.keys(f)
	}
	if dir != in.folder {
		if len(in.items) > 0 {
			return fmt.Errorf("%s has no body", in.folder)
		}
		in.folder = dir
	}
	switch {
	case dir == "":
		return errors.New("a file that an archive does not have")
	case strings.HasSuffix(name, ".envelope"):
		it := queue.Item{}
		err := in.words(f, &it.Envelope)
		in.items = append(in.items, it)
		return err
	case strings.HasSuffix(name, ".attempts") && len(in.items) > 0:
		var p progress
		if err := in.words(f, &p); err != nil {
			return err
		}
		return p.into(&in.items[len(in.items)-1])
	case name == "body" && len(in.items) > 0:
		err := in.message()
		in.n.Entries += len(in.items)
		in.n.Messages++
		in.items = nil
		return err
	}
	return errors.New("a file that an archive does not have, or not here")
}

func (in *reader) keys(f *tar.Header) error {
	var ms []queue.Memory
	if err := in.words(f, &ms); err != nil {
		return err
	}
	in.n.Keys += len(ms)
	today := uint32(time.Now().Unix() / (24 * 60 * 60))
	for i := range ms { // a day still to come would be remembered until then
		ms[i].Day = min(ms[i].Day, today)
	}
	return in.s.Remember(in.ctx, ms)
}

func (in *reader) suspensions(f *tar.Header) error {
	var sus []queue.Suspension
	err := in.words(f, &sus)
	for _, su := range sus {
		err = errors.Join(err, in.s.Suspend(in.ctx, su))
	}
	return err
}

// into completes an entry.
func (p *progress) into(it *queue.Item) error {
	switch p.State {
	case queue.Ready, queue.Held, queue.Trash:
	default:
		return fmt.Errorf("an entry can't be %q", p.State)
	}
	if p.Dest.Connector == "" {
		return errors.New("an entry without a destination")
	}
	it.Dest, it.State, it.Next, it.Expires, it.Attempts, it.Tries = p.Dest, p.State, p.Next, p.Expires, p.Attempts, p.Tries
	it.Last, it.Delayed, it.Unknown, it.Reason, it.By = p.Last, p.Delayed, p.Unknown, p.Reason, p.By
	it.Body.SHA256 = p.SHA256
	return nil
}

// message stores a folder: held at first, then as it was.
func (in *reader) message() error {
	body, err := in.s.Stage(in.ctx, in.tar, 0)
	if err != nil {
		return err
	}
	n := queue.New{Body: body, Dedup: "archive/" + in.id + "/" + in.folder}
	for _, it := range in.items {
		if it.Body.SHA256 != body.SHA256() {
			return errors.Join(fmt.Errorf("the content has SHA-256 %s, the entry says %s", body.SHA256(), it.Body.SHA256), body.Discard())
		}
		it.State, it.Reason = queue.Held, importing
		n.Items = append(n.Items, it)
	}
	ids, known, err := in.s.Put(in.ctx, n)
	if err != nil {
		return err
	}
	if known {
		in.n.Known++
	}
	if len(ids) != len(in.items) {
		return fmt.Errorf("stored before as %d entries, the archive has %d", len(ids), len(in.items))
	}
	for i, id := range ids {
		if err := in.complete(id, &in.items[i]); err != nil {
			return err
		}
	}
	return nil
}

// complete gives an entry what Put does not take. One that an earlier reading completed is left alone, gone or not.
func (in *reader) complete(id queue.ID, want *queue.Item) error {
	got, err := in.s.Get(in.ctx, id)
	if errors.Is(err, queue.ErrNotFound) || err == nil && (got.State != queue.Held || got.Reason != importing) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := in.s.LeaseID(in.ctx, id, "import", ttl)
	if err != nil {
		return err
	}
	k := *want
	if k.State == queue.Trash {
		k.State = queue.Held // what it was before is not in the archive: bringing it back should not send it
	}
	if err := in.s.Settle(in.ctx, l, queue.Settlement{Keep: []queue.Item{k}}); err != nil {
		return err
	}
	if want.State != queue.Trash {
		return nil
	}
	_, err = in.s.Change(in.ctx, queue.Filter{IDs: []queue.ID{id}}, queue.Op{Verb: queue.Delete, Reason: want.Reason, By: want.By})
	return err
}
