package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"backbone/gateway/control"
	"backbone/gateway/mail"
	"backbone/gateway/tracking"

	"github.com/spf13/cobra"
)

// trackFlags is the one filter over the tracking log.
type trackFlags struct {
	f            tracking.Filter
	types        []string
	class        string
	since, until string
}

func (t *trackFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&t.f.Sender, "from", "", "originator, TYPE:value or part of it with * and %; <> for reports")
	fl.StringVar(&t.f.Recipient, "to", "", "a recipient, likewise")
	fl.StringVar(&t.f.Subject, "subject", "", "part of the subject, or its hash")
	fl.StringVar(&t.f.Connector, "connector", "", "connector name")
	fl.StringSliceVar(&t.types, "type", nil, "received, queued, attempt, delivered, relayed, deferred, failed, ... (repeatable)")
	fl.StringVar(&t.class, "class", "", "class of a failure: transient, permanent, policy, local")
	fl.StringVar(&t.since, "since", "", "not before: 2026-01-31 18:00, or 2h ago: -2h")
	fl.StringVar(&t.until, "until", "", "before, likewise")
}

// filter checks what was given; any tells whether something was.
func (t *trackFlags) filter() (f tracking.Filter, any bool, err error) {
	f = t.f
	f.Class = mail.Class(t.class)
	for _, s := range t.types {
		f.Types = append(f.Types, tracking.Type(s))
	}
	for _, at := range []struct {
		text, flag string
		into       *time.Time
	}{{t.since, "since", &f.From}, {t.until, "until", &f.To}} {
		if at.text == "" {
			continue
		}
		if *at.into, err = parseTime(at.text); err != nil {
			return f, false, fmt.Errorf("--%s: %w", at.flag, err)
		}
	}
	return f, f.Sender != "" || f.Recipient != "" || f.Subject != "" || f.Connector != "" || f.Class != "" || len(f.Types) > 0 || !f.From.IsZero() || !f.To.IsZero(), nil
}

func (a *app) traceCommand() *cobra.Command {
	var t trackFlags
	var local, exchange bool
	limit := 100
	c := &cobra.Command{
		Use: "trace [ID|MESSAGE-ID|FILE]", Short: "Print everything that happened to a message, here and at the sites it went on to", Args: cobra.MaximumNArgs(1),
		Long: "Print everything that happened to a message, in order, by any of its names: message id, Message-ID, queue id, drop file.\n" +
			"Where gateways share a queue, any of them tells what happened at all of them, and which of them wrote what.\n" +
			"Sites that it was handed over to are asked over their site links; when one does not answer, or the database that gateways share, the exit code is 3.\n\n" +
			"Without a name, list the messages that the filter selects, one line each; --type looks at other events than their arrival.",
		Example: "  backbone trace SITEA-01J9Z3K6T2C7V5X1N8QW\n  backbone trace --from '*@elsewhere.example' --since -2h\n  backbone trace --exchange --since 2026-01-31 > 20260131.log",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, any, err := t.filter()
			if err != nil {
				return err
			}
			if len(args) == 1 && any {
				return errors.New("give a message or a filter, not both")
			}
			return a.with(func(c *control.Client) error {
				switch {
				case exchange:
					if len(args) == 1 {
						f.ID = strings.Trim(args[0], "<>")
					}
					err := c.Text(cmd.Context(), "/v1/tracking/exchange", control.TrackingQuery(f), a.out)
					if lacks, is := errors.AsType[control.Partly](err); is {
						return notAll(lacks)
					}
					return err
				case len(args) == 0:
					return a.search(cmd.Context(), c, f, limit)
				case local:
					return a.timeline(cmd.Context(), c, "/v1/trace", args[0])
				}
				return a.timeline(cmd.Context(), c, "/v1/timeline", args[0])
			})
		},
	}
	t.add(c)
	c.Flags().IntVar(&limit, "limit", limit, "at most this many lines of a search (0: all)")
	c.Flags().BoolVar(&local, "local", false, "ask no other site")
	c.Flags().BoolVar(&exchange, "exchange", false, "as Exchange's tracking log had it: TAB-separated, with its event numbers")
	return c
}

// timeline prints what all sites know, or this one.
func (a *app) timeline(ctx context.Context, c *control.Client, path, key string) error {
	var t control.Timeline
	if err := c.Get(ctx, path, url.Values{"key": {strings.Trim(key, "<>")}}, &t); err != nil {
		return err
	}
	if err := a.printEvents(t.Events); err != nil {
		return err
	}
	return notAll(t.Missing)
}

// notAll is the end of a command whose answer lacks something.
func notAll(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	return partly{printable("not everybody answered: " + strings.Join(missing, "; "))}
}

// printEvents prints events, with the gateway that wrote each where there was more than one.
func (a *app) printEvents(es []tracking.Event) error {
	if len(es) == 0 {
		return errNothing
	}
	several := tracking.SeveralNodes(es)
	for _, e := range es {
		shown := e
		if !several {
			shown.Node = ""
		}
		if err := a.printEvent(shown, e); err != nil {
			return err
		}
	}
	return nil
}

// printEvent prints e, or with --json whole.
func (a *app) printEvent(e tracking.Event, whole any) error {
	if a.json {
		return a.printJSON(whole)
	}
	_, err := fmt.Fprint(a.out, printLines(e.String()))
	return err
}

// search lists what the filter selects: by default the messages, as they arrived.
func (a *app) search(ctx context.Context, c *control.Client, f tracking.Filter, limit int) error {
	if len(f.Types) == 0 {
		f.Types = []tracking.Type{tracking.Received}
	}
	q, n := control.TrackingQuery(f), 0
	var rows [][]string // the gateway's name first
	var missing []string
	for {
		size := 1000
		if limit > 0 {
			size = min(size, limit-n)
		}
		q.Set("limit", strconv.Itoa(size))
		var p control.Page[tracking.Event]
		if err := c.Get(ctx, "/v1/tracking", q, &p); err != nil {
			return err
		}
		missing = p.Missing
		for _, e := range p.Items {
			n++
			if a.json {
				if err := a.printJSON(e); err != nil {
					return err
				}
				continue
			}
			to := strings.Join(e.Recipients[:min(1, len(e.Recipients))], "")
			if more := len(e.Recipients) - 1; more > 0 {
				to += fmt.Sprintf(" +%d", more)
			}
			rows = append(rows, []string{e.Node, e.Time.Local().Format(time.DateTime), string(e.Type), e.ID, e.Originator, to, cut(e.Subject, 60)})
		}
		if p.Next == "" || limit > 0 && n >= limit {
			break
		}
		q.Set("after", p.Next)
	}
	if n == 0 && len(missing) == 0 {
		return errNothing
	}
	if len(rows) > 0 {
		if err := a.printSearch(rows); err != nil {
			return err
		}
	}
	return notAll(missing)
}

// printSearch prints rows, with the gateways' names where there is more than one.
func (a *app) printSearch(rows [][]string) error {
	head := []string{"NODE", "TIME", "EVENT", "ID", "FROM", "TO", "SUBJECT"}
	from := 1
	if slices.ContainsFunc(rows, func(r []string) bool { return r[0] != rows[0][0] }) {
		from = 0
	}
	t := a.table(head[from:]...)
	for _, r := range rows {
		t.row(r[from:]...)
	}
	return t.flush()
}

// printLines makes text of several lines harmless on a terminal.
func printLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n") + "\n"
}
