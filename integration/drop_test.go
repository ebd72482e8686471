package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/shadowpo/droptest"
)

// TestHostileFilesInADropLeaveTheirNeighboursAlone: each hostile file has a reason of its own in badmail, shown by the
// CLI, too, and the good ones before and after it reach the other site.
func TestHostileFilesInADropLeaveTheirNeighboursAlone(t *testing.T) {
	a, b := pair(t, overSite(t))
	a.stop()
	a.rewrite(func(s string) string {
		return strings.Replace(s, "gateways = [", "external_files = true\ngateways = [", 1)
	})
	a.start()
	if n := len(droptest.Hostile); n < 30 {
		t.Fatalf("%d hostile files, want at least 30", n)
	}
	submit := filepath.Join(a.po("NET/PO1"), "submit")
	if err := os.Symlink("/etc/passwd", filepath.Join(submit, "LINK.TXT")); err != nil {
		t.Fatal(err)
	}
	for i, h := range droptest.Hostile {
		drop(t, a.po("NET/PO1"), fmt.Sprintf("A%02d", i), message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", fmt.Sprintf("Before %02d", i), "good\r\n", nil))
		h.Make(t, filepath.Join(submit, fmt.Sprintf("BAD%02d.MSG", i)))
		drop(t, a.po("NET/PO1"), fmt.Sprintf("Z%02d", i), message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", fmt.Sprintf("After %02d", i), "good\r\n", nil))
	}
	n := len(droptest.Hostile)
	until(t, 2*time.Minute, "all neighbours arrive", func() bool { return len(delivered(t, b.po("NET/PO2"))) == 2*n })
	reasons := func() []string {
		names, err := filepath.Glob(filepath.Join(a.po("NET/PO1"), "badmail", "*.ERR"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	until(t, 2*time.Minute, "all hostile ones are in badmail", func() bool { return len(reasons()) == n })
	var all strings.Builder
	for _, f := range reasons() {
		all.WriteString(read(t, f) + "\n")
	}
	for _, h := range droptest.Hostile {
		if !strings.Contains(all.String(), h.Reason) {
			t.Errorf("%s: no reason file has %q", h.Name, h.Reason)
		}
	}
	if list := a.backbone("quarantine", "list"); strings.Count(list, "BAD") < n {
		t.Errorf("quarantine list shows fewer than %d:\n%s", n, list)
	}
}
