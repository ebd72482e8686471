package control

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"backbone/queue"
)

// Record is one line of the audit log: an operator's change, or a look at a message's content.
type Record struct {
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
	Via    string    `json:"via"` // "socket" or "dashboard"
	Verb   string    `json:"verb"`
	What   string    `json:"what,omitempty"`
	Reason string    `json:"reason,omitempty"`
	// Op ties the two lines of a change together: the first, with Begun, stands before it is made, the second says how
	// it ended. Latest gives one record for both; one that still has Begun then has no known end.
	Op      string `json:"op,omitempty"`
	Begun   bool   `json:"begun,omitempty"`
	Changed int    `json:"changed,omitempty"`
	Error   string `json:"error,omitempty"`
}

type viaKey struct{}

// Via marks the changes made with ctx as coming by another way than the control socket, for the audit log.
func Via(ctx context.Context, way string) context.Context {
	return context.WithValue(ctx, viaKey{}, way)
}

// Audit is the audit log: a file of JSON lines that is only ever appended to, each line synced before the change that
// it speaks of is made. It is never rotated or cut by the program, so that chattr +a can hold everybody else to that, too.
type Audit struct {
	mu sync.Mutex
	f  *os.File
}

// OpenAudit opens or makes the log at path, readable by its owner only.
func OpenAudit(path string) (*Audit, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	a := &Audit{f: f}
	if err := a.endLine(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit log: %w", err), f.Close())
	}
	return a, nil
}

// endLine ends a line that a crash has torn, so that the next one stands by itself.
func (a *Audit) endLine() error {
	end, err := a.f.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return err
	}
	var last [1]byte
	if _, err := a.f.ReadAt(last[:], end-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = a.f.Write([]byte("\n"))
	return err
}

// Close closes the file.
func (a *Audit) Close() error { return a.f.Close() }

// Append writes a record durably.
func (a *Audit) Append(r Record) error {
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	b, err := MarshalJSON(r)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if err := a.f.Sync(); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// maxAuditTail bounds how much of the log one look reads, in octets from its end.
const maxAuditTail = 4 << 20

// Latest returns the newest n records, newest first, and whether there are older ones. A line that can't be read is
// shown as a record whose error says so: evidence is never left out in silence.
func (a *Audit) Latest(n int) (out []Record, more bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end, err := a.f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, false, fmt.Errorf("audit log: %w", err)
	}
	from := max(0, end-maxAuditTail)
	sc := bufio.NewScanner(io.NewSectionReader(a.f, from, end-from))
	sc.Buffer(nil, maxAuditTail+1)
	if from > 0 {
		sc.Scan() // probably the end of a line
		more = true
	}
	open := map[string]int{}
	for sc.Scan() {
		var r Record
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			r = Record{Error: "unreadable line: " + strconv.Quote(sc.Text())}
		}
		if i, ok := open[r.Op]; ok && !r.Begun {
			out[i] = r
			delete(open, r.Op)
			continue
		}
		if r.Begun {
			open[r.Op] = len(out)
		}
		out = append(out, r)
	}
	if err := sc.Err(); err != nil {
		return nil, false, fmt.Errorf("audit log: %w", err)
	}
	slices.Reverse(out)
	if n > 0 && len(out) > n {
		out, more = out[:n], true
	}
	return out, more, nil
}

// audited records that a change is about to be made, makes it, and records how it ended.
func (s *Service) audited(ctx context.Context, r Record, do func() (Changed, error)) (Changed, error) {
	if s.Audit == nil {
		return do()
	}
	r.Via = "socket"
	if way, ok := ctx.Value(viaKey{}).(string); ok {
		r.Via = way
	}
	r.Op, r.Begun = rand.Text(), true
	if err := s.Audit.Append(r); err != nil {
		return Changed{}, fmt.Errorf("not done, since it can't be recorded: %w", err)
	}
	c, err := do()
	r.Begun, r.Changed = false, c.Changed
	if err != nil {
		r.Changed, r.Error = 0, err.Error()
	}
	// A second copy, where another user keeps it: who can rewrite the file can seldom rewrite the journal.
	s.Log.Info("operator", "by", r.By, "via", r.Via, "verb", r.Verb, "what", r.What, "reason", r.Reason, "changed", r.Changed, "error", r.Error, "op", r.Op)
	if aerr := s.Audit.Append(r); aerr != nil {
		s.Log.Error("the end of a change is not on the audit log", "verb", r.Verb, "what", r.What, "by", r.By, "err", aerr)
	}
	return c, err
}

// filterText is a filter as the audit log names it: the CLI's flags.
func filterText(f queue.Filter) string {
	var parts []string
	q := filterTo(f)
	for _, k := range slices.Sorted(maps.Keys(q)) {
		parts = append(parts, k+"="+strings.Join(q[k], ","))
	}
	if len(parts) == 0 {
		return "every entry"
	}
	return strings.Join(parts, " ")
}

func suspendText(d queue.Dest) string {
	if d.Host == "" {
		return "connector " + d.Connector
	}
	return d.String()
}

func (s *Service) auditRoutes(mux *http.ServeMux) {
	get(mux, "/v1/audit", func(r *http.Request) (any, error) {
		if s.Audit == nil {
			return nil, &Error{http.StatusNotFound, "this site keeps no audit log"}
		}
		out, _, err := s.Audit.Latest(pageSize(r))
		return out, err
	})
}
