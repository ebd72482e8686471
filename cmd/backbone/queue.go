package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/control"
	"backbone/gateway/mail"
	"backbone/queue"

	"github.com/spf13/cobra"
)

// filterFlags is the one filter that every queue verb has.
type filterFlags struct {
	ids                                     []string
	connector, dest, from, to, state, class string
	older, newer                            string
	larger                                  int64
	limit                                   int
	all                                     bool
}

// add gives a command the filter; limit is how many entries it takes when nobody says (0: all).
func (f *filterFlags) add(c *cobra.Command, limit int) {
	fl := c.Flags()
	fl.IntVar(&f.limit, "limit", limit, "at most this many entries, the oldest first (0: all)")
	fl.StringSliceVar(&f.ids, "id", nil, "queue id (repeatable; ids may also be arguments)")
	fl.StringVar(&f.connector, "connector", "", "connector name")
	fl.StringVar(&f.dest, "dest", "", "destination: host or connector:host, * any run, % one character")
	fl.StringVar(&f.from, "from", "", "originator, TYPE:value or part of it with * and %")
	fl.StringVar(&f.to, "to", "", "a recipient, likewise")
	fl.StringVar(&f.state, "state", "", "ready, leased, held or trash")
	fl.StringVar(&f.older, "older", "", "in the queue for longer than: 90s, 15m, 4h, 7d")
	fl.StringVar(&f.newer, "newer", "", "in the queue for less than")
	fl.Int64Var(&f.larger, "larger", 0, "content larger than this many octets")
	fl.StringVar(&f.class, "class", "", "class of the last failure: transient, permanent, policy, local")
}

// filter is the queue's filter; args are more ids.
func (f *filterFlags) filter(args []string) (queue.Filter, error) {
	out := queue.Filter{Connector: f.connector, Host: f.dest, From: f.from, To: f.to, Larger: f.larger}
	if c, h, ok := strings.Cut(f.dest, ":"); ok && f.connector == "" {
		out.Connector, out.Host = c, h
	}
	for _, id := range append(append([]string(nil), f.ids...), args...) {
		n, err := queue.ParseID(id)
		if err != nil {
			return out, err
		}
		out.IDs = append(out.IDs, n)
	}
	switch s := queue.State(f.state); s {
	case "", queue.Ready, queue.Leased, queue.Held, queue.Trash:
		out.State = s
	default:
		return out, fmt.Errorf("--state %q: write ready, leased, held or trash", f.state)
	}
	switch c := mail.Class(f.class); c {
	case "", mail.Transient, mail.Permanent, mail.Policy, mail.Local:
		out.Class = c
	default:
		return out, fmt.Errorf("--class %q: write transient, permanent, policy or local", f.class)
	}
	for _, d := range []struct {
		text, flag string
		into       *time.Duration
	}{{f.older, "older", &out.Older}, {f.newer, "newer", &out.Newer}} {
		if d.text == "" {
			continue
		}
		var v connectors.Duration
		if err := v.UnmarshalText([]byte(d.text)); err != nil {
			return out, fmt.Errorf("--%s: %w", d.flag, err)
		}
		*d.into = v.D()
	}
	return out, nil
}

func isZero(f queue.Filter) bool {
	return len(f.IDs) == 0 && f.Connector == "" && f.Host == "" && f.From == "" && f.To == "" && f.State == "" && f.Older == 0 && f.Newer == 0 && f.Larger == 0 && f.Class == ""
}

func (a *app) queueCommand() *cobra.Command {
	c := &cobra.Command{Use: "queue", Short: "See and steer waiting mail"}
	c.AddCommand(a.queueList(), a.queueShow(), a.queueRaw(), a.queueLog(), a.queueStats(), a.queueWatch(), a.queueCheck(), a.queueSalvage(), a.queueExport(), a.queueImport())
	for _, v := range []struct{ name, short string }{
		{"hold", "Hold entries until they are released"},
		{"release", "Release held entries; they are tried at once"},
		{"retry", "Try entries now, whatever they wait for"},
		{"schedule", "Try entries at a given time"},
		{"reroute", "Choose the way of entries anew, or send them by a given connector"},
		{"bounce", "Give entries back to their originators with a non-delivery report"},
		{"delete", "Move entries to the trash, without any report"},
		{"restore", "Bring entries back from the trash"},
		{"purge", "Remove entries from the trash for good"},
	} {
		c.AddCommand(a.queueVerb(v.name, v.short))
	}
	return c
}

