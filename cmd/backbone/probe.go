package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/control"

	"github.com/spf13/cobra"
)

func (a *app) probeCommand() *cobra.Command {
	req := control.ProbeRequest{By: me()}
	var wait time.Duration
	c := &cobra.Command{
		Use: "probe ADDRESS", Short: "Ask whether mail for an address would get there", Args: cobra.ExactArgs(1),
		Long: "Ask whether mail for an address would get there, without sending any: where it would go now, and what the next hop says.\n\n" +
			"An X.400 peer is sent a probe, and its report is waited for. An SMTP host is asked for the recipient and then left. Of the\n" +
			"other connectors the state is shown.\n\n" +
			"Exit code: 0 it would get there, as far as can be known here; 2 it would not; 3 it would wait, or no report came in time.",
		Example: "  backbone probe MS:NORTHWIND/PO2/MKUMAR\n  backbone probe 'X400:c=DE;a= ;p=Fabrikam;s=Weber' --size 20000000 --wait 5m",
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.offline {
				return errors.New("probe asks other systems, which only the daemon can: leave --offline away")
			}
			req.Address, req.Wait = args[0], connectors.Duration(wait)
			return a.with(func(c *control.Client) error {
				var p gateway.ProbeAnswer
				if err := c.Post(cmd.Context(), "/v1/probe", req, &p); err != nil {
					return err
				}
				if err := a.showProbe(p); err != nil {
					return err
				}
				return verdict(p)
			})
		},
	}
	fl := c.Flags()
	fl.StringVar(&req.From, "from", "", "the probe's originator, who gets a report that comes after the wait (default: our postmaster)")
	fl.Int64Var(&req.Size, "size", 0, "octets of the message in question")
	fl.DurationVar(&wait, "wait", 30*time.Second, "how long to wait for the report of an X.400 peer")
	return c
}

// showProbe prints an answer.
func (a *app) showProbe(p gateway.ProbeAnswer) error {
	if a.json {
		return a.printJSON(p)
	}
	if err := a.printExplanation(p.Route); err != nil {
		return err
	}
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(a.out, "%-9s %s\n", label, printable(text))
		}
	}
	line("probe:", p.ID)
	line("next hop:", p.Peer)
	if p.Failure != nil && p.Verdict != gateway.ProbeUnroutable { // which the route has said
		line("reason:", p.Failure.Error())
		line("", p.Failure.Peer)
	}
	if r := p.Report; r != nil {
		line("report:", strings.TrimSpace(fmt.Sprintf("by %s on %s: %s %s", r.By, r.Recipient, r.Status, r.Diagnostic)))
		line("", r.Text)
	}
	_, err := fmt.Fprintf(a.out, "%-9s %s (%s)\n", "verdict:", p.Verdict, p.Took.Round(time.Millisecond))
	return err
}

// verdict gives the exit code.
func verdict(p gateway.ProbeAnswer) error {
	switch p.Verdict {
	case gateway.ProbeDelivered, gateway.ProbeTaken, gateway.ProbeRouted:
		return nil
	case gateway.ProbeSent:
		return partly{fmt.Sprintf("no report on the probe has come yet; `backbone trace %s` shows when it does", p.ID)}
	case gateway.ProbeWaits:
		return partly{"mail would wait for this way"}
	}
	return notThere{}
}

// notThere ends a command with exit code 2.
type notThere struct{}

func (notThere) Error() string        { return "mail would not get there" }
func (notThere) Is(target error) bool { return target == errNothing }
