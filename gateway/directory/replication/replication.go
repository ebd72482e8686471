// Package replication is how two sites' directories are compared: one asks for what changed since a cursor, the other
// answers with a batch. The same two messages travel over the site link and, sealed, by mail. *Ours*: Exchange's own
// messages are not public.
//
// It owns their form and nothing else. It is pure. Text that is not such a message, or is not sealed with the key, gives
// an error and nothing of it is believed.
package replication

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"backbone/gateway/directory"
)

// version of both messages.
const version = 1

// Question asks a site for what changed there.
type Question struct {
	From  string           `json:"from"`
	To    string           `json:"to"`
	Since directory.Cursor `json:"since"`
	// Head is the end of the asker's own history: who is asked sees whether to ask in turn.
	Head directory.Cursor `json:"head"`
}

// Answer is what changed.
type Answer struct {
	From  string           `json:"from"`
	To    string           `json:"to"`
	Batch directory.Batch  `json:"batch"`
	Head  directory.Cursor `json:"head"`
}

// message is either, on the wire.
type message struct {
	Version  int       `json:"version"`
	Question *Question `json:"question,omitempty"`
	Answer   *Answer   `json:"answer,omitempty"`
}

// MaxText bounds a message unpacked, in octets: a batch has at most half a megabyte and one entry.
const MaxText = 8 << 20

// Encode packs the question.
func (q Question) Encode() []byte { return pack(message{Version: version, Question: &q}) }

// Encode packs the answer.
func (a Answer) Encode() []byte { return pack(message{Version: version, Answer: &a}) }

func pack(m message) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	// Neither can fail: memory takes everything, and a message has nothing that JSON lacks.
	if err := errors.Join(json.NewEncoder(w).Encode(m), w.Close()); err != nil {
		return nil
	}
	return b.Bytes()
}

func unpack(b []byte) (m message, err error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return m, fmt.Errorf("replication: not a replication message: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxText+1))
	if err != nil {
		return m, fmt.Errorf("replication: damaged message: %w", err)
	}
	if len(text) > MaxText {
		return m, fmt.Errorf("replication: a message of more than %d octets", MaxText)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("replication: damaged message: %w", err)
	}
	if m.Version != version {
		return m, fmt.Errorf("replication: version %d of the protocol; this site speaks %d", m.Version, version)
	}
	return m, nil
}

// DecodeQuestion reads a question.
func DecodeQuestion(b []byte) (Question, error) {
	m, err := unpack(b)
	if err != nil {
		return Question{}, err
	}
	if m.Question == nil {
		return Question{}, errors.New("replication: not a question")
	}
	return *m.Question, nil
}

// DecodeAnswer reads an answer.
func DecodeAnswer(b []byte) (Answer, error) {
	m, err := unpack(b)
	if err != nil {
		return Answer{}, err
	}
	if m.Answer == nil {
		return Answer{}, errors.New("replication: not an answer")
	}
	return *m.Answer, nil
}
