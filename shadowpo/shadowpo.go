// Package shadowpo is the drop: the folder through which one Microsoft Mail post office and this gateway exchange
// MMFF files. It watches and claims what the post office submits, hands it over message by message, writes what the
// post office is to collect, and keeps aside what cannot be taken.
//
// It owns the folder, its names and the order of its steps. It never looks into a message beyond what mmff tells,
// never decides about routes, reports or retry, and never touches anything outside the folder: links, FIFOs and
// devices in it are not followed or opened, and the file names that XTEXT and XATTACH bring are taken, if at all,
// from the submit folder only.
//
// Exactly once, both ways, across kill -9 and power loss:
//
//	in   a file is claimed under a token that is durable before its first message is handed over. Each message
//	     carries the key NET/PO/token/ordinal; who takes it must answer a key that it knows without taking it again.
//	     The file is removed only after every message is taken or durably in badmail.
//	out  a message's file and then the pair of its key and file name are durable before the file appears under a
//	     name that the post office's agent collects. A key delivered before is answered from that journal, also when
//	     the agent has taken the file away long since.
//
// How it fails: every error is a *mail.Failure or becomes one by mail.AsFailure. Faults of disk, share or lock are
// Transient or Local, never final; a drop whose share is unmounted, exchanged or read-only is unavailable until it
// is there again, and then goes on by itself. One bad file never stops the others.
//
// The journals lie in the drop itself, not on the gateway's own disk: they must agree with the files that they speak
// of when a share is moved, restored, or taken over by a second gateway.
package shadowpo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// Options of a drop. The zero value of each field but PostOffice is its default.
type Options struct {
	// PostOffice is whose drop this must be, NET/PO. A drop with another name in its sentinel is unavailable.
	PostOffice address.MSMail
	// MMFF is how the post office writes. Files is ignored: see External.
	MMFF mmff.Options
	// External takes XTEXT and XATTACH, for plain 8.3 names in the submit folder. Such files are left there: FFAPI's
	// PUT too removes only its input file (KB Q85058).
	External bool
	Poll     time.Duration // between looks at submit; 5s. Local changes are noticed at once where the system tells of them
	// Stable is how long size and time of a file must stay the same before it is claimed: 2s, the resolution of FAT
	// times. Nothing tells a file that was renamed into place from one that is being copied (the size may be set
	// first, contents may come in any order), so a negative value, which claims at first sight, is for drops whose
	// every writer renames.
	Stable time.Duration
	// Incomplete is how long a stable file that ends too early is waited for before it goes to badmail: 1m.
	Incomplete time.Duration
	Batch      int   // files claimed at once: 50, MS Mail's messages a cycle (KB Q95521, Q115490)
	Parallel   int   // files handed over at once: 8; 1 keeps their order
	MaxFile    int64 // octets; 2^31-1, the largest DOS file
	TextLogs   bool  // keep SENT.LOG, RECV.LOG and SYSTEM.LOG
	// Keep is how long delivered keys are remembered, at least: 30 days. It must exceed the longest time that mail
	// can wait for a retry. A key costs about 40 octets of memory.
	Keep time.Duration
	Log  *slog.Logger
	// Quarantined is told of each file that was put aside, after it is durable there.
	Quarantined func(Entry)
}

