package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"backbone/gateway/config"
	"backbone/queue"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
)

// embeddedDir is where the embedded default site keeps everything, below the working directory.
const embeddedDir = "backbone-data"

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run a site until SIGTERM or Ctrl-C, then drain and stop; SIGHUP reloads the configuration", Args: cobra.NoArgs,
		Long: "Run a site until SIGTERM or Ctrl-C, then drain and stop.\n\nWithout a configuration it runs an embedded default site below ./" + embeddedDir +
			": SMTP on 127.0.0.1:2525,\nX.400 on 127.0.0.1:1102, control on 127.0.0.1:8025, one post office NET/PO1.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := a.findConfig()
			if p == "" {
				var err error
				if p, err = writeSite(embeddedDir, embeddedSite); err != nil {
					return err
				}
				fmt.Fprintf(a.err, "backbone: no configuration found: running the default site; its configuration is %s\n", p)
			}
			cfg, err := config.Load(p, kinds)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), cfg)
		},
	}
}

// collectAt lets the heap triple before the collector runs: what a relay holds is a few megabytes that live for
// milliseconds, and with Go's default a tenth of its CPU time goes into looking through them. GOGC, when set, wins.
const collectAt = 200

func (a *app) serve(ctx context.Context, cfg *config.Config) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	var level slog.LevelVar
	setLevel(&level, cfg.Log)
	log := newLogAt(&level, cfg.Log, a.err)
	for _, w := range config.Warnings(cfg) {
		log.Warn("configuration", "about", w)
	}
	bound, err := inheritedSockets()
	if err != nil {
		return err
	}
	s, err := openSiteOn(bound, cfg, log, true)
	if err != nil {
		return errors.Join(err, bound.unused(log))
	}
	s.level = &level
	if isTerminal(a.err) {
		s.draining = func(ended <-chan struct{}) { a.showDrain(s.store.Stats, cfg.Queue.Drain.D(), ended) }
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	defer context.AfterFunc(ctx, func() { notify(log, sd.SdNotifyStopping) })()
	ctx, cancel := context.WithCancel(ctx)
	var reloads sync.WaitGroup
	reloads.Go(func() { s.reloadOn(ctx, hup) })
	err = s.serve(ctx, func() { notify(log, sd.SdNotifyReady) })
	cancel()
	reloads.Wait()
	return err
}

// showDrain shows how many transfers under way are still to end, and how long they have.
func (a *app) showDrain(stats func() queue.Stats, limit time.Duration, ended <-chan struct{}) {
	began, tick := time.Now(), time.NewTicker(200*time.Millisecond)
	defer tick.Stop()
	bar := a.progress("", int64(stats().Leased))
	defer bar.end()
	for {
		left := int64(stats().Leased)
		if bar.total = max(bar.total, left); bar.total == 0 {
			return
		}
		bar.label = fmt.Sprintf("draining, %d under way, %s at most", left, age(max(limit-time.Since(began), 0)))
		bar.set(bar.total - left)
		select {
		case <-tick.C:
		case <-ended:
			return
		}
	}
}

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init DIR", Short: "Write a commented configuration and a shadow post office", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := writeSite(args[0], embeddedSite)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "wrote %s; edit it, then: backbone config check %s && backbone serve --config %s\n", p, p, p)
			return err
		},
	}
}

// writeSite makes a site's folder: its configuration, if there is none yet, and everything that the configuration
// refers to. It returns the configuration's path.
func writeSite(dir string, d siteTemplate) (string, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	p := filepath.Join(dir, "backbone.toml")
	if d.File != "" {
		p = filepath.Join(dir, d.File)
	}
	text, err := d.render()
	if err != nil {
		return "", err
	}
	if err := writeNew(p, text, 0o640); err != nil && !os.IsExist(err) {
		return "", err
	}
	return p, d.prepare(dir)
}
