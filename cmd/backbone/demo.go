package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/config"
	"backbone/gateway/directory"
	"backbone/gateway/tracking"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

var (
	demoA = siteTemplate{
		File: "sitea.toml", Name: "SITEA", Domain: "sitea.example", PO: "NET/PO1", Data: "sitea-data", Control: "127.0.0.1:8025", SMTP: "127.0.0.1:2525", X400: "127.0.0.1:1102", Link: "127.0.0.1:4025",
		Peer: &peerTemplate{Name: "SITEB", Domain: "siteb.example", PO: "NET/PO2", SMTP: "127.0.0.1:2526", X400: "127.0.0.1:1103", Link: "127.0.0.1:4026"},
	}
	demoB = siteTemplate{
		File: "siteb.toml", Name: "SITEB", Domain: "siteb.example", PO: "NET/PO2", Data: "siteb-data", Control: "127.0.0.1:8026", SMTP: "127.0.0.1:2526", X400: "127.0.0.1:1103", Link: "127.0.0.1:4026",
		Peer: &peerTemplate{Name: "SITEA", Domain: "sitea.example", PO: "NET/PO1", SMTP: "127.0.0.1:2525", X400: "127.0.0.1:1102", Link: "127.0.0.1:4025"},
	}
)

// demoPointer is where a running demo leaves the names of Site A's control socket and configuration, a line each.
func demoPointer() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("backbone-demo-%d", os.Getuid()))
}

// runningDemo is the running demo's control socket and configuration. The pointer is believed only when it is this user's own
// file.
func runningDemo() (socket, cfg string, ok bool) {
	st, err := os.Lstat(demoPointer())
	if err != nil || !st.Mode().IsRegular() || !ownFile(st) {
		return "", "", false
	}
	b, err := os.ReadFile(demoPointer())
	if err != nil {
		return "", "", false
	}
	socket, cfg, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	_, err = os.Stat(socket)
	return socket, cfg, err == nil
}

func (a *app) demoCommand() *cobra.Command {
	var dir string
	var once bool
	c := &cobra.Command{
		Use: "demo", Short: "Show the whole backbone on this machine: PO1, Site A, X.400, Site B, PO2", Args: cobra.NoArgs,
		Long: "Run two sites on this machine, send a message from post office PO1 to PO2 and a reply back, and print each hop.\n" +
			"Then it stays up: drop files, use swaks, look around with the other commands, until Ctrl-C.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), dir, once) },
	}
	c.Flags().StringVar(&dir, "dir", "backbone-demo", "folder for the two sites' configurations, post offices and data")
	c.Flags().BoolVar(&once, "once", false, "end after the round trip")
	return c
}

func (a *app) demo(ctx context.Context, dir string, once bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	logPath := filepath.Join(dir, "demo.log")
	var sites []*site
	var configs []string
	for _, d := range []siteTemplate{demoA, demoB} { // both first: each knows the other's certificate
		p, err := writeSite(dir, d)
		if err != nil {
			return err
		}
		configs = append(configs, p)
	}
	for _, p := range configs {
		cfg, err := config.Load(p, kinds)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return err
		}
		defer f.Close()
		s, err := openSite(cfg, newLog(cfg.Log, f).With("site", cfg.Site.Name), true)
		if err != nil {
			for _, open := range sites {
				err = errors.Join(err, open.close())
			}
			return err
		}
		sites = append(sites, s)
		if err := demoPeople(s); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(ctx)
	up := make(chan struct{}, len(sites))
	for _, s := range sites {
		g.Go(func() error { return s.serve(gctx, func() { up <- struct{}{} }) })
	}
	g.Go(func() error {
		defer stop()
		for range sites {
			select {
			case <-up:
			case <-gctx.Done():
				return nil
			}
		}
		if err := a.demoRoundTrip(gctx, dir, sites); err != nil || once {
			return err
		}
		if err := writePointer(sites[0].cfg.Control.Socket, sites[0].cfg.Path); err != nil {
			return err
		}
		a.demoHints(dir)
		<-gctx.Done()
		return os.Remove(demoPointer())
	})
	return g.Wait()
}

func writePointer(socket, cfg string) error {
	tmp, err := os.CreateTemp(os.TempDir(), "backbone-demo-*")
	if err != nil {
		return err
	}
	_, werr := fmt.Fprintf(tmp, "%s\n%s\n", socket, cfg)
	return errors.Join(werr, tmp.Close(), os.Rename(tmp.Name(), demoPointer()))
}

// demoPeople tells each site of the two users, with their SMTP proxies.
func demoPeople(s *site) error {
	for _, p := range []struct{ name, display, target, smtp string }{
		{"ASMITH", "Alex Smith", "MS:NET/PO1/ASMITH", "SMTP:asmith@sitea.example"},
		{"MKUMAR", "Mira Kumar", "MS:NET/PO2/MKUMAR", "SMTP:mkumar@siteb.example"},
	} {
		if _, err := s.dir.Get(p.name); err == nil {
			continue
		}
		target, err := address.Parse(p.target)
		if err != nil {
			return err
		}
		proxy, err := address.Parse(p.smtp)
		if err != nil {
			return err
		}
		if _, err := s.dir.Add(directory.Entry{Name: p.name, Display: p.display, Alias: p.name, Target: target, Proxies: []address.Address{proxy}}); err != nil {
			return fmt.Errorf("custom recipient %s: %w", p.name, err)
		}
	}
	return nil
}

