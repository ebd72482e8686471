package translate

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s, -want +got:\n%s", file, d)
	}
}

func inputs(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

func book() *connectortest.Book {
	b := &connectortest.Book{}
	b.Add(mkumar, "Kumar, Mira", smtp("mkumar@sitea.example"))
	b.Add(asmith, "Smith, Alex", smtp("asmith@northwind.example"))
	return b
}

// show makes line ends and control characters visible.
func show(s string) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprintf("%+q", s), `"`), `\r\n`, "<CRLF>\n")
}

func notesText(notes []mail.Note) string {
	var b strings.Builder
	for _, n := range notes {
		fmt.Fprintf(&b, "note: %s %s: %s\n", n.Action, n.Field, n.Detail)
	}
	return b.String()
}

// Internet mail as PO2's users get it: the file's octets and the ledger.
func TestOutGolden(t *testing.T) {
	for _, name := range inputs(t, "testdata/out/*.eml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			env := mail.Envelope{ID: "SITEA-17", MessageID: "17@example.org", Kind: mail.KindMessage, Originator: smtp("jm@example.org"),
				Recipients: []mail.Recipient{{Address: mkumar}}, Arrived: now, Trace: []mail.Hop{{Site: "SITEA", At: now}}}
			page := 850
			switch base := filepath.Base(name); {
			case base == "chinese.eml":
				page = 936
			case base == "turkish.eml":
				page = 857
			case base == "thai.eml":
				page = 874
			case strings.Contains(base, "dsn"):
				env.Kind, env.Originator, env.Recipients[0].Address, env.About = mail.KindReport, address.Address{}, asmith, "SITEA-9"
			case base == "mdn.eml":
				env.Kind = mail.KindReceipt
			}
			po := postOffice(t, "NORTHWIND/PO2", page)
			po.Postmaster = ms("NORTHWIND/SITEA/POSTMASTER")
			out, err := po.Out(&env, connectortest.Bytes(content), book())
			if err != nil {
				t.Fatal(err)
			}
			var file bytes.Buffer
			notes, err := mmff.Encode(&file, out.Message, po.EncodeOptions())
			if err != nil {
				t.Fatal(err)
			}
			side, err := out.Side.Encode()
			if err != nil {
				t.Fatal(err)
			}
			u, _ := po.Page.Decode(file.Bytes())
			golden(t, strings.TrimSuffix(name, ".eml")+".golden", show(u)+"\n\n"+string(side)+"\n"+notesText(append(out.Notes, notes...)))
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// PO1's mail as the rest of the world gets it.
func TestInGolden(t *testing.T) {
	for _, name := range inputs(t, "testdata/in/*.msg") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			po := postOffice(t, "NORTHWIND/PO1", 850)
			po.RichText = ForeignRichText
			if po.Zone, err = time.LoadLocation("Europe/Berlin"); err != nil {
				t.Fatal(err)
			}
			m, err := mmff.NewDecoder(bytes.NewReader(b), int64(len(b)), mmff.Options{CodePage: po.Page}).Next()
			if err != nil {
				t.Fatal(err)
			}
			a := arrival("A1")
			a.Book = book()
			in, err := po.In(m, nil, a)
			if err != nil {
				t.Fatal(err)
			}
			r := in.Open()
			var content bytes.Buffer
			if _, err := content.ReadFrom(r); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			safeForSMTP(t, content.Bytes())
			e := in.Envelope
			var s strings.Builder
			fmt.Fprintf(&s, "kind %s, originator %s %q, priority %s, sent %s, extra %v\n", e.Kind, e.Originator, e.Name, e.Priority, e.Sent.Format(time.RFC3339), e.Extra)
			for _, r := range e.Recipients {
				fmt.Fprintf(&s, "to %s %q notify %d\n", r.Address, r.Name, r.Notify)
			}
			golden(t, strings.TrimSuffix(name, ".msg")+".golden", s.String()+notesText(in.Notes)+"\n"+strings.ReplaceAll(content.String(), "\r\n", "\n"))
		})
	}
}
