// Command components says what a release is made of: which modules are linked into the program, under which licences.
//
//	components licences            docs/licences.md, from the modules that ./cmd/backbone needs
//	components sbom BINARY VERSION a CycloneDX 1.6 bill of materials of a program that was built from them
//
// Both are run at the root of the source. It reads the build list and the module cache through the go command, and writes to
// standard output: the same octets for the same input. A module without a licence that it knows is an error.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "components:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "licences":
		text, err := Licences(".")
		if err != nil {
			return err
		}
		_, err = os.Stdout.WriteString(text)
		return err
	case len(args) == 3 && args[0] == "sbom":
		b, err := SBOM(".", args[1], args[2])
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(b)
		return err
	}
	return errors.New("usage: components licences | components sbom BINARY VERSION")
}
