package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

// shelf is a store that can only be listed: n entries, of which those from broken on can't be read.
type shelf struct {
	queue.Store
	n, broken int
}

func (s shelf) List(_ context.Context, f queue.Filter, after queue.Cursor, limit int) (items []queue.Item, next queue.Cursor, err error) {
	if f.Connector == "none" {
		return nil, "", nil
	}
	at := 0
	if after != "" {
		if at, err = strconv.Atoi(string(after)); err != nil {
			return nil, "", err
		}
	}
	for ; at < s.n && len(items) < limit; at++ {
		if at >= s.broken {
			return nil, "", errors.New("the disk has gone")
		}
		items = append(items, queue.Item{ID: queue.ID(at + 1)})
	}
	if at < s.n {
		next = queue.Cursor(strconv.Itoa(at))
	}
	return items, next, nil
}

func TestAListOfLinesIsWholeAndInOrderOrBreaksOff(t *testing.T) {
	const n = 5*linesPage + 7
	for name, tt := range map[string]struct {
		store       shelf
		f           queue.Filter
		limit, want int
		fault       string
	}{
		"all":                     {store: shelf{n: n, broken: n}, want: n},
		"as many as asked for":    {store: shelf{n: n, broken: n}, limit: linesPage + 1, want: linesPage + 1},
		"a whole page":            {store: shelf{n: n, broken: n}, limit: linesPage, want: linesPage},
		"fewer than asked for":    {store: shelf{n: 3, broken: 3}, limit: 5, want: 3},
		"nothing":                 {store: shelf{n: n, broken: n}, f: queue.Filter{Connector: "none"}},
		"a store that fails soon": {store: shelf{n: n}, fault: "the disk has gone"},
		"a store that fails late": {store: shelf{n: n, broken: 3 * linesPage}, fault: "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Service{Store: tt.store, Log: slog.New(slog.DiscardHandler)}
			c, stop := Local(s)
			defer func() {
				if err := stop(); err != nil {
					t.Error(err)
				}
			}()
			var rows []string
			rerr := c.QueueRows(t.Context(), tt.f, tt.limit, func(r QueueRow) error { rows = append(rows, r.ID); return nil })
			switch {
			case tt.fault != "" && (rerr == nil || !strings.Contains(rerr.Error(), tt.fault)):
				t.Errorf("rows: error %v, want %s", rerr, tt.fault)
			case tt.fault == "" && (rerr != nil || len(rows) != tt.want):
				t.Errorf("%d rows, %v; want %d", len(rows), rerr, tt.want)
			}
			var out bytes.Buffer
			some, err := c.QueueLines(t.Context(), tt.f, tt.limit, &out)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("error %v, want %s", err, tt.fault)
				}
				return
			}
			if err != nil || some != (tt.want > 0) {
				t.Fatal(some, err)
			}
			d := json.NewDecoder(&out)
			for i := range tt.want {
				var it queue.Item
				if err := d.Decode(&it); err != nil || it.ID != queue.ID(i+1) {
					t.Fatalf("line %d is %v, %v", i+1, it.ID, err)
				}
			}
			if d.More() {
				t.Error("and more")
			}
		})
	}
}

// TestRowsSayWhatTheEntriesSay: with texts that hold what parts rows and fields, and others that would move a cursor.
func TestRowsSayWhatTheEntriesSay(t *testing.T) {
	arrived := time.UnixMilli(1_700_000_000_123)
	it := queue.Item{
		ID: 77, State: queue.Held, Reason: "ask\tKim\nand \x1b[31m", LeaseOwner: "n1/x", Attempts: 3, Next: arrived.Add(time.Hour), Body: queue.BodyRef{Size: 12345}, Dest: queue.Dest{Connector: "imc", Host: "h"},
		Envelope: mail.Envelope{Arrived: arrived, Originator: address.Address{Type: address.SMTP, Value: "kim@elsewhere.example"}, Recipients: []mail.Recipient{
			{Address: address.Address{Type: address.MS, Value: "NET/PO2/JLEE"}}, {Address: address.Address{Type: address.MS, Value: "NET/PO2/MKUMAR"}},
		}},
		Last: &mail.Failure{Class: mail.Transient, Code: 451, Text: "not said", Peer: "451 later\u202e"},
	}
	bare := queue.Item{ID: 78, State: queue.Ready, Envelope: mail.Envelope{Arrived: arrived}, Next: arrived}
	b, err := encodeRows([]queue.Item{it, bare})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for i, want := range []QueueRow{
		{ID: it.ID.String(), Arrived: arrived, Size: 12345, State: queue.Held, Next: arrived.Add(time.Hour), Reason: `ask\tKim\nand \x1b[31m`, Owner: "n1/x", Attempts: 3, Dest: "imc:h",
			From: "SMTP:kim@elsewhere.example", To: "MS:NET/PO2/JLEE", Recipients: 2, Failed: true, Last: `451 later\u202e`},
		{ID: bare.ID.String(), Arrived: arrived, State: queue.Ready, Next: arrived, Dest: bare.Dest.String(), From: address.Address{}.String(), To: address.Address{}.String()},
	} {
		got, err := parseRow(lines[i])
		if err != nil || got != want {
			t.Errorf("row %d is %+v, %v; want %+v", i, got, err, want)
		}
	}
	for _, bad := range []string{"", "1\t2", strings.Replace(lines[1], "\t0\t", "\tnone\t", 1)} {
		if _, err := parseRow(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
