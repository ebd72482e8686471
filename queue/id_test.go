package queue

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseID(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     ID
		wrong    string
	}{
		{"zero", "0", 0, ""},
		{"letters that look like digits", "oIl", 1<<5 | 1, ""},
		{"lower case", "zz", 1023, ""},
		{"leading zeros and groups", "00-1A", 42, ""},
		{"the largest", "FZZZZZZZZZZZZ", math.MaxUint64, ""},
		{"one more than the largest", "G000000000000", 0, "larger"},
		{"fourteen digits", "10000000000000", 0, "larger"},
		{"nothing", "", 0, "no digits"},
		{"U is no digit", "1U", 0, `"U"`},
		{"a leading hyphen is an option, not an ID", "-1", 0, `"-"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseID(c.in)
			if c.wrong == "" {
				if err != nil || got != c.want {
					t.Fatalf("got %d, %v, want %d", got, err, c.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Fatalf("got %d, %v, want an error that says %s", got, err, c.wrong)
			}
		})
	}
}

func TestIDTextRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := ID(rapid.Uint64().Draw(t, "id"))
		if len(id.String()) > 13 {
			t.Fatalf("%s has more than 13 characters", id)
		}
		j, err := json.Marshal(map[ID]ID{id: id})
		if err != nil {
			t.Fatal(err)
		}
		var back map[ID]ID
		if err := json.Unmarshal(j, &back); err != nil || back[id] != id {
			t.Fatalf("%s came back as %v, %v", j, back, err)
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "0", "1A", "FZZZZZZZZZZZZ", "G000000000000", "o-i-l", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		if again, err := ParseID(id.String()); err != nil || again != id {
			t.Fatalf("%q is %s, which reads back as %s, %v", s, id, again, err)
		}
	})
}

func TestParseDest(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Dest
	}{
		{"connector and host", "internet:example.com", Dest{"internet", "example.com"}},
		{"a whole connector", "internet", Dest{"internet", ""}},
		{"the host may hold colons", "internet:[2001:db8::1]:25", Dest{"internet", "[2001:db8::1]:25"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseDest(c.in)
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
	for _, s := range []string{"", ":example.com"} {
		if d, err := ParseDest(s); err == nil {
			t.Errorf("%q was taken as %+v", s, d)
		}
	}
}

func TestDestCovers(t *testing.T) {
	d := Dest{"internet", "example.com"}
	for _, c := range []struct {
		name string
		by   Dest
		want bool
	}{
		{"itself", d, true},
		{"its connector", Dest{"internet", ""}, true},
		{"another host", Dest{"internet", "example.org"}, false},
		{"another connector", Dest{"x400", ""}, false},
	} {
		if got := c.by.Covers(d); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