func (a *app) queueVerb(verb, short string) *cobra.Command {
	var f filterFlags
	var req control.ChangeRequest
	var at string
	c := &cobra.Command{
		Use: verb + " [ID...]", Short: short,
		Long: short + ".\n\nEntries are chosen by id or by filter; set filters must all match. To choose every entry say --all.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.Filter, err = f.filter(args); err != nil {
				return err
			}
			if req.Limit = f.limit; req.Limit < 0 {
				return fmt.Errorf("--limit %d: it can't be negative", req.Limit)
			}
			if isZero(req.Filter) && !f.all {
				return fmt.Errorf("which entries? Give ids or a filter, or --all for every entry")
			}
			if verb == "schedule" {
				if req.At, err = parseTime(at); err != nil {
					return err
				}
			}
			req.By = me()
			return a.with(func(c *control.Client) error {
				var out control.Changed
				if err := c.Post(cmd.Context(), control.Path("v1", "queue", verb), req, &out); err != nil {
					return err
				}
				what := "entries"
				if out.Changed == 1 {
					what = "entry"
				}
				return a.changed(verb, out, what)
			})
		},
	}
	f.add(c, 0)
	c.Flags().BoolVar(&f.all, "all", false, "every entry that the other filters leave")
	c.Flags().BoolVar(&req.DryRun, "dry-run", false, "only count what would change")
	c.Flags().StringVar(&req.Reason, "reason", "", "why; kept with the entry and on its timeline")
	switch verb {
	case "schedule":
		c.Flags().StringVar(&at, "at", "", "when: 2026-01-31T18:00:00Z, or from now: +2h")
	case "reroute":
		c.Flags().StringVar(&req.Connector, "via", "", "send by this connector instead of the best one")
	}
	return c
}

