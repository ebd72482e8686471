package tracking

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Archive is where gateways that share a queue keep their events together: a database. Each goes on writing its own log, which
// stays the evidence when the database is away, and adds to the archive what the log has and a power failure could no longer
// take. Implementations are safe for concurrent use; none waits for a database that is away longer than a few seconds.
type Archive interface {
	// Position tells how far a node's log is in the archive: "" when nothing of it is.
	Position(ctx context.Context, node string) (Cursor, error)
	// Add stores records of a node's log that is in the archive as far as from, and that it is now as far as to: all of that or
	// nothing. ok is false, and nothing is stored, when the archive has the log as far as some other place: that of an earlier
	// call whose answer was lost, or of another process of that name.
	Add(ctx context.Context, node string, from, to Cursor, rs []Record) (ok bool, err error)
	// Named returns records that have one of the names, at most n, the latest of them, in any order.
	Named(ctx context.Context, names []int64, n int) ([]Record, error)
	// Page looks at some records after a mark, in their order, and returns those that q may mean. end is the mark of the last
	// that it looked at, the zero mark when there are no more.
	Page(ctx context.Context, q Query, after Mark) (rs []Record, end Mark, err error)
}

// Mark is where a record stands among those of all gateways: by time, then node, then place in the node's log.
type Mark struct {
	Time   int64 // nanoseconds since 1970
	Node   string
	File   int64 // yyyymmdd times a million, plus the file's number within the day
	Offset int64 // of the line
}

// Compare orders marks.
func (m Mark) Compare(n Mark) int {
	return cmp.Or(cmp.Compare(m.Time, n.Time), strings.Compare(m.Node, n.Node), cmp.Compare(m.File, n.File), cmp.Compare(m.Offset, n.Offset))
}

// Record is one line of a node's log.
type Record struct {
	Mark
	Names []int64 // hashes of all the words by which the event can be found
	Line  string  // as the log has it: JSON, without its end, valid UTF-8 without NUL
}

// Query is what an archive can look for by itself. Whoever asks looks at the records again.
type Query struct {
	From, To time.Time // of the event; zero: no bound
	// All are texts that a record's line has, in lower case, whatever case the line has them in. Of Any, if there are some, it has
	// one, as it is.
	All, Any []string
}

// Partly is the error beside an answer that is only what this gateway's own log says, because the archive could not be asked.
type Partly struct {
	Node string
	Err  error
}

func (p *Partly) Error() string {
	return fmt.Sprintf("only what gateway %s wrote itself: %v", p.Node, p.Err)
}

func (p *Partly) Unwrap() error { return p.Err }

const filesADay = 1_000_000

// number is the segment in a Mark.
func (s segment) number() int64 {
	day, err := strconv.ParseInt(s.day, 10, 64)
	if err != nil { // the name of a segment is a date
		return 0
	}
	return day*filesADay + int64(s.n)
}

func (l *Log) mark(e *Event, p place) Mark {
	return Mark{Time: e.Time.UnixNano(), Node: l.o.Node, File: p.seg.number(), Offset: p.off}
}

// cursor is a place in a listing over all gateways: "@time:file:offset:node", which no cursor of a log looks like.
func (m Mark) cursor() Cursor {
	return Cursor(fmt.Sprintf("@%d:%d:%d:%s", m.Time, m.File, m.Offset, m.Node))
}

func (c Cursor) mark() (m Mark, ok bool) {
	rest, ok := strings.CutPrefix(string(c), "@")
	f := strings.SplitN(rest, ":", 4)
	if !ok || len(f) != 4 {
		return Mark{}, false
	}
	m.Node = f[3]
	for i, into := range []*int64{&m.Time, &m.File, &m.Offset} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return Mark{}, false
		}
		*into = n
	}
	return m, true
}

// event is what a record says, with the node that wrote it.
func (r *Record) event() (e Event, ok bool) {
	if json.Unmarshal([]byte(r.Line), &e) != nil {
		return e, false
	}
	e.Node = r.Node
	return e, true
}

// record is a line as the archive keeps it.
func (l *Log) record(e *Event, p place, line []byte) Record {
	r := Record{Mark: l.mark(e, p), Line: strings.ToValidUTF8(string(line), "\uFFFD")}
	for _, n := range e.names() {
		r.Names = append(r.Names, int64(hash(n)))
	}
	return r
}
