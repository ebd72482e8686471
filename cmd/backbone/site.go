package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/agent"
	"backbone/gateway/config"
	"backbone/gateway/control"
	"backbone/gateway/control/dashboard"
	"backbone/gateway/directory"
	"backbone/gateway/mail/pace"
	"backbone/gateway/monitor"
	"backbone/gateway/tracking"
	"backbone/queue"
	"backbone/queue/pgqueue"

	"golang.org/x/sync/errgroup"
)

// site is one site, opened: its store, directory, tracking log, connectors and gateway.
type site struct {
	cfg       *config.Config
	log       *slog.Logger
	store     queue.Store
	limits    pace.Shared // nil: this gateway counts for itself
	dir       *directory.Directory
	track     *tracking.Log
	gw        *gateway.Gateway
	agent     *agent.Agent
	service   *control.Service
	dash      *dashboard.Dashboard
	sources   []connectors.Source
	closers   []func() error
	sockets   *sockets
	draining  func(ended <-chan struct{}) // shows how far the drain is, until ended closes; nil where nobody looks
	level     *slog.LevelVar              // of log; nil where nobody changes it
	inForce   *config.Config              // as reloaded last; reloading guards it
	reloading sync.Mutex
}

// openSite opens everything in the order in which it is needed. On error what was opened is closed again. With
// connect false nothing is bound and connectors that can't be opened are left out: to look at the queue and change it offline.
func openSite(cfg *config.Config, log *slog.Logger, connect bool) (s *site, err error) {
	return openSiteOn(&sockets{}, cfg, log, connect)
}

// openSiteOn is openSite with sockets that are bound already.
func openSiteOn(bound *sockets, cfg *config.Config, log *slog.Logger, connect bool) (s *site, err error) {
	s = &site{cfg: cfg, inForce: cfg, log: log, sockets: bound}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.MkdirAll(cfg.Site.Data, 0o700); err != nil {
		return s, fmt.Errorf("site.data: %w", err)
	}
	if cfg.Queue.Store == "bolt" {
		if err := s.openStore(connect); err != nil {
			return s, err
		}
	}
	id := cfg.SiteIdentity()
	names := directory.Options{
		Site:    directory.Identity{Name: id.Name, Organization: id.Organization, Domains: id.Domains, Partners: id.Partners, MS: id.MS, X400: id.X400},
		Aliases: cfg.Directory.Aliases, ReplyRoutes: cfg.Routing.ReplyRoutes.D(), KeepTombstones: cfg.Directory.Keep.D(),
		Generate: cfg.Directory.Generate, ReplyAddresses: cfg.Directory.ReplyAddresses.D(), Log: log,
	}
	if cfg.Queue.Store != "bolt" {
		names.Share = func() (directory.Shared, error) { return s.openShared(connect) }
	}
	if s.dir, err = directory.Open(filepath.Join(cfg.Site.Data, "directory.db"), names); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.dir.Close)
	if s.agent, err = openAgent(cfg, id, s.dir, log); err != nil {
		return s, err
	}
	history := tracking.Options{Keep: cfg.Tracking.Keep.D(), MaxBytes: cfg.Tracking.MaxSize, Subjects: cfg.Tracking.Subjects, Node: nodeName(cfg), Log: log}
	if shared, ok := s.store.(*pgqueue.Store); ok {
		history.Archive = shared.Events()
	}
	if s.track, err = tracking.Open(filepath.Join(cfg.Site.Data, "tracking"), history); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.track.Close)
	var members []gateway.Member
	incomplete := error(nil)
	if members, err = s.connect(id, connect); err != nil {
		if connect {
			return s, err
		}
		log.Warn("a connector is missing: nothing can be sent or rerouted", "err", err)
		incomplete = err
	}
	members = append(members, gateway.Member{
		Connector: gateway.NewPostmasterFile(filepath.Join(cfg.Site.Data, "postmaster.mbox")),
		Common:    connectors.Common{Name: "postmaster", Type: "postmaster", Parallel: 1},
	}, gateway.Member{Connector: s.agent, Common: connectors.Common{Name: agent.Name, Type: agent.Name, Parallel: 1}})
	watch, err := openMonitor(cfg, log)
	if err != nil {
		return s, err
	}
	members = append(members, gateway.Member{Connector: watch, Common: connectors.Common{Name: monitor.Name, Type: monitor.Name, Parallel: 1}})
	s.gw, err = gateway.New(gateway.Options{
		Settings: rules(cfg), Site: id, Node: nodeName(cfg), Store: s.store, Directory: s.dir, Tracking: s.track, Members: members, Limits: s.limits, Routes: s.agent.Routes,
		Workers: cfg.Queue.Workers, LeaseFor: cfg.Queue.Lease.D(), Drain: cfg.Queue.Drain.D(), Log: log,
	})
	if err != nil {
		return s, err
	}
	audit, err := control.OpenAudit(filepath.Join(cfg.Site.Data, "audit.log"))
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, audit.Close)
	joined := make([]connectors.Connector, len(members))
	for i, m := range members {
		joined[i] = m.Connector
	}
	s.agent.Join(joined, s.gw.Recalculate)
	s.sources = append(s.sources, s.agent, watch)
	s.service = &control.Service{
		Gateway: s.gw, Agent: s.agent, Store: s.store, Directory: s.dir, Tracking: s.track, Members: members, DeleteGuard: cfg.Directory.DeleteGuard,
		Incomplete: incomplete, Audit: audit, Monitor: watch, Flow: control.NewFlow(s.store.Stats), Version: version, Started: time.Now(), Log: log,
	}
	if connect {
		s.service.Reload = s.reload
	}
	for _, m := range members {
		if q, ok := m.Connector.(connectors.Quarantine); ok {
			s.service.Drops = append(s.service.Drops, q)
		}
	}
	s.dash, err = openDashboard(cfg.Control, s.service, log)
	if err != nil {
		return s, err
	}
	return s, nil
}

