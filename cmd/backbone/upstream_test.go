package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestThePatchesForGoSMTPFitTheVersionInUse: docs/upstream applies to the module that go.mod names, and names guards' tests that exist.
func TestThePatchesForGoSMTPFitTheVersionInUse(t *testing.T) {
	root := filepath.Join("..", "..")
	page := read(t, filepath.Join(root, "docs", "upstream", "README.md"))
	defined := definedTests(t, root)
	for _, m := range testNamed.FindAllStringSubmatch(page, -1) {
		if !defined[m[1]] {
			t.Errorf("there is no test %s", m[1])
		}
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", "github.com/emersion/go-smtp").Output()
	check(t, err)
	from, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if !strings.Contains(page, version) {
		t.Errorf("the page is of another version than %s", version)
	}
	dir := t.TempDir()
	for _, source := range glob(t, from, "*.go") {
		check(t, os.WriteFile(filepath.Join(dir, filepath.Base(source)), []byte(read(t, source)), 0o600))
	}
	patches := glob(t, root, "docs", "upstream", "*.patch")
	for _, p := range patches {
		if !strings.Contains(page, "("+filepath.Base(p)+")") {
			t.Errorf("the page does not name %s", filepath.Base(p))
		}
		abs, err := filepath.Abs(p)
		check(t, err)
		apply := exec.Command("git", "apply", abs)
		apply.Dir = dir
		apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
		if out, err := apply.CombinedOutput(); err != nil {
			t.Fatalf("%s does not apply to %s: %v\n%s", filepath.Base(p), version, err, out)
		}
	}
	if len(patches) == 0 || !strings.Contains(read(t, filepath.Join(dir, "conn.go")), "Message data broke off") {
		t.Error("nothing was applied")
	}
}