func (a *app) demoRoundTrip(ctx context.Context, dir string, sites []*site) error {
	fmt.Fprintf(a.out, "Two sites are up in %s\n\n    PO1 ── drop ──> Site A ── X.400 P1 ──> Site B ── drop ──> PO2\n\n", dir)
	stamp := time.Now().Format("150405.000")
	there := demoMail{from: "NET/PO1/ASMITH", to: "NET/PO2/MKUMAR", subject: "Stock counts " + stamp, text: "Hello Mira,\r\ncounts are attached.\r\nAlex\r\n", file: "THERE.MSG"}
	back := demoMail{from: "NET/PO2/MKUMAR", to: "NET/PO1/ASMITH", subject: "Re: Stock counts " + stamp, text: "Thanks, Alex.\r\nMira\r\n", file: "BACK.MSG"}
	for _, leg := range []struct {
		m        demoMail
		src, dst string
		order    []*site
	}{
		{there, "NET.PO1", "NET.PO2", []*site{sites[0], sites[1]}},
		{back, "NET.PO2", "NET.PO1", []*site{sites[1], sites[0]}},
	} {
		if err := a.demoLeg(ctx, dir, leg.m, leg.src, leg.dst, leg.order); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(a.out, "The message went there and the reply came back.")
	return err
}

type demoMail struct{ from, to, subject, text, file string }

func (m demoMail) mmff() string {
	attach := "bin 1: 40\r\nbin 2: 12\r\n"
	return fmt.Sprintf("VERSION:3.00\r\nTO:CSI:%s\r\nFROM:CSI:%s\r\nDATE:%s\r\nTIME:%s\r\nSUBJECT:%s\r\nPRIORITY:3\r\nATTACHMENT:COUNTS.TXT %d\r\nTEXT:%d\r\n%s%s",
		m.to, m.from, time.Now().Format(time.DateOnly), time.Now().Format("15:04"), m.subject, len(attach), len(m.text), m.text, attach)
}

func (a *app) demoLeg(ctx context.Context, dir string, m demoMail, src, dst string, order []*site) error {
	tmp := filepath.Join(dir, src, "submit", strings.TrimSuffix(m.file, ".MSG")+".WRT")
	if err := os.WriteFile(tmp, []byte(m.mmff()), 0o640); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, src, "submit", m.file)); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s drops submit/%s: %s -> %s, %q\n", src, m.file, m.from, m.to, m.subject)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	name, err := waitForDrop(ctx, filepath.Join(dir, dst, "deliver"), m.subject)
	if err != nil {
		return fmt.Errorf("the message did not arrive at %s: %w; see %s", dst, err, filepath.Join(dir, "demo.log"))
	}
	id := ""
	for _, s := range order {
		es, err := demoTrace(ctx, s, m, id)
		if err != nil {
			return err
		}
		for _, e := range es {
			id = e.ID
			fmt.Fprintf(a.out, "  %s", printLines(e.String()))
		}
	}
	_, err = fmt.Fprintf(a.out, "%s finds deliver/%s\n\n", dst, name)
	return err
}

// demoTrace is the message's timeline at one site, complete once its last line is a delivery.
func demoTrace(ctx context.Context, s *site, m demoMail, id string) ([]tracking.Event, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		key := id
		if key == "" {
			page, _, err := s.track.Search(ctx, tracking.Filter{Subject: m.subject, Sender: "MS:" + m.from}, "", 1)
			if err != nil {
				return nil, err
			}
			if len(page) > 0 {
				key = page[0].ID
			}
		}
		if key != "" {
			es, err := s.track.Trace(ctx, key)
			if err != nil && !errors.Is(err, tracking.ErrNotFound) {
				return nil, err
			}
			if n := len(es); n > 0 && (es[n-1].Type == tracking.Delivered || es[n-1].Type == tracking.Relayed) {
				return es, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("no complete timeline at %s: %w", s.cfg.Site.Name, ctx.Err())
		}
	}
}

// waitForDrop waits until a delivered file holds the subject.
func waitForDrop(ctx context.Context, dir, subject string) (string, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		names, err := filepath.Glob(filepath.Join(dir, "*.MSG"))
		if err != nil {
			return "", err
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err == nil && strings.Contains(string(b), subject) {
				return filepath.Base(n), nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (a *app) demoHints(dir string) {
	fmt.Fprintf(a.out, `Both sites stay up until Ctrl-C. Dashboards: http://127.0.0.1:8025/ (Site A) and http://127.0.0.1:8026/ (Site B).
Try in another terminal:

    swaks --server 127.0.0.1:2525 --from you@elsewhere.example --to mkumar@siteb.example
    swaks --server 127.0.0.1:2525 --from you@elsewhere.example --to IMCEAMS-NET_PO2_JLEE@sitea.example
    ls %[1]s/NET.PO2/deliver
    backbone status
    backbone route explain MS:NET/PO2/MKUMAR
    backbone probe MS:NET/PO2/MKUMAR                          # an X.400 probe, and Site B's report on it
    backbone connector suspend x400 --reason 'line works'     # mail takes the dearer way, SMTP
    backbone queue list
    backbone trace THERE.MSG                                  # one timeline, both sites

`, dir)
}
