package monitor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// sink takes pings and keeps their envelopes.
type sink struct {
	connectors.Acceptor
	mu   sync.Mutex
	sent []mail.Envelope
	fail error
}

func (s *sink) Accept(_ context.Context, sub connectors.Submission) (connectors.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.Copy(io.Discard, sub.Content); err != nil {
		return connectors.Receipt{}, err
	}
	s.sent = append(s.sent, sub.Envelope)
	return connectors.Receipt{ID: sub.Envelope.ID}, s.fail
}

func (s *sink) latest() mail.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[len(s.sent)-1]
}

type text string

func (t text) Size() int64                      { return int64(len(t)) }
func (t text) Open() (io.ReadSeekCloser, error) { return nopClose{bytes.NewReader([]byte(t))}, nil }

type nopClose struct{ io.ReadSeeker }

func (nopClose) Close() error { return nil }

func link(t *testing.T) Link {
	t.Helper()
	to, err := address.Parse("MS:NET/SITEB/LINKMON")
	if err != nil {
		t.Fatal(err)
	}
	return Link{Name: "siteb", To: to, Interval: 15 * time.Minute, Critical: 5 * time.Minute, Warning: 30 * time.Minute, Alert: time.Hour}
}

// run starts a monitor in a bubble.
func run(t *testing.T, do func(*Monitor, *sink)) {
	synctest.Test(t, func(t *testing.T) {
		m, s := New("NET/SITEA", []Link{link(t)}, nil), &sink{}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- m.Serve(ctx, s) }()
		synctest.Wait()
		do(m, s)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func report(m *Monitor, about, source, content string) {
	m.Deliver(context.Background(), &connectors.Transfer{
		Envelope: mail.Envelope{Kind: mail.KindReport, About: about, Source: mail.Source{Connector: source}, Recipients: make([]mail.Recipient, 1)}, Content: text(content),
	})
}

// TestAPingThatStaysOutLeadsToWarningAndAlert at Exchange's times, and is asked after more often.
func TestAPingThatStaysOutLeadsToWarningAndAlert(t *testing.T) {
	run(t, func(m *Monitor, s *sink) {
		for _, c := range []struct {
			wait  time.Duration
			state State
			sent  int64
		}{{0, Unknown, 1}, {29 * time.Minute, Unknown, 2}, {time.Minute + time.Second, Warning, 3}, {20 * time.Minute, Warning, 7}, {10 * time.Minute, Alert, 9}} {
			time.Sleep(c.wait)
			synctest.Wait()
			if st := m.Status()[0]; st.State != c.state || st.Sent != c.sent || st.Oldest.IsZero() {
				t.Errorf("after %s more: %+v, want %s and %d sent", c.wait, st, c.state, c.sent)
			}
		}
		time.Sleep(3 * time.Second)
		report(m, s.latest().ID, "x400", "")
		if st := m.Status()[0]; st.State != Normal || st.Returned != 1 || !st.Oldest.IsZero() || st.RoundTrip <= 0 {
			t.Errorf("after an answer to the latest: %+v", st)
		}
	})
}

func TestWhatCountsAsAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		source  string
		byWord  bool // named in the report's content only, as an SMTP host does
		content string
		want    State
	}{
		"a report from the other end":              {"x400", false, "", Normal},
		"a non-delivery report from there":         {"x400", false, "Action: failed\r\n", Normal},
		"a report that names the ping in its text": {"imc", true, "Action: delivered\r\n", Normal},
		"a delay notice":                           {"imc", false, "Action: delayed\r\n", Unknown},
		"a report of this site's own":              {"gateway", false, "Action: failed\r\n", Unknown},
		"a report on another message":              {"x400", true, "", Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(m *Monitor, s *sink) {
				time.Sleep(time.Second)
				id := s.latest().ID
				about, content := id, c.content
				if c.byWord {
					about = "SITEB-1"
					if content != "" {
						content += "Subject: Link monitor " + id + "\r\n"
					}
				}
				report(m, about, c.source, content)
				if st := m.Status()[0]; st.State != c.want {
					t.Errorf("%+v, want %s", st, c.want)
				}
			})
		})
	}
}

// TestPingsAskForAReport and can't wait for ever.
func TestPingsAskForAReport(t *testing.T) {
	run(t, func(_ *Monitor, s *sink) {
		e := s.latest()
		if r := e.Recipients[0]; !r.Notify.Wants(mail.NotifySuccess) || !r.Notify.Wants(mail.NotifyFailure) || r.Notify.Wants(mail.NotifyDelay) {
			t.Errorf("asks for %v", r.Notify)
		}
		if e.Originator.String() != "MS:NET/SITEA/LINKMON" || !e.NotAfter.Equal(time.Now().Add(2*time.Hour)) || len(e.ID) > 32 {
			t.Errorf("%+v", e)
		}
	})
}

func TestAPingThatCantBeSentSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := New("NET/SITEA", []Link{link(t)}, nil), &sink{fail: errors.New("disk full")}
		m.ping(context.Background(), s, m.links[0])
		if st := m.Status()[0]; st.Why != "a ping could not be sent: disk full" || !st.Oldest.IsZero() {
			t.Errorf("%+v", st)
		}
	})
}

func TestAWayThatLosesEverythingDoesNotFillMemory(t *testing.T) {
	run(t, func(m *Monitor, _ *sink) {
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if n := len(m.links[0].out); n > maxOut {
			t.Errorf("%d pings are out", n)
		}
		if st := m.Status()[0]; st.State != Alert {
			t.Errorf("%+v", st)
		}
	})
}

func TestASiteWithoutAShadowPostOfficeHasNoMonitor(t *testing.T) {
	m := New("", nil, nil)
	if m.Spaces() != nil {
		t.Error("it claims an address space")
	}
	if _, err := m.NextHop(link(t).To); err == nil {
		t.Error("it takes mail")
	}
}
