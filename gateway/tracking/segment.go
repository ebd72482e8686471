package tracking

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// segment names one file of the log: a UTC day and, when the day needed more than one file, a number.
type segment struct {
	day string // yyyymmdd
	n   int
}

const (
	logSuffix   = ".log"
	indexSuffix = ".idx"
	dayLayout   = "20060102"
)

func (s segment) String() string {
	if s.n == 0 {
		return s.day
	}
	return s.day + "-" + strconv.Itoa(s.n)
}

func (s segment) log(dir string) string   { return filepath.Join(dir, s.String()+logSuffix) }
func (s segment) index(dir string) string { return filepath.Join(dir, s.String()+indexSuffix) }

func (s segment) compare(t segment) int {
	return cmp.Or(cmp.Compare(s.day, t.day), cmp.Compare(s.n, t.n))
}

func parseSegment(name string) (segment, bool) {
	day, num, numbered := strings.Cut(name, "-")
	s := segment{day: day}
	if _, err := time.Parse(dayLayout, day); err != nil || len(day) != len(dayLayout) {
		return segment{}, false
	}
	if numbered {
		n, err := strconv.Atoi(num)
		if err != nil || n < 1 || strconv.Itoa(n) != num {
			return segment{}, false
		}
		s.n = n
	}
	return s, true
}

// listSegments finds the log's files, oldest first. Other files in the folder are none of its business.
func listSegments(dir string) ([]segment, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("tracking log: %w", err)
	}
	var out []segment
	for _, e := range es {
		if name, ok := strings.CutSuffix(e.Name(), logSuffix); ok && e.Type().IsRegular() {
			if s, ok := parseSegment(name); ok {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, segment.compare)
	return out, nil
}

// prune removes what is older than keep or too much, oldest first, but never the newest file. It returns what is left.
func prune(dir string, segs []segment, keep time.Duration, maxBytes int64, now time.Time) ([]segment, error) {
	var errs []error
	remove := func(s segment) {
		for _, p := range []string{s.index(dir), s.log(dir)} {
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("tracking log: %w", err))
			}
		}
	}
	oldest := now.UTC().Add(-keep).Format(dayLayout)
	for keep > 0 && len(segs) > 1 && segs[0].day < oldest {
		remove(segs[0])
		segs = segs[1:]
	}
	if maxBytes > 0 {
		sizes := make([]int64, len(segs))
		var total int64
		for i, s := range segs {
			for _, p := range []string{s.log(dir), s.index(dir)} {
				if st, err := os.Stat(p); err == nil {
					sizes[i] += st.Size()
				}
			}
			total += sizes[i]
		}
		for i := 0; total > maxBytes && len(segs) > 1; i++ {
			remove(segs[0])
			segs = segs[1:]
			total -= sizes[i]
		}
	}
	return segs, errors.Join(errs...)
}

// maxLine bounds a line that is read, in octets; a longer one is skipped. Lines that Append wrote stay far below it:
// at most 500 recipients and a few texts of 4 KiB.
const maxLine = 8 << 20

// scan reads the lines of a file between two offsets, at most to its end. A last line without its end is left out.
// line is valid until fn returns; fn ends the scan with stop.
func scan(path string, from, to int64, fn func(off int64, line []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), 256<<10)
	var long []byte
	for off := from; ; {
		part, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if len(long) <= maxLine {
				long = append(long, part...)
			}
			off += int64(len(part))
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		line, at := part, off-int64(len(long))
		off += int64(len(part))
		if long != nil {
			line, long = append(long, part...), nil
		}
		if len(line) > maxLine {
			continue
		}
		if err := fn(at, line[:len(line)-1]); err != nil {
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
	}
}

// errStop ends a scan without an error.
var errStop = errors.New("stop")

// readLine reads the line that begins at off.
func readLine(f *os.File, off, limit int64) ([]byte, error) {
	buf := make([]byte, 4<<10)
	var line []byte
	for off < limit && len(line) <= maxLine {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), limit-off)], off)
		if i := slices.Index(buf[:n], '\n'); i >= 0 {
			return append(line, buf[:i]...), nil
		}
		line = append(line, buf[:n]...)
		off += int64(n)
		if err != nil {
			return nil, err
		}
	}
	return nil, io.ErrUnexpectedEOF
}
