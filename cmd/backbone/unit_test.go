package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheUnitsAreSoundAndHardened: systemd reads both without a word about them, and its own measure of what the service could do
// to the machine (0 to 10, here as hundredths) stays low.
func TestTheUnitsAreSoundAndHardened(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"backbone.service", "backbone.socket"} {
		text := read(t, filepath.Join("..", "..", "contrib", "systemd", name))
		if name == "backbone.service" && strings.Count(text, "/usr/bin/backbone ") != 2 {
			t.Errorf("%s: the program's place is not where the test puts one that is there", name)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "/usr/bin/backbone ", exe+" ")), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for l := range strings.Lines(string(out)) {
		if strings.Contains(l, "backbone") { // of other units on this machine it may say what it likes
			t.Errorf("systemd-analyze verify: %s", l)
		}
	}
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", files[0]).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
