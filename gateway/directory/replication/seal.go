package replication

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Lines around a sealed message in the text of a mail.
const (
	first = "-----BEGIN BACKBONE DIRECTORY REPLICATION-----"
	last  = "-----END BACKBONE DIRECTORY REPLICATION-----"
	seal  = "HMAC-SHA256: "
)

// lineLength keeps the text whole wherever lines are wrapped.
const lineLength = 64

// ErrSeal says that a message was not sealed with the key.
var ErrSeal = errors.New("replication: the seal is not right: do both sites have the same key?")

// Seal writes a message as text that survives any mail system, with a code that only who has the key can make.
func Seal(b, key []byte) string {
	var s strings.Builder
	s.WriteString(first + "\r\n" + seal + hex.EncodeToString(code(b, key)) + "\r\n")
	text := base64.StdEncoding.EncodeToString(b)
	for len(text) > lineLength {
		s.WriteString(text[:lineLength] + "\r\n")
		text = text[lineLength:]
	}
	s.WriteString(text + "\r\n" + last + "\r\n")
	return s.String()
}

func code(b, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return h.Sum(nil)
}

// Sealed tells whether a text has a sealed message in it.
func Sealed(text string) bool { return strings.Contains(text, first) }

// Open finds the sealed message in a text. The error is ErrSeal when the key is another.
func Open(text string, key []byte) ([]byte, error) {
	_, rest, ok := strings.Cut(text, first)
	inside, _, end := strings.Cut(rest, last)
	if !ok || !end {
		return nil, errors.New("replication: the text has no whole replication message")
	}
	inside = strings.TrimLeft(inside, "\r\n \t")
	head, body, _ := strings.Cut(inside, "\n")
	sum, ok := strings.CutPrefix(strings.TrimSpace(head), strings.TrimSpace(seal))
	if !ok {
		return nil, errors.New("replication: the message has no seal")
	}
	want, err := hex.DecodeString(strings.TrimSpace(sum))
	if err != nil {
		return nil, fmt.Errorf("replication: seal: %w", err)
	}
	b, err := base64.StdEncoding.DecodeString(strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, body))
	if err != nil {
		return nil, fmt.Errorf("replication: damaged text: %w", err)
	}
	if !hmac.Equal(want, code(b, key)) {
		return nil, ErrSeal
	}
	return b, nil
}

// Peek reads who a message says it is from, to find the key with which to Open it.
func Peek(text string) (from string, err error) {
	_, rest, _ := strings.Cut(text, first)
	inside, _, ok := strings.Cut(rest, last)
	if !ok {
		return "", errors.New("replication: the text has no whole replication message")
	}
	_, body, _ := strings.Cut(strings.TrimLeft(inside, "\r\n \t"), "\n")
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil {
		return "", fmt.Errorf("replication: damaged text: %w", err)
	}
	m, err := unpack(b)
	switch {
	case err != nil:
		return "", err
	case m.Question != nil:
		return m.Question.From, nil
	case m.Answer != nil:
		return m.Answer.From, nil
	}
	return "", errors.New("replication: an empty message")
}

// Mail is a sealed message that was opened: a question or an answer.
type Mail struct {
	Question *Question
	Answer   *Answer
}

// Read opens and reads in one.
func Read(text string, key []byte) (Mail, error) {
	b, err := Open(text, key)
	if err != nil {
		return Mail{}, err
	}
	m, err := unpack(b)
	if err == nil && m.Question == nil && m.Answer == nil {
		err = errors.New("replication: an empty message")
	}
	return Mail{m.Question, m.Answer}, err
}
