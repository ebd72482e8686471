package x400

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/connectors/x400/p1"
	"backbone/gateway/mail"
)

// attached is what a message has as its attachment in base64.
func attached(t *testing.T, content []byte) []byte {
	t.Helper()
	_, rest, ok := strings.Cut(string(content), "Content-Transfer-Encoding: base64\r\n\r\n")
	if !ok {
		t.Fatalf("no attachment in %.2000q", content)
	}
	text, _, _ := strings.Cut(rest, "--")
	b, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\r", "", "\n", "").Replace(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAContentThatCantBeReadIsCarriedAsItCame(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) { caller.Transport, answerer.Transport = "rfc1006", "rfc1006" })
	ctx := context.Background()
	sender := a.opened.Connectors[0].(*Connector)
	good, err := os.ReadFile("p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	apdu, err := p1.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	contents := [][]byte{{}, []byte("no P22 at all"), {0xa0, 0x80}, {0xa0, 3, 0x31, 1}, bytes.Repeat([]byte{0xa0, 0x80}, 50_000), bytes.Repeat([]byte{0}, 200_000)}
	association, err := sender.peer.transport.dial(ctx, sender.peer)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range contents {
		v := *apdu.Message.Envelope
		v.ID.Local = fmt.Sprint("broken-", i)
		head, err := v.Header(int64(len(c)), p1.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := association.(*p1Association).send(ctx, &octets{joined{head: head, body: bytes.NewReader(c), size: int64(len(head) + len(c))}, func() {}}); err != nil {
			t.Fatalf("content %d was not taken: %v", i, err)
		}
	}
	if err := association.release(ctx); err != nil {
		t.Error(err)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
	taken := b.gw.Taken()
	if len(taken) != len(contents) {
		t.Fatalf("%d taken, want %d", len(taken), len(contents))
	}
	for i, c := range contents {
		m := taken[i]
		if m.Envelope.Kind != mail.KindMessage || m.Envelope.ContentType != "message/rfc822" || len(m.Envelope.Recipients) == 0 || len(m.Notes) == 0 {
			t.Errorf("content %d: %+v, notes %v", i, m.Envelope, m.Notes)
		}
		if got := attached(t, m.Content); !bytes.Equal(got, c) {
			t.Errorf("content %d: %d octets, want the %d that came", i, len(got), len(c))
		}
	}
}

func TestAMessageThatCantBeMappedIsCarriedAsItIs(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) { caller.Transport, answerer.Transport = "rfc1006", "rfc1006" })
	sender := a.opened.Connectors[0].(*Connector)
	contents := map[string]string{
		"10,000 parts":                "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 10_000) + "--b--\r\n",
		"a header without end":        strings.Repeat("X: y\r\n", 100_000),
		"a header that is none":       "this is no header\r\nneither is this\r\n",
		"a multipart that breaks off": "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/pl",
		"broken base64":               "Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA=AAA\r\n",
		"octets":                      strings.Repeat("\x00\xff", 1000),
	}
	n, noted := 0, 0
	for name, c := range contents {
		m := message(fmt.Sprint("KEY-", n), 10)
		m.Envelope.Subject = "Subject of " + name
		m.Content = connectortest.Bytes([]byte(c))
		m.Note = func(n mail.Note) {
			if strings.Contains(n.Detail, "can't be mapped") {
				noted++
			}
		}
		before := noted
		if got := sender.Deliver(context.Background(), m)[0]; got.State != mail.Delivered {
			t.Errorf("%s: %+v", name, got.Failure)
			continue
		}
		n++
		taken := b.gw.Taken()
		if len(taken) != n {
			t.Fatalf("%s: %d taken, want %d", name, len(taken), n)
		}
		if noted == before {
			t.Logf("%s was mapped", name)
		} else if got := attached(t, taken[n-1].Content); string(got) != c {
			t.Errorf("%s: %d octets, want the %d that it has", name, len(got), len(c))
		} else if taken[n-1].Envelope.Subject != m.Envelope.Subject {
			t.Errorf("%s: subject %q", name, taken[n-1].Envelope.Subject)
		}
	}
	if noted < 4 {
		t.Errorf("%d were carried: the test looks at nothing", noted)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
}

// TestEveryMutantOfAContentIsTaken: whatever is wrong with a content, at its beginning or deep within, the gateway takes it once,
// and the peer is neither told that it failed nor kept repeating it.
func TestEveryMutantOfAContentIsTaken(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) { caller.Transport, answerer.Transport = "rfc1006", "rfc1006" })
	from := a.opened.Connectors[0].(*Connector).peer
	to := b.opened.Connectors[0].(*Connector).peer
	m := message("KEY", 10)
	m.Content = connectortest.Bytes([]byte("Subject: =?utf-8?q?K=C3=A4fer?=\r\nFrom: a@sitea.example\r\nTo: b@siteb.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nK\u00e4fer\r\n--b\r\nContent-Type: application/octet-stream; name=x.bin\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgcICQ==\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n--b--\r\n"))
	apdu, err := from.render(m)
	if err != nil {
		t.Fatal(err)
	}
	defer apdu.done()
	good := make([]byte, apdu.size-int64(len(apdu.head)))
	if _, err := io.ReadFull(apdu.body, good); err != nil {
		t.Fatal(err)
	}
	opaque, taken := 0, 0
	var last connectortest.Accepted
	b.gw.OnTaken(func(_ context.Context, m connectortest.Accepted) error {
		last = m
		taken++
		return nil
	})
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		bad := slices.Clone(good)
		for range 1 + rnd.IntN(3) {
			switch at := rnd.IntN(len(bad)); rnd.IntN(3) {
			case 0:
				bad[at] = byte(rnd.Uint32())
			case 1:
				bad = slices.Delete(bad, at, min(len(bad), at+1+rnd.IntN(4)))
			default:
				bad[at] ^= 1 << rnd.IntN(8)
			}
		}
		v := from.envelope(&m.Envelope)
		v.ID.Local, v.ContentType = fmt.Sprint("mutant-", i), p1.ContentType{BuiltIn: p1.ContentP22}
		head, err := v.Header(int64(len(bad)), p1.Options{})
		if err != nil {
			t.Fatal(err)
		}
		here := &arrival{&arrivals{peer: to, gw: b.gw}, newSpool(to.dir, 0), t.Context()}
		if err := here.offer(append(head, bad...)); err != nil {
			t.Fatalf("mutant %d: %v\n%x", i, err, bad)
		}
		if taken != i+1 || last.Envelope.Kind == mail.KindReport {
			t.Fatalf("mutant %d: %d taken, the last is a %s\n%x\n%s", i, taken, last.Envelope.Kind, bad, last.Content)
		}
		if strings.Contains(string(last.Content), "CONTENT.P22") {
			if opaque++; !bytes.Equal(attached(t, last.Content), bad) {
				t.Fatalf("mutant %d is not what came", i)
			}
		}
	}
	if opaque < 100 {
		t.Errorf("%d were carried as they came: the test looks at nothing", opaque)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
}

