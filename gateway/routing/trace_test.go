package routing

import (
	"strings"
	"testing"

	"backbone/gateway/mail"
)

func hops(names ...string) (out []mail.Hop) {
	for _, n := range names {
		out = append(out, mail.Hop{Site: n})
	}
	return out
}

func TestTrace(t *testing.T) {
	many := make([]string, 500)
	for i := range many {
		many[i] = "OTHER\x1b[31m"
	}
	for _, tt := range []struct {
		name   string
		trace  []mail.Hop
		site   string
		limit  int
		msmail int // 0: passes
		text   string
	}{
		{"a new message passes", nil, "SITEA", 32, 0, ""},
		{"own name in any case is a loop", hops("SITEB", "sitea", "SITEC"), "SITEA", 32, 4, "sitea > SITEC"},
		{"names alike in nine characters are no loop (Q128627)", hops("NORTHWINDA/PO1"), "NORTHWINDB/PO1", 32, 0, ""},
		{"a name that is a prefix is no loop", hops("SITEA2"), "SITEA", 32, 0, ""},
		{"the last gateway that the limit allows", hops("A", "B"), "SITEA", 3, 0, ""},
		{"one gateway too many", hops("A", "B", "C"), "SITEA", 3, 3, "A > B > C"},
		{"no limit, loops only", hops(many...), "SITEA", 0, 0, ""},
		{"a hostile trace is cut and its escapes are not passed on", hops(many...), "SITEA", 32, 3, "and 468 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := CheckTrace(tt.trace, tt.site, tt.limit)
			switch {
			case tt.msmail == 0 && f != nil:
				t.Fatalf("refused: %v", f)
			case tt.msmail == 0:
			case f == nil || f.MSMail != tt.msmail || !strings.Contains(f.Text, tt.text):
				t.Fatalf("failure %v, want [%03d] with %q", f, tt.msmail, tt.text)
			case strings.Contains(f.Text, "\x1b"):
				t.Fatalf("terminal escape in %q", f.Text)
			}
		})
	}
}