// answerTrace is service.AnswerTrace, for the links that are opened before there is a service.
func (s *site) answerTrace(ctx context.Context, peer, id string, asked []string) (connectors.Timeline, error) {
	return s.service.AnswerTrace(ctx, peer, id, asked)
}

// connect opens the connectors, all of one kind at once so that they can share listeners. With listen false they are bound to
// nothing: they say where mail goes, and nobody can call.
func (s *site) connect(id connectors.Site, listen bool) ([]gateway.Member, error) {
	env := connectors.Env{
		Site: id, Book: s.dir, Log: s.log, Replica: s.agent.Answer, Trace: s.answerTrace,
		Dir: func(name string) (string, error) {
			p := filepath.Join(s.cfg.Site.Data, "connectors", name)
			return p, os.MkdirAll(p, 0o700)
		},
		Base: s.cfg.Dir(), Listen: s.sockets.listen, Limits: s.limits,
	}
	if !listen {
		env.Listen = listenNowhere
	}
	var members []gateway.Member
	var missing []error
	for _, k := range kinds {
		var cfgs []connectors.Config
		for _, c := range s.cfg.Connectors {
			if b := c.Base(); b.Type == k.Type && !b.Disabled {
				cfgs = append(cfgs, c)
			}
		}
		if len(cfgs) == 0 {
			continue
		}
		o, err := k.Open(env, cfgs)
		if err != nil {
			err = fmt.Errorf("connector type %s: %w", k.Type, err)
			if listen {
				return nil, err
			}
			missing = append(missing, err)
			continue
		}
		if o.Close != nil {
			s.closers = append(s.closers, o.Close)
		}
		for _, c := range o.Connectors {
			for _, cfg := range cfgs {
				if cfg.Base().Name == c.Name() {
					members = append(members, gateway.Member{Connector: c, Common: *cfg.Base()})
				}
			}
		}
		s.sources = append(s.sources, o.Sources...)
	}
	return members, errors.Join(missing...)
}

// serve runs the site until ctx ends, then drains: sources stop first, then deliveries, then everything is closed.
// ready is called once everything listens.
func (s *site) serve(ctx context.Context, ready func()) error {
	sock, err := s.listenControl()
	if err != nil {
		return errors.Join(err, s.close())
	}
	var tcp net.Listener
	if s.cfg.Control.Listen != "" {
		if tcp, err = listenDashboard(s.cfg.Control, s.sockets.listen); err != nil {
			return errors.Join(err, sock.Close(), s.close())
		}
	}
	if err := s.sockets.unused(s.log); err != nil {
		s.log.Warn("socket of the service manager not closed", "err", err)
	}
	g, gctx := errgroup.WithContext(ctx)
	s.service.Stopping = gctx
	g.Go(func() error { return serveHTTP(gctx, sock, s.service.Handler()) })
	if tcp != nil {
		g.Go(func() error { return serveHTTP(gctx, tcp, s.dash.Handler(gctx)) })
	}
	g.Go(func() error { s.service.Flow.Run(gctx, s.track); return nil })
	for _, src := range s.sources {
		g.Go(func() error {
			if err := src.Serve(gctx, s.gw); err != nil && gctx.Err() == nil {
				return fmt.Errorf("connector %s: %w", src.Name(), err)
			}
			return nil
		})
	}
	g.Go(func() error { return s.gw.Run(gctx) })
	g.Go(func() error { return s.watchdog(gctx) })
	s.log.Info("site is up", "site", s.cfg.Site.Name, "control", s.cfg.Control.Socket, "listen", s.cfg.Control.Listen, "connectors", len(s.sources))
	if ready != nil {
		ready()
	}
	ended := make(chan struct{})
	var shown sync.WaitGroup
	if s.draining != nil {
		shown.Go(func() {
			select {
			case <-gctx.Done():
				s.draining(ended)
			case <-ended:
			}
		})
	}
	err = g.Wait()
	close(ended)
	shown.Wait()
	s.log.Info("site is down", "site", s.cfg.Site.Name)
	return errors.Join(err, s.close())
}

// listenControl opens the control socket, readable by its owner only, unless the service manager has opened it with rights
// of its choice. A left-over socket of a dead daemon is removed; that of a living one is not: the store's own lock has made
// sure by now that there is none.
func (s *site) listenControl() (net.Listener, error) {
	p := s.cfg.Control.Socket
	if l := s.sockets.take("unix", p); l != nil {
		return l, nil
	}
	if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	l, err := net.Listen("unix", p)
	if err != nil {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	if err := os.Chmod(p, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("control.socket: %w", err), l.Close())
	}
	return l, nil
}

// serveHTTP serves until ctx ends, then gives running calls a little time.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			stopped <- srv.Close()
			return
		}
		stopped <- nil
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// close closes in reverse order.
func (s *site) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// newLog is the daemon's own log.
func newLog(cfg config.Log, w io.Writer) *slog.Logger {
	var level slog.LevelVar
	setLevel(&level, cfg)
	return newLogAt(&level, cfg, w)
}

// setLevel takes the level that Parse has checked.
func setLevel(l *slog.LevelVar, cfg config.Log) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	l.Set(level)
}

func newLogAt(level *slog.LevelVar, cfg config.Log, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(escaped{w}, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// escaped is where lines of JSON go that strangers have a part in. (The text handler quotes as strconv.Quote does.)
type escaped struct{ io.Writer }

func (w escaped) Write(b []byte) (int, error) {
	if _, err := w.Writer.Write(control.EscapeJSON(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}
