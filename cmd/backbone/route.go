package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"backbone/gateway"
	"backbone/gateway/control"
	"backbone/gateway/routing"

	"github.com/spf13/cobra"
)

func (a *app) routeCommand() *cobra.Command {
	c := &cobra.Command{Use: "route", Short: "Explain routes and print the routing table"}
	explain := &cobra.Command{
		Use: "explain ADDRESS", Short: "Show where mail for an address goes now, and why each other way lost", Args: cobra.ExactArgs(1),
		Example: "  backbone route explain MS:NORTHWIND/PO2/MKUMAR\n  backbone route explain mira@northwind.example",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(func(c *control.Client) error { return a.explain(cmd.Context(), c, args[0]) })
		},
	}
	var gwart bool
	table := &cobra.Command{Use: "table", Short: "Print the routing table", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.with(func(c *control.Client) error {
			if gwart {
				return c.Text(cmd.Context(), "/v1/route/table", url.Values{"format": {"gwart"}}, a.out)
			}
			var es []routing.Entry
			if err := c.Get(cmd.Context(), "/v1/route/table", nil, &es); err != nil {
				return err
			}
			t := a.table("TYPE", "PATTERN", "COST", "CONNECTOR", "SCOPE", "ORIGIN")
			for _, e := range es {
				if a.json {
					if err := a.printJSON(e); err != nil {
						return err
					}
					continue
				}
				t.row(string(e.Space.Type), e.Space.Pattern, fmt.Sprint(e.Space.Cost), e.Connector, e.Space.Scope, e.Space.Origin)
			}
			if a.json {
				return nil
			}
			return t.flush()
		})
	}}
	table.Flags().BoolVar(&gwart, "gwart", false, "in the text form of Exchange's GWART0.MTA")
	c.AddCommand(explain, table)
	return c
}

// explain prints an address's ways; errNothing when it has none.
func (a *app) explain(ctx context.Context, c *control.Client, addr string) error {
	var x gateway.Explanation
	if err := c.Get(ctx, "/v1/route", url.Values{"address": {addr}}, &x); err != nil {
		return err
	}
	print := a.printExplanation
	if a.json {
		print = func(x gateway.Explanation) error { return a.printJSON(x) }
	}
	if err := print(x); err != nil {
		return err
	}
	if x.Dest == "" {
		return errNothing
	}
	return nil
}

func (a *app) printExplanation(x gateway.Explanation) error {
	p := func(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }
	if x.Resolved != x.Asked || x.Why != "" {
		p("%s\n", printable(x.Asked.String()))
	}
	if x.Resolved != x.Asked {
		p("  is %s %s\n", printable(x.Resolved.String()), printable(x.Name))
	}
	if x.Why != "" {
		p("  can't be resolved: %s\n", printable(x.Why))
		return nil
	}
	var text strings.Builder
	if err := x.Decision.Explain(&text); err != nil {
		return err
	}
	p("%s", printLines(text.String()))
	if ms, err := x.Resolved.MSMail(); err == nil && x.Dest == "" {
		p("  To open a way, give a connector the address space MS:%s (see `backbone route table`).\n", printable(ms.PostOffice().String()))
	}
	return nil
}
