package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"backbone/gateway/config"
	"backbone/gateway/directory"
	"backbone/gateway/mail/pace"
	"backbone/queue"
	"backbone/queue/boltqueue"
	"backbone/queue/pgqueue"
)

// openStore opens the queue that the configuration names. Without connect it is for a command beside the daemon.
func (s *site) openStore(connect bool) error {
	store, err := openQueue(s.cfg, pgqueue.Options{Log: s.log}, connect)
	if err != nil {
		return err
	}
	s.store = store
	if shared, ok := store.(*pgqueue.Store); ok {
		s.limits = pace.Patiently(shared.Limits(), s.log)
	}
	s.closers = append(s.closers, store.Close)
	return nil
}

// openShared opens the queue that gateways share, and their directory with it. A process that does so takes the place of another
// of its name. That this one may, the lock on the directory's file has told.
func (s *site) openShared(connect bool) (directory.Shared, error) {
	if err := s.openStore(connect); err != nil {
		return nil, err
	}
	shared, ok := s.store.(*pgqueue.Store)
	if !ok {
		return nil, fmt.Errorf("queue.store = %q has no directory for several gateways", s.cfg.Queue.Store)
	}
	return shared.Directory(), nil
}

// commandMark is in the name under which a command opens a shared queue, after its gateway's.
const commandMark = " (command "

func openQueue(cfg *config.Config, o pgqueue.Options, serve bool) (queue.Store, error) {
	if cfg.Queue.Store == "bolt" {
		s, err := boltqueue.Open(filepath.Join(cfg.Site.Data, "queue"), boltqueue.Options{Reserve: cfg.Queue.Reserve, TrashFor: cfg.Queue.Trash.D(), Log: o.Log})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	dsn, err := cfg.Queue.DSN.Reveal()
	if err != nil {
		return nil, fmt.Errorf("queue.dsn: %w", err)
	}
	o.DSN, o.Node, o.TrashFor, o.Silence, o.KeepEvents = dsn, nodeName(cfg), cfg.Queue.Trash.D(), cfg.Queue.Silence.D(), cfg.Tracking.Keep.D()
	if !serve { // not to be taken for the daemon that may run beside it
		o.Node += fmt.Sprintf("%s%d)", commandMark, os.Getpid())
		o.Connections, o.Command = 2, true
	}
	// For bodies on their way in that are too large for memory: nothing of them outlives the process.
	o.Spool = filepath.Join(cfg.Site.Data, "spool")
	if err := os.MkdirAll(o.Spool, 0o700); err != nil {
		return nil, fmt.Errorf("queue spool: %w", err)
	}
	s, err := pgqueue.Open(context.Background(), o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// nodeName is this gateway's name among those that share its queue; "" for one that shares it with nobody.
func nodeName(cfg *config.Config) string {
	if cfg.Queue.Store == "bolt" {
		return ""
	}
	if cfg.Queue.Node != "" {
		return cfg.Queue.Node
	}
	h, err := os.Hostname()
	if err != nil {
		return cfg.Site.Name
	}
	return h
}
