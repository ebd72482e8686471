package dsn

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"backbone/gateway/address"

	"github.com/google/go-cmp/cmp"
)

func smtp(s string) address.Address { return address.Address{Type: address.SMTP, Value: s} }

func TestParseReadsWhatOtherMailSystemsWrite(t *testing.T) {
	arrival := time.Date(1997, 3, 14, 9, 5, 0, 0, time.UTC)
	tests := []struct {
		file string
		want Report
	}{
		{"postfix.eml", Report{
			ReportingMTA: MTA{Name: "mail.example.net"}, EnvID: "PO1-000A17", Arrival: arrival,
			Recipients: []Recipient{
				{Original: smtp("mira.kumar@fabrikam.example"), Final: smtp("mkumar@fabrikam.example"), Action: Failed, Status: "5.1.1",
					RemoteMTA: MTA{Name: "mx.fabrikam.example"}, DiagnosticType: "smtp",
					Diagnostic: "550 5.1.1 <mkumar@fabrikam.example>: Recipient address    rejected: User unknown"},
				{Final: smtp("jlee@fabrikam.example"), Action: Delayed, Status: "4.4.1", WillRetryUntil: arrival.AddDate(0, 0, 5)},
			},
			Original: Original{MessageID: "000A17.PO1@northwind.example", Subject: "Stückliste",
				From: "Alex Schmidt-Müller <asmith@northwind.example>", Sent: arrival},
		}},
		{"exchange.eml", Report{
			ReportingMTA: MTA{Name: "EXCH1.contoso.example"},
			Recipients:   []Recipient{{Final: smtp("mira@contoso.example"), Name: "Kumar, Mira", Action: Failed, Status: "5.0.0"}},
			Original:     Original{MessageID: "c1a@northwind.example", Subject: "Stock counts"},
		}},
		{"exim-plain.eml", Report{Recipients: []Recipient{
			{Final: smtp("nobody@example.org"), Action: Failed, Status: "5.0.0"},
			{Final: smtp("somebody@example.org"), Action: Failed, Status: "5.0.0"},
		}}},
		{"no-end.eml", Report{
			ReportingMTA: MTA{Name: "old.example"},
			Recipients:   []Recipient{{Final: smtp("ben@old.example"), Action: Failed, Status: "5.2.2"}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			for _, ends := range []string{"\n", "\r\n"} {
				got, err := Parse(strings.NewReader(strings.ReplaceAll(string(b), "\n", ends)))
				if err != nil {
					t.Fatal(err)
				}
				got.Header = nil
				if d := cmp.Diff(&tt.want, got, cmp.Comparer(time.Time.Equal)); d != "" {
					t.Errorf("lines ending %q, -want +got:\n%s", ends, d)
				}
			}
		})
	}
}

func TestParseRefusesWhatIsNoReport(t *testing.T) {
	for name, in := range map[string]string{
		"an ordinary message":                  "From: a@b\r\nSubject: Mail failure\r\n\r\nYour message did not arrive.\r\n",
		"nothing at all":                       "",
		"a report type without status":         "Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n\r\nHi\r\n--x--\r\n",
		"a status without a recipient":         "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\nAction: failed\r\n",
		"a header beyond the limit":            "Subject: " + strings.Repeat("x\r\n ", MaxHeader) + "\r\n\r\n",
		"a read receipt":                       "Content-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822; a@b\r\n",
		"a status hidden under too many parts": nested(maxDepth + 1),
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := Parse(strings.NewReader(in)); !errors.Is(err, ErrNotReport) {
				t.Errorf("got %v, %v, want ErrNotReport", r, err)
			}
		})
	}
	if _, err := Parse(strings.NewReader(nested(maxDepth))); err != nil {
		t.Errorf("a status under as many parts as allowed: %v", err)
	}
}

// nested wraps a status into n multiparts.
func nested(n int) string {
	var b strings.Builder
	for i := range n {
		c := string(rune('a' + i))
		b.WriteString("Content-Type: multipart/mixed; boundary=" + c + "\r\n\r\n--" + c + "\r\n")
	}
	b.WriteString("Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; a@b\r\nAction: failed\r\n")
	return b.String()
}

func TestParseTellsABrokenStreamFromABadReport(t *testing.T) {
	in := io.MultiReader(strings.NewReader(nested(1)), iotest.ErrReader(io.ErrUnexpectedEOF))
	_, err := Parse(in)
	if errors.Is(err, ErrNotReport) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want the reader's own error", err)
	}
}

func TestParseIsBounded(t *testing.T) {
	status := "Content-Type: message/delivery-status\r\n\r\n" + strings.Repeat("Final-Recipient: rfc822; a@b\r\n\r\n", maxRecipients+5)
	r, err := Parse(strings.NewReader(status))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.Recipients); got != maxRecipients {
		t.Errorf("got %d recipients, want the limit %d", got, maxRecipients)
	}
	endless := io.MultiReader(strings.NewReader("Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; a@b\r\nX: "), &letters{left: 1 << 30})
	counted := &counter{r: endless}
	if _, err := Parse(counted); err != nil {
		t.Fatal(err)
	}
	if counted.n > maxStatus+1<<20 {
		t.Errorf("read %d octets of an endless line", counted.n)
	}
}

type letters struct{ left int }

func (l *letters) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), l.left)
	for i := range p[:n] {
		p[i] = 'x'
	}
	l.left -= n
	return n, nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		// What was read can be written, and read again to the same recipients.
		again := rebuild(t, r)
		if d := cmp.Diff(r.Recipients, again.Recipients, cmp.Comparer(sameSecond)); d != "" {
			t.Errorf("-first +second:\n%s", d)
		}
	})
}
