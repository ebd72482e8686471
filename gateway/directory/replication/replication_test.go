package replication

import (
	"errors"
	"strings"
	"testing"

	"backbone/gateway/address"
	"backbone/gateway/directory"

	"github.com/google/go-cmp/cmp"
)

var question = Question{From: "SITEA", To: "SITEB", Since: directory.Cursor{USN: 7, Stamp: 1 << 63, Purged: 3}, Head: directory.Cursor{USN: 9, Stamp: 5}}

func answer() Answer {
	return Answer{From: "SITEB", To: "SITEA", Head: question.Head, Batch: directory.Batch{Since: question.Since, Next: question.Head, More: true, Reset: directory.ResetOld,
		Changes: []directory.Entry{{Name: "MKUMAR", Site: "SITEB", Display: "Kumar, M\u00ffra", Target: address.Address{Type: address.MS, Value: "NET/PO2/MKUMAR"}, Version: 4, Written: 8, Stamp: 77},
			{Class: directory.Connector, Name: "msmail", Site: "SITEB", Spaces: []address.Space{{Type: address.MS, Pattern: "NET/PO2", Cost: 1}}, Version: 1}}}}
}

func TestSealedMessagesAreReadAsTheyWereWritten(t *testing.T) {
	key := []byte("shared")
	text := Seal(question.Encode(), key)
	wrapped := "Some gateway's banner\r\n\r\n" + strings.ReplaceAll(text, "\r\n", " \n") + "\nand a footer\n"
	for name, s := range map[string]string{"as written": text, "with blanks, other line ends, a banner and a footer": wrapped} {
		if from, err := Peek(s); from != "SITEA" || err != nil || !Sealed(s) {
			t.Errorf("%s: from %q, %v", name, from, err)
		}
		m, err := Read(s, key)
		if err != nil || m.Question == nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(question, *m.Question); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	m, err := Read(Seal(answer().Encode(), key), key)
	if err != nil || m.Answer == nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(answer(), *m.Answer); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, line := range strings.Split(text, "\r\n") {
		if len(line) > 78 {
			t.Errorf("a line of %d octets will be wrapped somewhere", len(line))
		}
	}
}

func TestNothingIsBelievedThatIsNotSealed(t *testing.T) {
	key := []byte("shared")
	text := Seal(question.Encode(), key)
	for name, s := range map[string]string{
		"another key":        Seal(question.Encode(), []byte("other")),
		"cut off":            text[:len(text)-60],
		"a seal of nothing":  strings.Replace(text, "HMAC-SHA256: ", "HMAC-SHA256: 00", 1),
		"without a seal":     strings.Replace(text, "HMAC-SHA256: ", "", 1),
		"not base64":         strings.Replace(text, "\r\n-----END", "!\r\n-----END", 1),
		"no message at all":  "Hello",
		"sealed, but no zip": Seal([]byte("junk"), key),
	} {
		if m, err := Read(s, key); err == nil {
			t.Errorf("%s: read as %+v", name, m)
		}
	}
	if _, err := Read(Seal(question.Encode(), []byte("other")), key); !errors.Is(err, ErrSeal) {
		t.Errorf("another key: %v", err)
	}
	if _, err := DecodeAnswer(question.Encode()); err == nil {
		t.Error("a question was read as an answer")
	}
	if _, err := DecodeQuestion(pack(message{Version: 99, Question: &question})); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("another version: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	key := []byte("shared")
	f.Add(Seal(question.Encode(), key))
	f.Add(Seal(answer().Encode(), key))
	f.Add(Seal([]byte("junk"), key))
	f.Fuzz(func(t *testing.T, text string) {
		_, perr := Peek(text)
		m, err := Read(text, key)
		if err != nil {
			return
		}
		if perr != nil || (m.Question == nil) == (m.Answer == nil) && m.Question == nil {
			t.Errorf("%v: %+v", perr, m)
		}
		if m.Question != nil {
			again, err := DecodeQuestion(m.Question.Encode())
			if diff := cmp.Diff(*m.Question, again); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		}
	})
}
