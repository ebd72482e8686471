package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/address"
	"backbone/gateway/config"
	"backbone/gateway/control"
	"backbone/gateway/routing"

	"github.com/spf13/cobra"
)

// rules are the gateway's settings as the configuration gives them.
func rules(cfg *config.Config) gateway.Settings {
	return gateway.Settings{
		Policy: cfg.Retry.Policy(), OpenRetries: cfg.Retry.OpenRetries,
		MaxSize: cfg.Limits.MessageSize, MaxRecipients: cfg.Limits.Recipients, MaxHops: cfg.Limits.Hops, Poison: cfg.Limits.Poison,
		ReportsPerOriginator: cfg.Limits.ReportsPerOriginator, ReportsPerDestination: cfg.Limits.ReportsPerDestination,
		Selection:   routing.Options{LeastCostOnly: cfg.Routing.LeastCostOnly, FallbackLessSpecific: cfg.Routing.FallbackLessSpecific},
		ReplyRoutes: cfg.Routing.ReplyRoutes.D(),
	}
}

// reload reads the configuration again. All of its changes come into force or, when one of them needs a restart, none.
func (s *site) reload(dryRun bool) (control.Reloaded, error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	cfg, err := config.Load(s.cfg.Path, kinds)
	if err != nil {
		return control.Reloaded{}, err
	}
	out := control.Reloaded{Changes: config.Diff(s.inForce, cfg)}
	if dryRun || len(out.Changes) == 0 || len(out.NeedRestart()) > 0 {
		return out, nil
	}
	if err := s.gw.Apply(rules(cfg), cfg.Links()); err != nil {
		return out, err
	}
	if err := s.agent.Publish(func(c connectors.Connector) []address.Space { return s.gw.Spaces(c.Name()) }); err != nil {
		s.log.Error("joined sites are not told of the new address spaces", "err", err)
	}
	if s.level != nil {
		setLevel(s.level, cfg.Log)
	}
	s.inForce, out.Applied = cfg, true
	return out, nil
}

// reloadOn reloads at each signal until ctx ends, and logs what came of it: nobody waits for an answer.
func (s *site) reloadOn(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		out, err := s.reload(false)
		restart := out.NeedRestart()
		switch {
		case err != nil:
			s.log.Error("configuration not reloaded: it stays as it was", "err", err)
		case len(restart) > 0:
			s.log.Error("configuration not reloaded: it stays as it was, since this needs a restart", "settings", changedKeys(restart))
		case len(out.Changes) == 0:
			s.log.Info("configuration read again: nothing has changed")
		default:
			s.log.Info("configuration reloaded", "settings", changedKeys(out.Changes))
		}
	}
}

func changedKeys(cs []config.Change) slog.Value {
	ks := make([]string, len(cs))
	for i, c := range cs {
		ks[i] = c.Key
	}
	return slog.StringValue(strings.Join(ks, ", "))
}

func (a *app) configReload() *cobra.Command {
	var req control.ReloadRequest
	c := &cobra.Command{
		Use: "reload", Short: "Make the running daemon read its configuration again", Args: cobra.NoArgs,
		Long: "Make the running daemon read its configuration again, as SIGHUP does, and print what changed.\n\n" +
			"All changes come into force or none: when one of them needs a restart (`backbone config diff` says which),\nnothing is changed and the exit code is 1.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.reload(cmd.Context(), req)
		},
	}
	c.Flags().BoolVar(&req.DryRun, "dry-run", false, "only say what would change")
	c.Flags().StringVar(&req.Reason, "reason", "", "why; kept on the audit log")
	return c
}

// reload prints the differences between the running daemon and its file, and without DryRun puts them in force.
func (a *app) reload(ctx context.Context, req control.ReloadRequest) error {
	req.By = me()
	return a.with(func(c *control.Client) error {
		var out control.Reloaded
		if err := c.Post(ctx, "/v1/config/reload", req, &out); err != nil {
			return err
		}
		if err := a.printChanges(out.Changes, true); err != nil {
			return err
		}
		if restart := out.NeedRestart(); len(restart) > 0 && !req.DryRun {
			return fmt.Errorf("nothing was changed: %s needs a restart", restart[0].Key)
		}
		return nil
	})
}

// printChanges writes "- [section] key = old" and "+ [section] key = new"; with marks those that a running daemon can't make
// say so.
func (a *app) printChanges(cs []config.Change, marks bool) error {
	if len(cs) == 0 {
		return errNothing
	}
	for _, c := range cs {
		if a.json {
			if err := a.printJSON(c); err != nil {
				return err
			}
			continue
		}
		mark := ""
		if marks && !c.Live {
			mark = "   # needs a restart"
		}
		if c.Old != "" {
			fmt.Fprintf(a.out, "- %s = %s%s\n", c.Key, c.Old, mark)
		}
		if c.New != "" {
			fmt.Fprintf(a.out, "+ %s = %s%s\n", c.Key, c.New, mark)
		}
	}
	return nil
}
