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
