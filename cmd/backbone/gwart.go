package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/routing"

	"github.com/spf13/cobra"
)

func (a *app) configMigrateGWART() *cobra.Command {
	return &cobra.Command{
		Use: "migrate-gwart FILE", Short: "Write the address spaces of an Exchange GWART0.MTA as configuration; - reads stdin", Args: cobra.ExactArgs(1),
		Long: "Write the address spaces of an Exchange server's routing table (mtadata\\GWART0.MTA) as sections for this configuration,\n" +
			"one for each connector. What else a connector needs (peer, listen, passwords) stands there as what is to be filled in.\n\n" +
			"A line that can't be read is named on stderr, and the exit code is 3. EX: spaces, which only Exchange had, are left out.",
		RunE: func(_ *cobra.Command, args []string) error {
			in := a.in
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			es, err := routing.ParseGWART(in)
			if len(es) == 0 {
				return errors.Join(err, errNothing)
			}
			if werr := writeSpaces(a.out, es); werr != nil {
				return werr
			}
			if err != nil {
				return partly{printable(strings.ReplaceAll(err.Error(), "\n", "; "))}
			}
			return nil
		},
	}
}

// writeSpaces writes a section for each connector, in the order of the file.
func writeSpaces(w io.Writer, es []routing.Entry) error {
	var order []string
	by := map[string][]address.Space{}
	for _, e := range es {
		if _, seen := by[e.Connector]; !seen {
			order = append(order, e.Connector)
		}
		by[e.Connector] = append(by[e.Connector], e.Space)
	}
	used := map[string]int{}
	var b strings.Builder
	for _, name := range order {
		key := sectionName(name)
		if used[key]++; used[key] > 1 {
			key = fmt.Sprintf("%s-%d", key, used[key])
		}
		fmt.Fprintf(&b, "# %s\n[connector.%s]\ntype = %q   # check this, and fill in what the type needs: backbone config reference\nspace = [\n",
			printable(name), key, guessType(name, by[name]))
		for _, s := range by[name] {
			line := fmt.Sprintf("{ address = %q, cost = %d },", s.String(), s.Cost)
			if s.Type == "EX" {
				line = "# " + line + " only Exchange had these"
			}
			fmt.Fprintf(&b, "  %s\n", line)
		}
		b.WriteString("]\n\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// sectionName makes "MS Mail Connector (SRVA)" ms-mail-connector-srva.
func sectionName(name string) string {
	s := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if s == "" {
		return "connector"
	}
	return strings.TrimRight(s[:min(len(s), 28)], "-") // room for a number
}

// guessType goes by Exchange's own names for connectors, then by what they serve.
func guessType(name string, spaces []address.Space) string {
	n := strings.ToLower(name)
	for _, k := range []struct{ word, typ string }{{"ms mail", "msmail"}, {"internet mail", "smtp"}, {"smtp", "smtp"}, {"x400", "x400"}, {"x.400", "x400"}, {"site connector", "site"}} {
		if strings.Contains(n, k.word) {
			return k.typ
		}
	}
	switch spaces[0].Type {
	case address.SMTP:
		return "smtp"
	case address.MS:
		return "msmail"
	case "EX":
		return "site"
	}
	return "x400"
}
