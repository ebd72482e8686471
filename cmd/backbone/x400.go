package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"backbone/connectors/x400/decode"

	"github.com/spf13/cobra"
)

func (a *app) x400Command() *cobra.Command {
	c := &cobra.Command{Use: "x400", Short: "Look at X.400 traffic"}
	c.AddCommand(&cobra.Command{
		Use: "decode FILE", Short: "Print captured X.400 traffic, or one APDU, as an indented tree with field names", Args: cobra.ExactArgs(1),
		Long: "Print captured X.400 traffic, or one APDU, as an indented tree with the names that the standards give.\n\n" +
			"FILE is a capture (pcap or pcapng), the octets of one direction of a connection, a transfer, an MTS-APDU, or an interpersonal\n" +
			"message or notification; all but the capture also as hex text or as a hex dump. - reads from stdin. Passwords are not printed.\n\n" +
			"It needs no daemon. What can't be decoded is marked with !! where it stands: the exit code is then 3, or 1 when nothing could be.",
		Example: "  tcpdump -w p1.pcap tcp port 102 && backbone x400 decode p1.pcap\n" +
			"  backbone quarantine show --raw ID | backbone x400 decode -\n" +
			"  echo '30 80 02 01 05 00 00' | backbone x400 decode -",
		RunE: func(_ *cobra.Command, args []string) error { return a.decode(args[0]) },
	})
	return c
}

func (a *app) decode(name string) error {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() // read only
		in = f
	} else {
		name = "stdin"
	}
	b, err := io.ReadAll(io.LimitReader(in, decode.MaxInput+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	out := a.out
	if a.json {
		out = &treeLines{a: a}
	}
	err = decode.Write(out, b)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, decode.ErrNothing):
		return fmt.Errorf("%s: %s", name, oneLine(err))
	}
	return partly{fmt.Sprintf("%s: not all of it could be decoded: %s", name, oneLine(err))}
}

// oneLine joins what several errors say.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// treeLine is one line of the tree with --json.
type treeLine struct {
	Depth  int    `json:"depth"`
	Name   string `json:"name,omitempty"`
	Value  string `json:"value,omitempty"`
	Broken string `json:"broken,omitempty"` // why this part could not be decoded
}

// treeLines turns the tree's lines into objects. decode writes a line a call.
type treeLines struct{ a *app }

func (t *treeLines) Write(b []byte) (int, error) {
	text := strings.TrimLeft(string(b), " ")
	l := treeLine{Depth: (len(b) - len(text)) / 2}
	text = strings.TrimSuffix(text, "\n")
	if why, broken := strings.CutPrefix(text, "!! "); broken {
		l.Broken = why
	} else if l.Name, l.Value, _ = strings.Cut(text, ": "); l.Value == "" {
		l.Name = strings.TrimSuffix(text, ":")
	}
	return len(b), t.a.printJSON(l)
}
