package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/control"
	"backbone/queue"

	"github.com/spf13/cobra"
)

const (
	completeWithin = 2 * time.Second // a shell that waits longer feels broken
	completeAtMost = 200
)

// completions teaches the shells what the daemon knows: queue ids, destinations and connectors, by the arguments that
// commands take.
func (a *app) completions(root *cobra.Command) error {
	words := func(list ...string) cobra.CompletionFunc {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return list, cobra.ShellCompDirectiveNoFileComp
		}
	}
	flags := map[string]cobra.CompletionFunc{
		"id": a.completer(queueIDs), "connector": a.completer(connectorNames), "via": a.completer(connectorNames), "dest": a.completer(destinations),
		"state": words("ready", "leased", "held", "trash"), "class": words("transient", "permanent", "policy", "local"),
	}
	var errs []error
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for name, f := range flags {
			if c.Flags().Lookup(name) != nil {
				errs = append(errs, c.RegisterFlagCompletionFunc(name, f))
			}
		}
		parent := ""
		if p := c.Parent(); p != nil {
			parent = p.Name()
		}
		switch _, args, _ := strings.Cut(c.Use, " "); {
		case c.ValidArgsFunction != nil:
		case parent == "queue" && args != "", c.Name() == "trace":
			c.ValidArgsFunction = a.completer(queueIDs)
		case parent == "dest" && args != "":
			c.ValidArgsFunction = a.completer(destinations)
		case parent == "connector" && args != "":
			c.ValidArgsFunction = a.completer(connectorNames)
		case parent == "quarantine" && args != "":
			c.ValidArgsFunction = a.completer(quarantined)
		case args == "" && !c.HasSubCommands():
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return errors.Join(errs...)
}

// completer asks the daemon. Where none answers there is nothing to offer, and no file name either.
func (a *app) completer(ask func(context.Context, *control.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, used []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		var out []string
		err := a.with(func(c *control.Client) (err error) {
			out, err = ask(ctx, c)
			return err
		})
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		out = slices.DeleteFunc(out, func(s string) bool {
			word, _, _ := strings.Cut(s, "\t")
			return slices.Contains(used, word)
		})
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func queueIDs(ctx context.Context, c *control.Client) ([]string, error) {
	var out []string
	err := c.Queue(ctx, queue.Filter{}, completeAtMost, func(it queue.Item) error {
		out = append(out, it.ID.String()+"\t"+printable(fmt.Sprintf("%s, from %s", it.Dest, it.Envelope.Originator)))
		return nil
	})
	return out, err
}

func destinations(ctx context.Context, c *control.Client) ([]string, error) {
	var ds []control.DestStatus
	if err := c.Get(ctx, "/v1/dests", nil, &ds); err != nil {
		return nil, err
	}
	var out []string
	for _, d := range ds {
		out = append(out, printable(d.Dest.String())+fmt.Sprintf("\t%d waiting", d.Ready))
	}
	return out, nil
}

func connectorNames(ctx context.Context, c *control.Client) ([]string, error) {
	var cs []control.ConnectorStatus
	if err := c.Get(ctx, "/v1/connectors", nil, &cs); err != nil {
		return nil, err
	}
	var out []string
	for _, k := range cs {
		out = append(out, k.Name+"\t"+k.Type+", "+k.State)
	}
	return out, nil
}

func quarantined(ctx context.Context, c *control.Client) ([]string, error) {
	var qs []connectors.Quarantined
	if err := c.Get(ctx, "/v1/quarantine", nil, &qs); err != nil {
		return nil, err
	}
	var out []string
	for _, q := range qs {
		out = append(out, q.ID+"\t"+printable(q.Reason))
	}
	return out, nil
}
