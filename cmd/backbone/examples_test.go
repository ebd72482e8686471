package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamplesAreReadyToServe: what init adds is all they need, and their import files are taken whole. What stands
// commented out is right as well.
func TestExamplesAreReadyToServe(t *testing.T) {
	for _, site := range []string{"sitea", "siteb"} {
		t.Run(site, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "examples", site))); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "backbone.toml")
			for _, args := range [][]string{
				{"init", dir},
				{"config", "check", file},
				{"directory", "import", filepath.Join(dir, "custom-recipients.csv"), "--offline", "--config", file},
				{"directory", "list", "--offline", "--config", file},
			} {
				if code, out, errs := command(t, "", args...); code != 0 {
					t.Fatalf("backbone %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
				}
			}
			for name, first := range map[string]string{"the dearer way": "# smarthost = [\"127", "the Internet": "# smarthost = [\"mail", "the site link": "# [connector.link]"} {
				if code, out, errs := command(t, "", "config", "check", uncommented(t, file, first)); code != 0 {
					t.Errorf("%s: exit %d\n%s%s", name, code, out, errs)
				}
			}
		})
	}
}

// uncommented writes a copy of the configuration with the commented block that begins with first brought in.
func uncommented(t *testing.T, file, first string) string {
	t.Helper()
	lines := strings.Split(read(t, file), "\n")
	in, found := false, false
	for i, l := range lines {
		if strings.HasPrefix(l, first) {
			in, found = true, true
		}
		key, isSetting := strings.CutPrefix(l, "# ")
		if in = in && isSetting && (strings.HasPrefix(key, "[") || strings.Contains(key, " = ")); in {
			lines[i] = key
		}
	}
	if !found {
		t.Fatalf("%s has no line %q", file, first)
	}
	out := filepath.Join(filepath.Dir(file), "uncommented.toml")
	if err := os.WriteFile(out, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}
