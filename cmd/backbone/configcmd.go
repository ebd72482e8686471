package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"

	"backbone/gateway/config"

	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check, show, compare and explain the configuration"}
	check := &cobra.Command{Use: "check [FILE]", Short: "Report every mistake with its line and column; silent when there is none", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		cfg, err := a.loadArg(args)
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
		return config.Show(a.out, cfg)
	}}
	diff := &cobra.Command{Use: "diff OLD NEW", Short: "Compare two configurations, defaults included", Args: cobra.ExactArgs(2), RunE: func(_ *cobra.Command, args []string) error {
		var text [2]string
		for i, f := range args {
			cfg, err := config.Load(f, kinds)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := config.Show(&b, cfg); err != nil {
				return err
			}
			text[i] = b.String()
		}
		n := 0
		for _, l := range lineDiff(text[0], text[1]) {
			fmt.Fprintln(a.out, l)
			n++
		}
		if n == 0 {
			return errNothing
		}
		return nil
	}}
	reference := &cobra.Command{Use: "reference", Short: "Print every key with its default and meaning", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return config.Reference(a.out, kinds)
	}}
	c.AddCommand(check, show, diff, reference)
	return c
}

func (a *app) loadArg(args []string) (*config.Config, error) {
	if len(args) == 1 {
		return config.Load(args[0], kinds)
	}
	return a.load()
}

// lineDiff lists the settings that differ, each with its section: "- [site] name = ..." and "+ ...".
func lineDiff(old, now string) []string {
	a, b := settings(old), settings(now)
	var out []string
	for _, s := range a.order {
		if v, ok := b.m[s]; !ok || v != a.m[s] {
			out = append(out, "- "+s+" = "+a.m[s])
			if ok {
				out = append(out, "+ "+s+" = "+v)
			}
		}
	}
	for _, s := range b.order {
		if _, ok := a.m[s]; !ok {
			out = append(out, "+ "+s+" = "+b.m[s])
		}
	}
	return out
}

type settingList struct {
	m     map[string]string
	order []string
}

func settings(text string) settingList {
	l := settingList{m: map[string]string{}}
	section, seen := "", map[string]int{}
	sc := bufio.NewScanner(strings.NewReader(text))
	for sc.Scan() {
		line := sc.Text()
		if strings.HasPrefix(line, "[") {
			section = line
			if strings.HasPrefix(line, "[[") {
				seen[line]++
				section = fmt.Sprintf("%s#%d", line, seen[line])
			}
			continue
		}
		if k, v, ok := strings.Cut(line, " = "); ok {
			key := strings.TrimSpace(section + " " + k)
			l.m[key] = v
			l.order = append(l.order, key)
		}
	}
	return l
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
