// Command relay measures this gateway beside real mail transfer agents on this machine, pair by pair in one run, and prints
// ratios: absolute figures of a machine that is shared with others mean nothing the day after.
//
//	go run ./bench/relay                      the rows that take some minutes
//	go run ./bench/relay -long                all rows, the million included: an hour and 10 GB of disk
//	go run ./bench/relay -rows 4k,sync        some rows
//	go run ./bench/relay -docs docs           write table, JSON and chart into the documentation
//
// It needs Linux, Postfix with its smtp-source and smtp-sink, strace for the rows of sync calls, and root, without which
// Postfix does not start. It uses a temporary folder, which must be on the filesystem that is to be measured (-dir).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"backbone/bench/mta"
	"backbone/bench/report"
)

func main() {
	mta.Hold()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	dir    string // everything temporary is below
	binary string // the gateway
	peers  []mta.Kind
	rounds int
	scale  float64 // of the number of messages
	long   bool
	log    io.Writer
	table  report.Table
	count  int // of folders made
}

// section is a group of rows that are measured together.
type section struct {
	name string
	long bool // only when asked for
	do   func(*bench, context.Context) error
}

var sections = []section{
	{"limits", false, (*bench).limits},
	{"4k", false, (*bench).small},
	{"1m", false, (*bench).large},
	{"sync", false, (*bench).syncs},
	{"outage", false, (*bench).outage},
	{"idle", false, (*bench).idle},
	{"drop", false, (*bench).drop},
	{"window", false, (*bench).window},
	{"list", false, (*bench).list},
	{"million", true, (*bench).million},
}

func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	fl := flag.NewFlagSet("relay", flag.ContinueOnError)
	fl.SetOutput(log)
	b := &bench{log: log}
	var rows, docs, parent string
	fl.IntVar(&b.rounds, "rounds", 3, "rounds of each row")
	fl.Float64Var(&b.scale, "scale", 1, "multiplies the numbers of messages")
	fl.BoolVar(&b.long, "long", false, "full size for the rows that wait in the queue, and the million")
	fl.StringVar(&rows, "rows", "", "groups of rows, with commas between: "+names()+"; default all, the million only with -long")
	fl.StringVar(&docs, "docs", "", "folder in which to write performance.json and img/performance.svg; rows not measured now keep their last result")
	fl.StringVar(&parent, "dir", "", "folder for queues, on the filesystem to measure; default the system's for temporary files")
	fl.StringVar(&b.binary, "backbone", "", "gateway to measure; default: built from this source")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if fl.NArg() > 0 {
		return fmt.Errorf("what is %q for? see -help", fl.Args())
	}
	wanted := strings.FieldsFunc(rows, func(r rune) bool { return r == ',' })
	for _, w := range wanted {
		if !slices.ContainsFunc(sections, func(s section) bool { return s.name == w }) {
			return fmt.Errorf("-rows: no group is named %q; there are %s", w, names())
		}
	}
	if b.dir, err = os.MkdirTemp(parent, "bench"); err != nil {
		return err
	}
	defer func() {
		if rerr := os.RemoveAll(b.dir); err == nil {
			err = rerr
		}
	}()
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	b.table.Command = "go run ./bench/relay " + strings.Join(args, " ")
	b.table.Machine = fmt.Sprintf("%d processors, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	for _, s := range sections {
		if len(wanted) > 0 && !slices.Contains(wanted, s.name) || len(wanted) == 0 && s.long && !b.long {
			continue
		}
		fmt.Fprintf(log, "== %s\n", s.name)
		if err := s.do(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if err := b.table.Text(out); err != nil {
		return err
	}
	if docs != "" {
		return b.write(docs)
	}
	return nil
}

func names() string {
	var out []string
	for _, s := range sections {
		out = append(out, s.name)
	}
	return strings.Join(out, ",")
}

// prepare looks whether the peer is there and builds the gateway.
func (b *bench) prepare() error {
	if why := mta.Postfix.Missing(); why != "" {
		return fmt.Errorf("nothing to measure against: %s", why)
	}
	b.peers = []mta.Kind{mta.Postfix}
	if b.binary != "" {
		return nil
	}
	b.binary = filepath.Join(b.dir, "backbone")
	cmd := exec.Command("go", "build", "-trimpath", "-o", b.binary, "backbone/cmd/backbone")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = b.log
	return cmd.Run()
}

// folder makes a fresh folder.
func (b *bench) folder() (string, error) {
	b.count++
	d := filepath.Join(b.dir, fmt.Sprint(b.count))
	return d, os.Mkdir(d, 0o755)
}

// remove takes a folder away. What it can't remove goes with everything else at the end, or is told then.
func (b *bench) remove(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		b.say("%s stays: %v", dir, err)
	}
}

// say reports progress; what it says may be absolute, since it goes nowhere but to the terminal.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// row adds one round's ratio to a row of the table.
func (b *bench) row(r report.Row, ratio float64) {
	i := slices.IndexFunc(b.table.Rows, func(o report.Row) bool { return o.ID == r.ID && o.Against == r.Against })
	if i < 0 {
		i = len(b.table.Rows)
		b.table.Rows = append(b.table.Rows, r)
	}
	b.table.Rows[i].Rounds = append(b.table.Rows[i].Rounds, ratio)
}

func (b *bench) n(messages int) int { return max(int(float64(messages)*b.scale), 20) }

// write puts the results into the documentation.
func (b *bench) write(docs string) error {
	t := &b.table
	p := filepath.Join(docs, "performance.json")
	if f, err := os.Open(p); err == nil {
		old, rerr := report.Read(f)
		f.Close()
		if rerr != nil {
			return fmt.Errorf("%s: %w", p, rerr)
		}
		old.Merge(t)
		t = old
	} else if !os.IsNotExist(err) {
		return err
	}
	if err := os.MkdirAll(filepath.Join(docs, "img"), 0o755); err != nil {
		return err
	}
	for _, o := range []struct {
		name  string
		write func(io.Writer) error
	}{{"performance.json", t.JSON}, {filepath.Join("img", "performance.svg"), t.Chart}} {
		var text strings.Builder
		if err := o.write(&text); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(docs, o.name), []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return replaceTable(filepath.Join(docs, "performance.md"), t)
}

const (
	tableBegins = "<!-- table: written by go run ./bench/relay -docs docs -->\n"
	tableEnds   = "<!-- end of table -->\n"
)

// replaceTable puts the table in the place of the one in the page.
func replaceTable(page string, t *report.Table) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the marks around the table are missing", page)
	}
	var b strings.Builder
	b.WriteString(before + tableBegins + "\n")
	if err := t.Markdown(&b); err != nil {
		return err
	}
	b.WriteString("\n" + tableEnds + after)
	return os.WriteFile(page, []byte(b.String()), 0o644)
}
