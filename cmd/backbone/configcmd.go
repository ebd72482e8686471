package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"backbone/gateway/config"
	"backbone/gateway/control"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check, show, compare and explain the configuration"}
	check := &cobra.Command{Use: "check [FILE]", Short: "Report every mistake with its line and column; silent when there is none", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		cfg, err := a.loadArg(args)
		var wrong *config.Errors
		if a.json && errors.As(err, &wrong) {
			return errors.Join(a.printJSON(map[string]any{"ok": false, "errors": wrong.List}), err)
		}
		if err != nil {
			return err
		}
		for _, w := range config.Warnings(cfg) {
			fmt.Fprintf(a.err, "backbone: warning: %s\n", w)
		}
		if a.json {
			return a.printJSON(map[string]any{"ok": true, "warnings": config.Warnings(cfg)})
		}
		return nil
	}}
	show := &cobra.Command{Use: "show [FILE]", Short: "Print the configuration in force, with defaults; secrets are hidden", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		cfg, err := a.loadArg(args)
		if err != nil {
			return err
		}
		if !a.json {
			return config.Show(a.out, cfg)
		}
		var text bytes.Buffer
		if err := config.Show(&text, cfg); err != nil {
			return err
		}
		var v map[string]any
		if err := toml.Unmarshal(text.Bytes(), &v); err != nil {
			return err
		}
		return a.printJSON(v)
	}}
	diff := &cobra.Command{
		Use: "diff [OLD NEW]", Short: "Compare the running daemon with its file, or two files, defaults included",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) > 2 {
				return fmt.Errorf("give two files, or none to compare the running daemon with its own")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.reload(cmd.Context(), control.ReloadRequest{DryRun: true})
			}
			old, err := config.Load(args[0], kinds)
			if err != nil {
				return err
			}
			now, err := config.Load(args[1], kinds)
			if err != nil {
				return err
			}
			return a.printChanges(config.Diff(old, now), false)
		},
	}
	reference := &cobra.Command{Use: "reference", Short: "Print every key with its default and meaning", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		if a.json {
			for _, k := range config.Keys(kinds) {
				if err := a.printJSON(k); err != nil {
					return err
				}
			}
			return nil
		}
		return config.Reference(a.out, kinds)
	}}
	c.AddCommand(check, show, diff, a.configReload(), a.configMigrateGWART(), reference)
	return c
}

func (a *app) loadArg(args []string) (*config.Config, error) {
	if len(args) == 1 {
		return config.Load(args[0], kinds)
	}
	return a.load()
}

// writeNew writes a file that must not be there yet.
func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		return fmt.Errorf("%w (and closing: %v)", err, f.Close())
	}
	return f.Close()
}