// parseTime reads a moment, a time from now with "+", or one ago with "-".
func parseTime(s string) (time.Time, error) {
	for sign, direction := range map[string]time.Duration{"+": 1, "-": -1} {
		if rest, ok := strings.CutPrefix(s, sign); ok {
			var d connectors.Duration
			if err := d.UnmarshalText([]byte(rest)); err != nil {
				return time.Time{}, err
			}
			return time.Now().Add(direction * d.D()), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2026-01-31T18:00:00Z, 2026-01-31 18:00, or +2h", s)
}

func (a *app) queueList() *cobra.Command {
	var f filterFlags
	c := &cobra.Command{
		Use: "list", Short: "List waiting mail", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			flt, err := f.filter(args)
			if err != nil {
				return err
			}
			return a.with(func(c *control.Client) error { return a.listQueue(cmd.Context(), c, flt, f.limit) })
		},
	}
	f.add(c, 0)
	return c
}

func (a *app) listQueue(ctx context.Context, c *control.Client, f queue.Filter, limit int) error {
	n := 0
	if a.json {
		some, err := c.QueueLines(ctx, f, limit, a.out)
		if err == nil && !some && !isZero(f) {
			err = errNothing
		}
		return err
	}
	end := a.page()
	t := a.table("ID", "AGE", "SIZE", "STATE", "TRIES", "DEST", "FROM", "TO", "LAST")
	now := time.Now()
	err := c.QueueRows(ctx, f, limit, func(r control.QueueRow) error {
		to := r.To
		if r.Recipients > 1 {
			to += fmt.Sprintf(" +%d", r.Recipients-1)
		}
		t.painted(rowColour(r), r.ID, age(now.Sub(r.Arrived)), size(r.Size), stateText(r.State, r.Next, r.Reason, r.Owner, now), strconv.Itoa(r.Attempts), r.Dest, r.From, to, cut(r.Last, 60))
		if n++; n%500 > 0 {
			return nil
		}
		if a.readerLeft() {
			return errReaderLeft
		}
		return t.flush()
	})
	if errors.Is(err, errReaderLeft) {
		return end()
	}
	if err == nil && n > 0 {
		err = t.flush()
	}
	if perr := end(); perr != nil || err != nil {
		return errors.Join(err, perr)
	}
	if n == 0 {
		if isZero(f) {
			_, err := fmt.Fprintln(a.out, "the queue is empty")
			return err
		}
		return errNothing
	}
	return nil
}

// rowColour is an entry's colour: what moves or waits for its first attempt has none.
func rowColour(r control.QueueRow) string {
	switch {
	case r.State == queue.Held:
		return red
	case r.State == queue.Ready && r.Failed:
		return yellow
	}
	return ""
}

func stateText(state queue.State, next time.Time, reason, owner string, now time.Time) string {
	switch {
	case state == queue.Ready && next.After(now):
		return "ready in " + age(next.Sub(now))
	case state == queue.Held && reason != "":
		return "held: " + cut(reason, 40)
	case state == queue.Leased:
		node, _, _ := strings.Cut(owner, "/")
		return "leased by " + node
	}
	return string(state)
}

func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// age is a time in its two largest units: 3d4h, 12m5s.
func age(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

func size(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%dB", n)
	case n < 10<<20:
		return fmt.Sprintf("%dK", n>>10)
	}
	return fmt.Sprintf("%dM", n>>20)
}

func (a *app) queueShow() *cobra.Command {
	shown := 0
	return a.queueEach("show [ID...]", "Show entries: envelope, recipients, state, last failure", func(_ context.Context, _ *control.Client, it queue.Item) error {
		if a.json {
			return a.printJSON(it)
		}
		if shown++; shown > 1 {
			fmt.Fprintln(a.out)
		}
		return a.showItem(it)
	})
}

// queueEach is a command that reads the entries which ids or a filter choose, the oldest first. An id that is not there is an error.
func (a *app) queueEach(use, short string, each func(context.Context, *control.Client, queue.Item) error) *cobra.Command {
	var f filterFlags
	c := &cobra.Command{
		Use: use, Short: short, Long: short + ".\n\nEntries are chosen by id or by filter; set filters must all match.",
		RunE: func(cmd *cobra.Command, args []string) error {
			flt, err := f.filter(args)
			if err != nil {
				return err
			}
			if isZero(flt) && !cmd.Flags().Changed("limit") {
				return fmt.Errorf("which entries? Give ids, a filter, or --limit")
			}
			return a.with(func(c *control.Client) error {
				if len(args) == 1 && len(flt.IDs) == 1 {
					var it queue.Item
					if err := c.Get(cmd.Context(), control.Path("v1", "queue", args[0]), nil, &it); err != nil {
						return err
					}
				}
				n := 0
				err := c.Queue(cmd.Context(), flt, f.limit, func(it queue.Item) error { n++; return each(cmd.Context(), c, it) })
				switch {
				case err != nil:
					return err
				case n == 0:
					return errNothing
				case f.limit == 0 && n < len(flt.IDs):
					return partly{fmt.Sprintf("%d of %d entries are there", n, len(flt.IDs))}
				}
				return nil
			})
		},
	}
	f.add(c, 0)
	return c
}

func (a *app) showItem(it queue.Item) error {
	now := time.Now()
	t := a.table("Entry", it.ID.String())
	e := it.Envelope
	line := func(k, v string) {
		if v != "" {
			t.row(k, v)
		}
	}
	line("Message", e.ID)
	line("Message-ID", e.MessageID)
	line("Kind", string(e.Kind))
	line("From", strings.TrimSpace(e.Name+" "+e.Originator.String()))
	for _, r := range e.Recipients {
		line("To", strings.TrimSpace(r.Name+" "+r.Address.String()))
	}
	line("Subject", e.Subject)
	line("Priority", e.Priority.String())
	line("Arrived", e.Arrived.Local().Format(time.DateTime)+" ("+age(now.Sub(e.Arrived))+" ago) by "+e.Source.Connector+" from "+e.Source.Peer+" "+e.Source.Detail)
	line("Content", fmt.Sprintf("%d octets, sha256 %s, %s", it.Body.Size, cut(it.Body.SHA256, 17), it.Body.Where))
	line("Destination", it.Dest.String())
	line("State", stateText(it.State, it.Next, it.Reason, it.LeaseOwner, now))
	line("Attempts", fmt.Sprint(it.Attempts))
	if it.State == queue.Ready {
		line("Next attempt", it.Next.Local().Format(time.DateTime))
	}
	line("Expires", it.Expires.Local().Format(time.DateTime))
	if it.Last != nil {
		line("Last failure", string(it.Last.Class)+": "+it.Last.Error())
		line("Peer said", it.Last.Peer)
	}
	if it.Unknown {
		line("Note", "an earlier attempt ended without a known outcome")
	}
	line("Reason", it.Reason)
	line("By", it.By)
	for _, h := range e.Trace {
		line("Hop", h.Site+" "+h.Via+" "+h.At.UTC().Format(time.RFC3339))
	}
	return t.flush()
}

func (a *app) queueRaw() *cobra.Command {
	return a.queueEach("raw [ID...]", "Print an entry's content as it is stored; on a terminal, what does not print as a mark", func(ctx context.Context, c *control.Client, it queue.Item) error {
		if a.json {
			var b bytes.Buffer
			if err := c.Text(ctx, control.Path("v1", "queue", it.ID.String(), "raw"), url.Values{"by": {me()}}, &b); err != nil {
				return err
			}
			return a.printJSON(struct {
				ID    queue.ID `json:"id"`
				Bytes []byte   `json:"bytes"`
			}{it.ID, b.Bytes()})
		}
		out := a.octets()
		return errors.Join(c.Text(ctx, control.Path("v1", "queue", it.ID.String(), "raw"), url.Values{"by": {me()}}, out), out.Close())
	})
}

func (a *app) queueLog() *cobra.Command {
	var f filterFlags
	c := &cobra.Command{Use: "log [ID...]", Short: "Print what has happened to entries", RunE: func(cmd *cobra.Command, args []string) error {
		return a.with(func(c *control.Client) error {
			if len(args) == 1 { // it may have left the queue long ago
				return a.timeline(cmd.Context(), c, "/v1/trace", args[0])
			}
			flt, err := f.filter(args)
			if err != nil {
				return err
			}
			if isZero(flt) && !cmd.Flags().Changed("limit") {
				return fmt.Errorf("which entries? Give ids, a filter, or --limit")
			}
			n := 0
			var lacks error
			err = c.Queue(cmd.Context(), flt, f.limit, func(it queue.Item) error {
				n++
				err := a.timeline(cmd.Context(), c, "/v1/trace", it.ID.String())
				if p, is := errors.AsType[partly](err); is {
					lacks, err = p, nil
				}
				return err
			})
			if err == nil && n == 0 {
				err = errNothing
			}
			return errors.Join(err, lacks)
		})
	}}
	f.add(c, 0)
	return c
}

func (a *app) queueWatch() *cobra.Command {
	var every time.Duration
	var f filterFlags
	c := &cobra.Command{Use: "watch", Short: "List waiting mail again and again until Ctrl-C", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		flt, err := f.filter(nil)
		if err != nil {
			return err
		}
		return a.with(func(c *control.Client) error {
			return a.repeat(cmd.Context(), every, func() error { return a.listQueue(cmd.Context(), c, flt, f.limit) })
		})
	}}
	f.add(c, 50)
	c.Flags().DurationVar(&every, "every", 2*time.Second, "time between listings")
	return c
}
