package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"unicode"

	"backbone/gateway/config"
	"backbone/gateway/control"
	"backbone/gateway/tracking"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
)

// findConfig is the configuration that a command works on: the flag, the environment, the usual places.
func (a *app) findConfig() string {
	if a.configPath != "" {
		return a.configPath
	}
	if p := os.Getenv("BACKBONE_CONFIG"); p != "" {
		return p
	}
	for _, p := range []string{"backbone.toml", "/etc/backbone/backbone.toml"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

var errNoConfig = errors.New("no configuration found: say which with --config, or make one with `backbone init DIR`")

// load reads the configuration; without one, that of the running demo, then the embedded default.
func (a *app) load() (*config.Config, error) {
	if p := a.findConfig(); p != "" {
		return config.Load(p, kinds)
	}
	if _, p, ok := runningDemo(); ok {
		return config.Load(p, kinds)
	}
	p := filepath.Join(embeddedDir, "backbone.toml")
	if _, err := os.Stat(p); err != nil {
		return nil, errNoConfig
	}
	return config.Load(p, kinds)
}

// client is the API of the daemon, or with --offline of the store's own files. close ends it.
func (a *app) client() (c *control.Client, close func() error, err error) {
	none := func() error { return nil }
	if a.offline {
		cfg, err := a.load()
		if err != nil {
			return nil, nil, err
		}
		s, err := openSite(cfg, slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn})), false)
		if err != nil {
			return nil, nil, fmt.Errorf("%w; is the daemon running? then leave --offline away", err)
		}
		c, stop := control.Local(s.service)
		return c, func() error { return errors.Join(stop(), s.close()) }, nil
	}
	if a.findConfig() == "" {
		if p, _, ok := runningDemo(); ok {
			return control.Dial(p), none, nil
		}
	}
	cfg, err := a.load()
	if errors.Is(err, errNoConfig) {
		return nil, nil, fmt.Errorf("%w: no configuration found here, and no demo runs", control.ErrNoDaemon)
	}
	if err != nil {
		return nil, nil, err
	}
	return control.Dial(cfg.Control.Socket), none, nil
}

// with runs do with a client and closes it.
func (a *app) with(do func(*control.Client) error) error {
	c, stop, err := a.client()
	if err != nil {
		return err
	}
	return errors.Join(do(c), stop())
}

// me is who an audit line names.
func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// printJSON writes one object on one line.
func (a *app) printJSON(v any) error { return control.WriteJSON(a.out, v) }

// table is an aligned table on stdout, its head bold where colours may be.
func (a *app) table(head ...string) *table {
	t := &table{a: a, out: a.out, paints: map[int]string{0: bold}}
	t.w = tabwriter.NewWriter(&t.text, 0, 8, 2, ' ', 0)
	t.row(head...)
	return t
}

type table struct {
	a      *app
	out    io.Writer
	w      *tabwriter.Writer
	text   bytes.Buffer
	rows   int
	paints map[int]string // colour by row, since the last flush
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		if i > 0 {
			io.WriteString(t.w, "\t") //nolint:errcheck // tabwriter keeps the error for Flush
		}
		io.WriteString(t.w, printable(c)) //nolint:errcheck // as above
	}
	io.WriteString(t.w, "\n") //nolint:errcheck // as above
	t.rows++
}

// painted is row in a colour; "" is none.
func (t *table) painted(colour string, cells ...string) {
	if colour != "" {
		t.paints[t.rows] = colour
	}
	t.row(cells...)
}

func (t *table) flush() error {
	if err := t.w.Flush(); err != nil {
		return err
	}
	text := t.text.String()
	if t.a.colours() {
		lines := strings.SplitAfter(text, "\n")
		for i, colour := range t.paints {
			line := strings.TrimRight(lines[i], "\n")
			lines[i] = t.a.paint(colour, line) + lines[i][len(line):]
		}
		text = strings.Join(lines, "")
	}
	t.text.Reset()
	t.rows = 0
	clear(t.paints)
	_, err := io.WriteString(t.out, text)
	return err
}

// printable makes text from a stranger harmless on a terminal: what does not print is shown as its escape.
func printable(s string) string { return tracking.Plain(s) }

// octets is where raw content goes: as it is into a file or a pipe; on a terminal what does not print is shown as a mark. Close
// ends it.
func (a *app) octets() io.WriteCloser { return octets(a.out, a.onTerminal()) }

func octets(out io.Writer, terminal bool) io.WriteCloser {
	if !terminal {
		return transform.NewWriter(out, transform.Nop)
	}
	return transform.NewWriter(out, transform.Chain(
		runes.Remove(runes.Predicate(func(r rune) bool { return r == '\r' })),
		runes.Map(func(r rune) rune {
			if r == '\n' || r == '\t' || unicode.IsPrint(r) {
				return r
			}
			return unicode.ReplacementChar
		})))
}

// changed prints what a changing verb did.
func (a *app) changed(verb string, c control.Changed, what string) error {
	if a.json {
		if err := a.printJSON(c); err != nil {
			return err
		}
	} else {
		form := "%s: %d %s\n"
		if c.DryRun {
			form = "%s would change: %d %s\n"
		}
		if _, err := fmt.Fprintf(a.out, form, verb, c.Changed, printable(what)); err != nil {
			return err
		}
	}
	if c.Changed == 0 {
		return errNothing
	}
	return nil
}
