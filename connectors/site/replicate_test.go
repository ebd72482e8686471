package site

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/gateway/mail"
)

func TestAQuestionAboutTheDirectoryIsAnsweredToTheSiteThatTheCertificateNames(t *testing.T) {
	answer := connectortest.Octets(2<<20, 1)
	w := newWorld(t, func(w *world) {
		w.replica = func(_ context.Context, site string, question []byte) ([]byte, error) {
			switch string(question) {
			case "no":
				return nil, errors.New("site SITEB has no replication partner SITEA")
			case "too long":
				return append(answer, make([]byte, 2048)...), nil
			}
			if site != "SITEA" {
				return nil, errors.New("asked by " + site)
			}
			return answer, nil
		}
	})
	got, err := w.link.Replicate(t.Context(), []byte("what is new?"))
	if err != nil || !bytes.Equal(got, answer) {
		t.Fatalf("%d octets, %v", len(got), err)
	}
	for question, want := range map[string]string{"no": "has no replication partner SITEA", "too long": "could not deal with"} {
		_, err := w.link.Replicate(t.Context(), []byte(question))
		if f := (*mail.Failure)(nil); !errors.As(err, &f) || f.Final() || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a transient failure with %q", question, err, want)
		}
	}
	w.mustDeliver(transfer(key("after"), connectortest.Bytes([]byte("Subject: x\r\n\r\n")))) // the link goes on
}

func TestASiteThatDoesNotReplicateSaysSo(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.link.Replicate(t.Context(), []byte("what is new?")); err == nil || !strings.Contains(err.Error(), "does not replicate its directory") {
		t.Errorf("got %v", err)
	}
}
