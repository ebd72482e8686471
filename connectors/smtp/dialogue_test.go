package smtp

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"github.com/pelletier/go-toml/v2"
)

// TestDialogues runs testdata/dialogues/*.txt against a server. Their lines:
//
//	# comment               = key = value  (of the section, before anything else; ${CERT} and ${USERS} are files)
//	> command               sent with CRLF; \r \n \0 \xNN \\ stand for octets
//	>> octets               sent as they are
//	< reply                 one reply line; * is any run of characters
//	starttls                TLS from here on
//	end                     the server has closed the connection
//	connect                 a new connection
//	refuse ADDRESS CODE ENHANCED text     what the gateway's Screen says of a recipient
//	answer CODE ENHANCED text             what the gateway's Accept says of the next message
//	taken ORIGINATOR RCPT...              the next message taken, with its envelope
//	| line                  a line of its content, behind the fields that we added
//	has text                its envelope, as JSON-like text, holds this
func TestDialogues(t *testing.T) {
	paths, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { runDialogue(t, path) })
	}
}

type dialogue struct {
	*served
	c     *talk
	taken int
	msg   connectortest.Accepted
	lines []string // of msg's content, those we added left out
	read  bool     // the dialogue looks at them
}

func runDialogue(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	script := string(text)
	script = strings.ReplaceAll(script, "${CERT}", file(t, "cert.pem", testCA().issue(t, "mx.sitea.example")))
	script = strings.ReplaceAll(script, "${USERS}", file(t, "users", []byte("# test\nmira:$2a$04$DAizFuH.jLal63t4id0MOuZxWKOptgSNA2m3wkcQZpypP29S4s4r2\n")))
	var settings strings.Builder
	steps := strings.Split(script, "\n")
	for _, s := range steps {
		if line, ok := strings.CutPrefix(s, "= "); ok {
			settings.WriteString(line + "\n")
		}
	}
	d := &dialogue{served: serve(t, func(c *Config) {
		if err := toml.Unmarshal([]byte(settings.String()), c); err != nil {
			t.Fatalf("%s: settings: %v", path, err)
		}
	})}
	for i, s := range steps {
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("%s:%d: %s", path, i+1, s)
				}
			}()
			d.step(t, s)
		}()
		if t.Failed() {
			t.Logf("%s:%d: %s", path, i+1, s)
			return
		}
	}
	if d.read && len(d.lines) > 0 {
		t.Errorf("%s: content goes on: %q", path, d.lines)
	}
	if n := len(d.gw.Taken()); n != d.taken {
		t.Errorf("%s: %d messages taken, the dialogue knows of %d: last one\n%s", path, n, d.taken, d.gw.Taken()[n-1].Content)
	}
}

func (d *dialogue) step(t *testing.T, s string) {
	t.Helper()
	word, rest, _ := strings.Cut(s, " ")
	needsConn := map[string]bool{">": true, ">>": true, "<": true, "starttls": true, "end": true, "connect": true}
	if needsConn[word] && (d.c == nil || word == "connect") {
		d.c = d.dialOnly()
		d.c.t = t
	}
	switch word {
	case "", "#", "=", "connect":
	case ">":
		d.c.raw(unescape(t, rest) + "\r\n")
	case ">>":
		d.c.raw(unescape(t, rest))
	case "<":
		if got := d.c.line(); !match(rest, got) {
			t.Fatalf("reply %q, want %q", got, rest)
		}
	case "starttls":
		d.c.startTLS()
	case "end":
		d.c.end()
	case "refuse":
		f := strings.SplitN(rest, " ", 4)
		a, err := address.Parse(f[0])
		if err != nil {
			t.Fatal(err)
		}
		d.gw.Refuse(a, scripted(t, f[1:]))
	case "answer":
		d.gw.Script(scripted(t, strings.SplitN(rest, " ", 3)))
	case "taken":
		if d.read && len(d.lines) > 0 {
			t.Fatalf("content goes on: %q", d.lines)
		}
		d.msg = d.gw.Wait(t, d.taken+1)[d.taken]
		d.taken++
		got := d.msg.Envelope.Originator.String()
		for _, r := range d.msg.Envelope.Recipients {
			got += " " + r.Address.String()
		}
		if got != rest {
			t.Fatalf("taken %s, want %s", got, rest)
		}
		d.lines, d.read = ownFieldsCut(t, d.msg.Content), false
	case "|":
		if len(d.lines) == 0 {
			t.Fatal("content ends before this line")
		}
		if want := unescape(t, rest); d.lines[0] != want {
			t.Fatalf("content line %q, want %q", d.lines[0], want)
		}
		d.lines, d.read = d.lines[1:], true
	case "has":
		if env := fmt.Sprintf("%+v %+v", d.msg.Envelope, d.msg.Notes); !strings.Contains(env, rest) {
			t.Fatalf("envelope lacks %q:\n%s", rest, env)
		}
	default:
		t.Fatalf("unknown step %q", word)
	}
}

func scripted(t *testing.T, f []string) error {
	t.Helper()
	code, err := strconv.Atoi(f[0])
	if err != nil {
		t.Fatal(err)
	}
	class := mail.Transient
	if code >= 500 {
		class = mail.Permanent
	}
	return fmt.Errorf("wrapped: %w", &mail.Failure{Class: class, Code: code, Enhanced: f[1], Text: f[2]})
}

// ownFieldsCut splits content into lines, without our Received field and the fields that we added to a message that
// lacked them.
func ownFieldsCut(t *testing.T, content []byte) []string {
	t.Helper()
	s := string(content)
	if strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\r") || strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\n") {
		t.Errorf("content has a bare CR or LF: %q", s)
	}
	if !strings.HasPrefix(s, "Received: from ") {
		t.Fatalf("content does not begin with our Received field: %.200q", s)
	}
	lines := strings.Split(strings.TrimSuffix(s, "\r\n"), "\r\n")
	for i := range lines {
		l := lines[i]
		own := strings.HasPrefix(l, "Received: from client.example ([127.0.0.1])") || strings.HasPrefix(l, "\tby mx.sitea.example with ") ||
			strings.HasPrefix(l, "\t") && i < 3 || strings.HasPrefix(l, "Message-ID: <") && strings.HasSuffix(l, "@mx.sitea.example>") || strings.HasPrefix(l, "Date: ")
		if !own {
			return lines[i:]
		}
	}
	return nil
}

// unescape undoes \r \n \0 \xNN \\, and *N, which repeats what stands before it in braces: {ab}*3.
func unescape(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '{' && strings.Contains(s[i:], "}*"):
			end := i + strings.Index(s[i:], "}*")
			n := 0
			j := end + 2
			for ; j < len(s) && s[j] >= '0' && s[j] <= '9'; j++ {
				n = n*10 + int(s[j]-'0')
			}
			b.WriteString(strings.Repeat(unescape(t, s[i+1:end]), n))
			i = j - 1
		case s[i] != '\\' || i+1 == len(s):
			b.WriteByte(s[i])
		default:
			i++
			switch s[i] {
			case 'r':
				b.WriteByte('\r')
			case 'n':
				b.WriteByte('\n')
			case '0':
				b.WriteByte(0)
			case 'x':
				n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
				if err != nil {
					t.Fatal(err)
				}
				b.WriteByte(byte(n))
				i += 2
			default:
				b.WriteByte(s[i])
			}
		}
	}
	return b.String()
}

var _ connectors.Acceptor = (*connectortest.Acceptor)(nil)
