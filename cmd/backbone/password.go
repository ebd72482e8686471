package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"backbone/gateway/control/dashboard"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) passwordCommand() *cobra.Command {
	return &cobra.Command{
		Use: "password", Short: "Make the hash of a dashboard user's password", Args: cobra.NoArgs,
		Long: "Reads a password, twice and unseen on a terminal, else one line of stdin, and prints its argon2id hash for a\n" +
			"[[control.user]] section's password.",
		Example: "  backbone password\n  pwgen 20 1 | tee kim.password | backbone password",
		RunE: func(*cobra.Command, []string) error {
			pw, err := a.readPassword()
			if err != nil {
				return err
			}
			h, err := dashboard.Hash(pw)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, h)
			return err
		},
	}
}

func (a *app) readPassword() (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(a.in, 1<<10)).ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || line == "") {
			return "", fmt.Errorf("no password on stdin: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.err)
		return string(b), err
	}
	one, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	two, err := ask("Again: ")
	if err != nil {
		return "", err
	}
	if one != two {
		return "", errors.New("the two are not the same")
	}
	return one, nil
}
