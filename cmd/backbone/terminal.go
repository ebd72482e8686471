package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// The rules for a terminal stand here and nowhere else: a screen that is redrawn, colours and progress only where a person
// looks at it; piped output is plain text, always the same.

// onTerminal tells whether results go to a terminal.
func (a *app) onTerminal() bool { return isTerminal(a.out) }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours tells whether results may be coloured: on a terminal that can, unless NO_COLOR is set (no-color.org).
func (a *app) colours() bool {
	switch f := a.out.(type) {
	case *frame:
		return f.colours
	case *paged:
		return f.colours
	}
	return a.onTerminal() && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// page sends what is printed from now on through $PAGER, or less where there is one, when results go to a terminal; a
// listing that fits on the screen stays there. What it returns waits until the reader has seen enough: leaving early is no
// error. PAGER="" or "cat", a live screen, a dumb terminal: no pager.
func (a *app) page() (end func() error) {
	none := func() error { return nil }
	screen, ok := a.out.(*os.File)
	if !ok || !a.onTerminal() || os.Getenv("TERM") == "dumb" {
		return none
	}
	line, set := os.LookupEnv("PAGER")
	if !set {
		line = "less"
		if _, err := exec.LookPath(line); err != nil {
			return none
		}
	}
	if line == "" || line == "cat" {
		return none
	}
	pager := exec.Command("sh", "-c", line) // $PAGER is a command line (man(1), POSIX)
	pager.Stdout, pager.Stderr = screen, screen
	pager.Env = os.Environ()
	if _, set := os.LookupEnv("LESS"); !set {
		pager.Env = append(pager.Env, "LESS=FRSX") // one screen: print it and go; colours; long lines are cut; what was read stays
	}
	in, err := pager.StdinPipe()
	if err != nil {
		return none
	}
	if err := pager.Start(); err != nil {
		return none
	}
	a.out = &paged{Writer: in, colours: a.colours()}
	return func() error {
		a.out = screen
		err := errors.Join(in.Close(), pager.Wait())
		var exit *exec.ExitError
		if errors.As(err, &exit) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		return err
	}
}

var errReaderLeft = errors.New("nobody reads any more")

// readerLeft tells that the pager has ended.
func (a *app) readerLeft() bool {
	p, ok := a.out.(*paged)
	return ok && p.left
}

// paged is the way to a pager. Once the reader has left, what comes is dropped.
type paged struct {
	io.Writer
	colours bool
	left    bool
}

func (p *paged) Write(b []byte) (int, error) {
	if !p.left {
		_, err := p.Writer.Write(b)
		if p.left = errors.Is(err, syscall.EPIPE); err != nil && !p.left {
			return 0, err
		}
	}
	return len(b), nil
}

const (
	yellow = "33"
	red    = "31"
	bold   = "1"
)

// paint gives text a colour (SGR, ECMA-48 8.3.117) where colours may be.
func (a *app) paint(colour, text string) string {
	if !a.colours() {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// repeat does something again and again until ctx ends. On a terminal each round replaces the one before, on a screen of
// its own, and what was there before comes back at the end.
func (a *app) repeat(ctx context.Context, every time.Duration, do func() error) error {
	if every < 100*time.Millisecond {
		return fmt.Errorf("--every: at least 100ms")
	}
	show := do
	if a.onTerminal() {
		screen, ok := a.out.(*os.File)
		if !ok {
			return errors.New("the terminal is gone")
		}
		// Alternate screen without cursor; see xterm's control sequences, private modes 1049 and 25.
		fmt.Fprint(screen, "\x1b[?1049h\x1b[?25l")
		defer fmt.Fprint(screen, "\x1b[?25h\x1b[?1049l")
		show = func() error { return a.redraw(screen, do) }
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := show(); ctx.Err() != nil {
			return nil // Ctrl-C is how it ends
		} else if err != nil && !errors.Is(err, errNothing) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// frame is what one round prints, for the screen.
type frame struct {
	bytes.Buffer
	colours bool
}

// redraw shows one round as far as it fits, in one write so that nothing flickers.
func (a *app) redraw(screen *os.File, do func() error) error {
	width, height, err := term.GetSize(int(screen.Fd()))
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	round := &frame{colours: a.colours()}
	a.out = round
	derr := do()
	a.out = screen
	var out strings.Builder
	out.WriteString("\x1b[H")
	lines := strings.Split(strings.TrimRight(round.String(), "\n"), "\n")
	for i, l := range lines {
		if i == height-1 && len(lines) > height {
			out.WriteString(cutLine(fmt.Sprintf("... %d more lines", len(lines)-i), width) + "\x1b[K")
			break
		}
		out.WriteString(cutLine(l, width) + "\x1b[K")
		if i < len(lines)-1 {
			out.WriteString("\r\n")
		}
	}
	out.WriteString("\x1b[J")
	if _, err := io.WriteString(screen, out.String()); err != nil {
		return err
	}
	return derr
}

// cutLine keeps a line within the screen's width; colours take no room.
func cutLine(s string, width int) string {
	var b strings.Builder
	n, escape := 0, false
	for _, r := range s {
		switch {
		case escape:
			escape = r != 'm'
		case r == '\x1b':
			escape = true
		case n == width:
			return b.String() + "\x1b[0m"
		default:
			n++
		}
		b.WriteRune(r)
	}
	return b.String()
}

// progress shows on a terminal how far a transfer of octets has got; elsewhere nothing. total 0: not known.
type progress struct {
	w     io.Writer // nil: nobody looks
	label string
	total int64
	done  int64
	shown time.Time
}

func (a *app) progress(label string, total int64) *progress {
	p := &progress{label: label, total: total}
	if isTerminal(a.err) && !a.json {
		p.w = a.err
	}
	return p
}

// add counts octets and draws at most ten times a second. The cursor stays at the line's beginning: a line of the log that
// comes meanwhile takes the bar's place.
func (p *progress) add(n int) {
	p.done += int64(n)
	if p.w == nil || time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = time.Now()
	p.draw()
}

// set says how far it is.
func (p *progress) set(done int64) { p.add(int(done - p.done)) }

const barWidth = 30

func (p *progress) draw() {
	if p.total <= 0 {
		fmt.Fprintf(p.w, "\r%s %s\x1b[K\r", p.label, size(p.done))
		return
	}
	part := min(float64(p.done)/float64(p.total), 1)
	full := int(part * barWidth)
	fmt.Fprintf(p.w, "\r%s [%s%s] %3.0f%%\x1b[K\r", p.label, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), part*100)
}

// end takes the bar away: what stays is the result.
func (p *progress) end() {
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// Reader counts what is read.
func (p *progress) reader(r io.Reader) io.Reader { return countingReader{r, p} }

// writer counts what is written.
func (p *progress) writer(w io.Writer) io.Writer { return countingWriter{w, p} }

type countingReader struct {
	io.Reader
	p *progress
}

func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.p.add(n)
	return n, err
}

type countingWriter struct {
	io.Writer
	p *progress
}

func (c countingWriter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.p.add(n)
	return n, err
}