func (o Options) withDefaults() Options {
	o.PostOffice = o.PostOffice.PostOffice()
	setDefault(&o.Poll, 5*time.Second)
	setDefault(&o.Stable, 2*time.Second)
	setDefault(&o.Incomplete, time.Minute)
	setDefault(&o.Batch, 50)
	setDefault(&o.Parallel, 8)
	setDefault(&o.MaxFile, 1<<31-1)
	setDefault(&o.Keep, 30*24*time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Drop is one post office's drop. Its methods are safe for concurrent use.
type Drop struct {
	dir  string
	name string // NET/PO
	opt  Options
	log  *slog.Logger
	open func(dir string) (tree, identity, error)

	out  *outbound
	text *textLogs
	bad  sync.Mutex // names in badmail are chosen by one at a time
}

// Open prepares the drop at dir. It does not fail when the drop is not there: shares come and go, and Watch and
// Deliver each find out for themselves. Check tells the state now. Close the drop after every Watch and Deliver has
// returned.
func Open(dir string, opt Options) (*Drop, error) {
	return openWith(dir, opt, func(dir string) (tree, identity, error) { return openDisk(dir) })
}

func openWith(dir string, opt Options, open func(string) (tree, identity, error)) (*Drop, error) {
	opt = opt.withDefaults()
	name := opt.PostOffice.String()
	if _, err := address.ParsePostOffice(name); err != nil {
		return nil, fmt.Errorf("drop %s: %w", dir, err)
	}
	if opt.Batch < 0 || opt.Parallel < 0 || opt.MaxFile < 0 || opt.Poll < 0 || opt.Incomplete < 0 || opt.Keep < 0 {
		return nil, fmt.Errorf("drop %s: negative option", dir)
	}
	d := &Drop{dir: dir, name: name, opt: opt, open: open}
	d.log = opt.Log.With("postoffice", name)
	d.out = newOutbound(d)
	if opt.TextLogs {
		d.text = newTextLogs(d)
	}
	return d, nil
}

// Close ends the drop's own work and gives its locks back. A second call does nothing.
func (d *Drop) Close() error {
	err := d.out.close()
	if d.text != nil {
		d.text.close()
	}
	return err
}

// Dir is the drop's folder. PostOffice is NET/PO.
func (d *Drop) Dir() string        { return d.dir }
func (d *Drop) PostOffice() string { return d.name }

// tree opens the drop and sees that it is the right one.
func (d *Drop) tree() (tree, error) {
	t, id, err := d.open(d.dir)
	if err != nil {
		return nil, err
	}
	if id.postOffice != d.name {
		return nil, errors.Join(&UnavailableError{d.dir, fmt.Errorf("it belongs to post office %s, not to %s", id.postOffice, d.name)}, t.Close())
	}
	return t, nil
}

// Status is what a drop looks like from outside.
type Status struct {
	Submitted  int       // files that wait to be taken, claimed ones included
	Waiting    int       // files that the post office has not collected
	Oldest     time.Time // of Waiting; zero when there is none
	Quarantine int       // entries in badmail
}

// Check looks at the drop: an error says why it is not available. It writes nothing but missing folders.
func (d *Drop) Check(context.Context) (Status, error) {
	t, err := d.tree()
	if err != nil {
		return Status{}, fault(err)
	}
	defer t.Close()
	if err := t.Valid(); err != nil {
		return Status{}, fault(err)
	}
	var s Status
	submit, err := t.Folder(submitDir).List()
	if err != nil {
		return s, fault(err)
	}
	for _, f := range submit {
		if _, ext := splitName(f.Name()); ext == extMessage || ext == extClaimed {
			s.Submitted++
		}
	}
	deliver, err := t.Folder(deliverDir).List()
	if err != nil {
		return s, fault(err)
	}
	for _, f := range deliver {
		if _, ext := splitName(f.Name()); ext == extMessage {
			s.Waiting++
			if s.Oldest.IsZero() || f.ModTime().Before(s.Oldest) {
				s.Oldest = f.ModTime()
			}
		}
	}
	bad, err := t.Folder(badmailDir).List()
	if err != nil {
		return s, fault(err)
	}
	for _, f := range bad {
		if _, ext := splitName(f.Name()); ext == extMessage {
			s.Quarantine++
		}
	}
	return s, nil
}

// fault classifies an error of disk or share. What is missing or held by another may come back (the link is down, as
// it were); all else is our own trouble. Nothing here is ever final.
func fault(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*mail.Failure](err); ok {
		return err
	}
	if _, ok := errors.AsType[*UnavailableError](err); ok {
		return mail.LinkDown("the post office's drop is not available", err)
	}
	if _, ok := errors.AsType[*heldError](err); ok {
		return mail.LinkDown("the post office's drop is served by another gateway", err)
	}
	return mail.LocalFault("the post office's drop cannot be written or read", err)
}

// holder is the text in a lock.
func (d *Drop) holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s process %d since %s", host, os.Getpid(), time.Now().UTC().Format(time.RFC3339))
}
