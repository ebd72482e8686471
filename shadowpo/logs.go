package shadowpo

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// textLogs keeps RECV.LOG, SENT.LOG and SYSTEM.LOG as Microsoft Mail's MTAs wrote them (KB Q151215, Q99204), seen from
// the shadow post office: RECV has what came from the post office, SENT what it is to collect. They are a courtesy to
// people and scripts that know them, not a record: lines are dropped rather than waited for. A nil *textLogs keeps
// nothing.
type textLogs struct {
	drop  *Drop
	lines chan logLine
	done  sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

type logLine struct{ file, head, text string }

// maxLog is where a log is moved to NAME.OLD, whose predecessor goes. In octets.
const maxLog = 4 << 20

func newTextLogs(d *Drop) *textLogs {
	l := &textLogs{drop: d, lines: make(chan logLine, 1024)}
	l.done.Go(l.run)
	return l
}

func (l *textLogs) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.lines)
	}
	l.mu.Unlock()
	l.done.Wait()
}

func (l *textLogs) put(line logLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	select {
	case l.lines <- line:
	default: // a person reads these lines: better one less than mail that waits
	}
}

const (
	recvHead = "DATE     RECEIVED   SIZE  FROM TO\r\n"
	sentHead = "DATE     SENT       SIZE  SENDER TO\r\n"
)

func (l *textLogs) received(in *Inbound) {
	if l == nil {
		return
	}
	m := in.Message
	to := make([]string, len(m.To))
	for i, a := range m.To {
		to[i] = a.Display()
	}
	l.put(logLine{"RECV.LOG", recvHead, traffic(m.Place.Length, m.From.Display(), to) + "* " + in.File + "\r\n"})
}

func (l *textLogs) sent(o Outbound, size int64, file string) {
	if l == nil {
		return
	}
	l.put(logLine{"SENT.LOG", sentHead, traffic(size, o.From, o.To) + printable(o.ID) + " " + file + "\r\n"})
}

// traffic is "05/17/96 09:39  1239  NET/PO1/ADMIN NET/PO2/ADMIN".
func traffic(size int64, from string, to []string) string {
	names := make([]string, 0, len(to)+1)
	for _, n := range append([]string{from}, to...) {
		names = append(names, strings.ReplaceAll(printable(n), " ", "_"))
	}
	return fmt.Sprintf("%s  %d  %s\r\n", time.Now().Format("01/02/06 15:04"), size, strings.Join(names, " "))
}

func (l *textLogs) system(e Entry) {
	if l == nil {
		return
	}
	now := time.Now()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\r\nSystem log entry on: %s\r\nBackbone drop %s\r\n", strings.Repeat("-", 78), now.Format("01-02-06 15:04"), l.drop.name)
	fmt.Fprintf(&b, "Message data:\r\nFrom: %s\r\nSubject: %s\r\nFile: %s, kept as BADMAIL/%s%s\r\n", e.From, e.Subject, e.File, e.Name, extMessage)
	for _, r := range e.Reasons {
		b.WriteString("[029] " + r + "\r\n") // 029: could not be parsed (msmail.md 8.1)
	}
	l.put(logLine{"SYSTEM.LOG", "", b.String()})
}

// run writes what waits, and takes along what came meanwhile.
func (l *textLogs) run() {
	for line := range l.lines {
		batch := []logLine{line}
		for more := true; more; {
			select {
			case next, ok := <-l.lines:
				if more = ok; ok {
					batch = append(batch, next)
				}
			default:
				more = false
			}
		}
		if err := l.write(batch); err != nil {
			l.drop.log.Debug("text logs cannot be written", "err", err)
		}
	}
}

func (l *textLogs) write(batch []logLine) error {
	t, err := l.drop.tree()
	if err != nil {
		return err
	}
	defer t.Close()
	dir := t.Folder(logDir)
	texts, heads := map[string]*strings.Builder{}, map[string]string{}
	for _, line := range batch {
		if texts[line.file] == nil {
			texts[line.file] = &strings.Builder{}
		}
		texts[line.file].WriteString(line.text)
		heads[line.file] = line.head
	}
	for name, text := range texts {
		err = errors.Join(err, appendLog(dir, name, heads[name], text.String()))
	}
	return err
}

func appendLog(dir folder, name, head, text string) error {
	h, err := dir.Append(name)
	if err != nil {
		return err
	}
	i, err := h.Stat()
	if err == nil && i.Mode().IsRegular() {
		if i.Size() == 0 {
			text = head + text
		}
		_, err = io.WriteString(h, text)
	}
	err = errors.Join(err, h.Close())
	if err == nil && i.Size() > maxLog {
		err = dir.Replace(name, strings.TrimSuffix(name, ".LOG")+".OLD")
	}
	return err
}