func TestAContentInPiecesThatAreNoneIsKeptAside(t *testing.T) {
	a, b := pair(t, func(caller, answerer *Config) { caller.Transport, answerer.Transport = "rfc1006", "rfc1006" })
	receiver := b.opened.Connectors[0].(*Connector)
	good, err := os.ReadFile("p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	apdu, err := p1.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	head, err := apdu.Message.Envelope.Header(5, p1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	content := []byte{0x24, 5, 0x80, 1, 'x', 4, 0} // its first piece is a [0]
	whole := append(bytes.TrimSuffix(head, []byte{4, 5}), content...)
	sender := a.opened.Connectors[0].(*Connector)
	association, err := sender.peer.transport.dial(t.Context(), sender.peer)
	if err != nil {
		t.Fatal(err)
	}
	if err := association.(*p1Association).send(t.Context(), &octets{joined{head: whole, size: int64(len(whole))}, func() {}}); err != nil {
		t.Errorf("the peer is told to repeat it: %v", err)
	}
	if err := association.release(t.Context()); err != nil {
		t.Error(err)
	}
	if kept, err := receiver.Quarantined(t.Context()); err != nil || len(kept) != 1 {
		t.Errorf("kept aside: %+v, %v; want one", kept, err)
	}
	if err := link(a, b).Close(); err != nil {
		t.Error(err)
	}
}
