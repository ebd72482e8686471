package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const root = "../.."

func TestTheLicencesPageIsThatOfTheProgram(t *testing.T) {
	want, err := Licences(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "docs", "licences.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/licences.md is not that of the program: make licences")
	}
}

func TestTheBillOfMaterialsNamesWhatTheLinkerTook(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "backbone")
	cmd := exec.Command("go", "build", "-o", binary, program) // as the other tests build it, so that it is there already
	cmd.Dir = root
	if _, err := output(cmd); err != nil {
		t.Fatal(err)
	}
	first, err := SBOM(root, binary, "1.2~rc1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := SBOM(root, binary, "1.2~rc1")
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("two runs differ: %v", err)
	}
	var doc bom
	if err := json.Unmarshal(first, &doc); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]component{}
	for _, c := range doc.Components {
		named[c.Name+"@"+c.Version] = c
		if len(c.Licences) == 0 || c.Ref == "" {
			t.Errorf("%s: %+v", c.Name, c)
		}
	}
	for _, d := range info.Deps {
		c, ok := named[d.Path+"@"+d.Version]
		if !ok || c.PURL != "pkg:golang/"+d.Path+"@"+d.Version || len(c.Hashes) != 1 {
			t.Errorf("%s %s: %+v", d.Path, d.Version, c)
		}
	}
	if std := named["std@"+info.GoVersion[2:]]; std.Ref == "" {
		t.Error("Go itself is not there")
	}
	if len(info.Deps) < 20 || len(doc.Dependencies) != 1 || len(doc.Dependencies[0].DependsOn) != len(doc.Components) {
		t.Errorf("%d modules, %d dependencies", len(info.Deps), len(doc.Dependencies))
	}
	if v := doc.Metadata.Component.Version; v != "1.2~rc1" {
		t.Errorf("version %q", v)
	}
}
