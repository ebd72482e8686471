package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// program is what is released.
const program = "./cmd/backbone"

// targets are what releases are built for; a module that only one of them needs is listed, too.
var targets = []string{"linux/amd64", "linux/arm64"}

// module is one module, or another work, that is part of the program.
type module struct {
	path, version string
	sum           string // h1:, as go.sum has it
	licences      []string
	texts         []text
}

// text is one file of a licence or notice.
type text struct{ name, content string }

// embedded are works in the program that are no modules: each has its licence beside it.
const embedded = "gateway/control/dashboard/static"

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.].*)?$`)

// modules lists what the program at root needs on any target, by path.
func modules(root string) ([]module, error) {
	found := map[string]module{}
	for _, target := range targets {
		goos, arch, _ := strings.Cut(target, "/")
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", program)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+arch)
		out, err := output(cmd)
		if err != nil {
			return nil, err
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
			f := strings.Split(line, "\t")
			if _, known := found[f[0]]; known || len(f) != 3 {
				continue
			}
			m := module{path: f[0], version: f[1]}
			if err := m.licence(f[2]); err != nil {
				return nil, err
			}
			found[m.path] = m
		}
	}
	out := make([]module, 0, len(found))
	for _, m := range found {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b module) int { return strings.Compare(a.path, b.path) })
	return out, nil
}

// licence reads the licences in a module's folder.
func (m *module) licence(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", m.path, err)
	}
	for _, e := range list {
		if e.Type().IsRegular() && licenceFile.MatchString(e.Name()) {
			if err := m.read(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if len(m.licences) == 0 {
		return fmt.Errorf("%s: no licence that is known", m.path)
	}
	return nil
}

func (m *module) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", m.path, err)
	}
	for _, l := range licensecheck.Scan(b).Match {
		if !l.IsURL && !slices.Contains(m.licences, l.ID) && l.ID != "GooglePatentsFile" && l.ID != "GooglePatentClause" {
			m.licences = append(m.licences, l.ID)
		}
	}
	m.texts = append(m.texts, text{filepath.Base(path), strings.TrimRight(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")})
	return nil
}

// others are what is no module: Go's own library, and works embedded in the program.
func others(root string) ([]module, error) {
	out, err := output(exec.Command("go", "env", "GOROOT", "GOVERSION"))
	if err != nil {
		return nil, err
	}
	goroot, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	std := module{path: "std", version: strings.TrimPrefix(version, "go")}
	if err := std.licence(goroot); err != nil {
		return nil, err
	}
	all := []module{std}
	files, err := filepath.Glob(filepath.Join(root, embedded, "*LICENSE*"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		m := module{path: embedded + "/" + filepath.Base(f)}
		if err := m.read(f); err != nil {
			return nil, err
		}
		if len(m.licences) == 0 {
			return nil, fmt.Errorf("%s: no licence that is known", f)
		}
		all = append(all, m)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", embedded, fs.ErrNotExist)
	}
	return all, nil
}

// Licences is docs/licences.md: what the program at root is made of, under which licences, and their texts, which go with it.
func Licences(root string) (string, error) {
	ms, err := modules(root)
	if err != nil {
		return "", err
	}
	more, err := others(root)
	if err != nil {
		return "", err
	}
	more[0].version = "" // whichever Go builds it
	var b strings.Builder
	b.WriteString("# Licences\n\nWhat is linked into the program, beside our own code (MIT), for " + strings.Join(targets, " and ") +
		". `make licences` writes this page from the\nbuild list and the module cache; `make test` fails when it is not that. Each release has the same list as a bill of materials.\n\n" +
		"| module | version | licence | text |\n|---|---|---|---|\n")
	numbers := map[[32]byte]int{}
	var texts []string
	for _, m := range slices.Concat(ms, more) {
		var at []string
		for _, t := range m.texts {
			sum := sha256.Sum256([]byte(t.content))
			if numbers[sum] == 0 {
				texts = append(texts, t.content)
				numbers[sum] = len(texts)
			}
			at = append(at, fmt.Sprintf("[%d](#text-%d)", numbers[sum], numbers[sum]))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.path, m.version, strings.Join(m.licences, ", "), strings.Join(at, ", "))
	}
	for i, t := range texts {
		fmt.Fprintf(&b, "\n## Text %d\n\n````text\n%s\n````\n", i+1, t)
	}
	return b.String(), nil
}

func output(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(exit.Stderr))
	}
	return out, err
}
