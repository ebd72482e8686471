package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *app) manCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "man [COMMAND...]", Short: "Print a command's manual page, or write all of them to a folder",
		Example: "  backbone man queue retry | man -l -\n  backbone man --dir /usr/share/man/man1",
		RunE: func(cmd *cobra.Command, args []string) error {
			head := doc.GenManHeader{Section: "1", Source: "backbone " + version, Manual: "Backbone"}
			date, err := buildDate()
			if err != nil {
				return err
			}
			head.Date = &date
			root := cmd.Root()
			root.DisableAutoGenTag = true
			if dir != "" {
				return a.manPages(root, head, dir)
			}
			of, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no command %q", strings.Join(args, " "))
			}
			return doc.GenMan(of, &head, a.out)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "write a page for each command into this folder")
	return c
}

func (a *app) manPages(root *cobra.Command, head doc.GenManHeader, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := doc.GenManTree(root, &head, dir); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "backbone*.1"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%d pages in %s\n", len(pages), dir)
	return err
}

// buildDate is $SOURCE_DATE_EPOCH (reproducible-builds.org), so that two builds write the same pages; else today.
func buildDate() (time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return time.Now(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(n, 0).UTC(), nil
}
