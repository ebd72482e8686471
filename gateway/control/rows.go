package control

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"backbone/gateway/mail"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// QueueRow is as much of an entry as a listing for people has. Texts are harmless on a terminal.
type QueueRow struct {
	ID         string
	Arrived    time.Time
	Size       int64 // octets
	State      queue.State
	Next       time.Time
	Reason     string
	Owner      string // of the lease
	Attempts   int
	Dest       string
	From, To   string // To is the first recipient
	Recipients int
	Failed     bool   // an attempt has failed
	Last       string // the peer's words, else the failure
}

const rowFields = 14

// encodeRows writes rows as QueueRows reads them: fields with TABs between them, which no text has that is plain.
func encodeRows(items []queue.Item) ([]byte, error) {
	var out []byte
	text := func(s string) { out = append(append(out, tracking.Plain(s)...), '\t') }
	number := func(n int64) { out = append(strconv.AppendInt(out, n, 10), '\t') }
	for i := range items {
		it := &items[i]
		to := mail.Recipient{}
		if len(it.Envelope.Recipients) > 0 {
			to = it.Envelope.Recipients[0]
		}
		last, failed := "", int64(0)
		if it.Last != nil {
			if last, failed = it.Last.Peer, 1; last == "" {
				last = it.Last.Error()
			}
		}
		text(it.ID.String())
		number(it.Envelope.Arrived.UnixMilli())
		number(it.Body.Size)
		text(string(it.State))
		number(it.Next.UnixMilli())
		text(it.Reason)
		text(it.LeaseOwner)
		number(int64(it.Attempts))
		text(it.Dest.String())
		text(it.Envelope.Originator.String())
		text(to.Address.String())
		number(int64(len(it.Envelope.Recipients)))
		number(failed)
		text(last)
		out[len(out)-1] = '\n'
	}
	return out, nil
}

// maxRow bounds a row: a recipient and a peer's words, none longer than what a message may have in its header.
const maxRow = 1 << 20

// QueueRows hands over the entries that f selects, at most limit of them (0: all), while the daemon still reads them.
func (c *Client) QueueRows(ctx context.Context, f queue.Filter, limit int, each func(QueueRow) error) error {
	q := filterTo(f)
	q.Set("format", "rows")
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/queue/lines", q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxRow)
	for lines.Scan() {
		r, err := parseRow(lines.Text())
		if err != nil {
			return err
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

func parseRow(line string) (QueueRow, error) {
	f := strings.Split(line, "\t")
	if len(f) != rowFields {
		return QueueRow{}, fmt.Errorf("the daemon's list has a row of %d fields, want %d: is it of another version?", len(f), rowFields)
	}
	var err error
	number := func(s string) int64 {
		n, nerr := strconv.ParseInt(s, 10, 64)
		if nerr != nil {
			err = fmt.Errorf("the daemon's list: %w", nerr)
		}
		return n
	}
	return QueueRow{
		ID: f[0], Arrived: time.UnixMilli(number(f[1])), Size: number(f[2]), State: queue.State(f[3]), Next: time.UnixMilli(number(f[4])), Reason: f[5], Owner: f[6],
		Attempts: int(number(f[7])), Dest: f[8], From: f[9], To: f[10], Recipients: int(number(f[11])), Failed: number(f[12]) == 1, Last: f[13],
	}, err
}
