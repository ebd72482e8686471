package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testNamed   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	targetNamed = regexp.MustCompile("`make ([a-z-]+)`")
	testDefined = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
)

// TestEachGuardOfTheSecurityPageHasItsTest: docs/security.md names no test and no target of the Makefile that does not
// exist, and no row of its tables of threats is without one.
func TestEachGuardOfTheSecurityPageHasItsTest(t *testing.T) {
	root := filepath.Join("..", "..")
	defined := definedTests(t, root)
	makefile := read(t, filepath.Join(root, "Makefile"))
	threats, rows := false, 0
	for i, line := range strings.Split(read(t, filepath.Join(root, "docs", "security.md")), "\n") {
		tests, targets := testNamed.FindAllStringSubmatch(line, -1), targetNamed.FindAllStringSubmatch(line, -1)
		for _, m := range tests {
			if !defined[m[1]] {
				t.Errorf("line %d: there is no test %s", i+1, m[1])
			}
		}
		for _, m := range targets {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("line %d: the Makefile has no target %s", i+1, m[1])
			}
		}
		switch {
		case line == "| threat | guard | test |":
			threats = true
		case !strings.HasPrefix(line, "|"):
			threats = false
		case threats && !strings.HasPrefix(line, "|-"):
			rows++
			cells := strings.Split(strings.Trim(line, "|"), "|")
			if len(cells) != 3 || len(tests)+len(targets) == 0 {
				t.Errorf("line %d: %d cells, %d tests: every threat has a guard, and every guard a test", i+1, len(cells), len(tests)+len(targets))
			}
		}
	}
	if rows < 20 {
		t.Errorf("the page has %d rows of threats", rows)
	}
}

// definedTests are the names of all tests.
func definedTests(t *testing.T, root string) map[string]bool {
	t.Helper()
	defined := map[string]bool{}
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range testDefined.FindAllStringSubmatch(string(b), -1) {
			defined[m[1]] = true
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return defined
}
