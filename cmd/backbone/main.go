// Command backbone is the gateway and everything an operator does with it. It holds no logic of its own: each command
// parses its arguments, calls the control API or starts the site, and prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"backbone/gateway/config"
	"backbone/gateway/control"

	"github.com/spf13/cobra"
)

// Exit codes, the same for every command (see the operator's guide).
const (
	exitDone     = 0
	exitError    = 1
	exitNothing  = 2 // nothing matched
	exitPartly   = 3
	exitNoDaemon = 4
)

// version is set by the release build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program with its edges handed in, so that tests run the real thing.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	a := &app{in: in, out: out, err: errw}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	err := root.ExecuteContext(ctx)
	return a.exit(err)
}

// app is what the commands share.
type app struct {
	in       io.Reader
	out, err io.Writer

	configPath string
	json       bool
	offline    bool
}

// errNothing ends a command with exit code 2.
var errNothing = errors.New("nothing matched")

// partly ends a command with exit code 3.
type partly struct{ text string }

func (p partly) Error() string { return p.text }

// exit prints err the one way errors are printed, with what to do next, and gives its code.
func (a *app) exit(err error) int {
	var cfg *config.Errors
	var part partly
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &cfg):
		for _, e := range cfg.List {
			a.complain(e.Error())
		}
		return exitError
	case errors.Is(err, errNothing), control.IsNotFound(err):
		a.complain(err.Error())
		return exitNothing
	case errors.As(err, &part):
		a.complain(err.Error())
		return exitPartly
	case errors.Is(err, control.ErrNoDaemon):
		a.complain(err.Error() + "; start it with `backbone serve`, or add --offline to work on the files themselves")
		return exitNoDaemon
	}
	a.complain(err.Error())
	return exitError
}

// complain prints what went wrong; further lines are set in, so that none of them passes for another complaint.
func (a *app) complain(text string) {
	fmt.Fprint(a.err, printLines("backbone: "+strings.ReplaceAll(text, "\n", "\n  ")))
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "backbone",
		Short: "Mail gateway between MS Mail 3.x post offices, X.400, SMTP and other sites",
		Long: "backbone carries mail between legacy MS Mail 3.x post offices over whatever joins their sites\n" +
			"(X.400 P1, a direct site link, SMTP), and between them and today's mail.\n\n" +
			"`backbone demo` shows it at work on this machine.",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&a.configPath, "config", "", "configuration file (default: $BACKBONE_CONFIG, ./backbone.toml, /etc/backbone/backbone.toml, then the running demo)")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "machine-readable output: one object, or one object a line for lists")
	root.PersistentFlags().BoolVar(&a.offline, "offline", false, "without the daemon: open the store's files directly")
	root.AddCommand(
		a.serveCommand(), a.demoCommand(), a.initCommand(), a.sendCommand(), a.configCommand(), a.queueCommand(), a.backupCommand(), a.destCommand(), a.connectorCommand(),
		a.quarantineCommand(), a.routeCommand(), a.probeCommand(), a.directoryCommand(), a.dirsyncCommand(), a.traceCommand(), a.watchCommand(), a.statusCommand(), a.x400Command(), a.auditCommand(), a.passwordCommand(), a.manCommand(), a.versionCommand(),
	)
	if err := a.completions(root); err != nil {
		fmt.Fprintf(a.err, "backbone: completion: %v\n", err)
	}
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		if a.json {
			return a.printJSON(map[string]string{"version": version})
		}
		_, err := fmt.Fprintf(a.out, "backbone %s\n", version)
		return err
	}}
}
