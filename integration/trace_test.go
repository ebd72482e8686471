package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestOneTimelineForBothSites: what Site B did with a message stands on the timeline at Site A, which asks over the link; a site
// that does not answer is named, and Site A's part is there all the same.
func TestOneTimelineForBothSites(t *testing.T) {
	a, b := pair(t, overSite(t))
	drop(t, a.po("NET/PO1"), "THERE", message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", "Figures", "text\r\n", nil))
	until(t, time.Minute, "it arrives", func() bool { return len(delivered(t, b.po("NET/PO2"))) == 1 })
	far := "relayed    SITEB"
	var out string
	until(t, time.Minute, "Site B's part", func() bool {
		var err error
		out, err = a.try("trace", "THERE.MSG")
		return err == nil && strings.Contains(out, far)
	})
	order := []string{"received   SITEA", "delivered  SITEA", "received   SITEB", far}
	rest := out
	for _, want := range []string{order[0], order[2], order[3]} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%q is missing, or not in its place:\n%s", want, out)
		}
		rest = after
	}
	if local := a.backbone("trace", "THERE.MSG", "--local"); strings.Contains(local, "SITEB ") && strings.Contains(local, far) {
		t.Errorf("--local asked Site B:\n%s", local)
	}
	// Site A may not ask about what Site B got from elsewhere: it does not even know its name. Site B has its own part only.
	if back := b.backbone("trace", id(t, out)); strings.Contains(back, order[0]) {
		t.Errorf("Site B was told of Site A's part, which it did not hand over:\n%s", back)
	}
	if found := a.backbone("trace", "--from", "MS:NET/PO1/*", "--subject", "figures", "--since", "-1h"); !strings.Contains(found, "MS:NET/PO2/MKUMAR") {
		t.Errorf("search:\n%s", found)
	}

	b.stop()
	out, err := a.try("trace", "THERE.MSG")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(out, order[0]) {
		t.Errorf("with Site B down: %v\n%s", err, out)
	}
	b.start()
}

func id(t *testing.T, timeline string) string {
	t.Helper()
	for _, w := range strings.Fields(timeline) {
		if strings.HasPrefix(w, "SITEA-") {
			return w
		}
	}
	t.Fatalf("no identifier in:\n%s", timeline)
	return ""
}

// TestAnEventStreamGoesOnWhereItStopped: by its cursor, across a restart of the daemon, without a gap and without a repetition.
func TestAnEventStreamGoesOnWhereItStopped(t *testing.T) {
	a, b := pair(t, overSite(t))
	drop(t, a.po("NET/PO1"), "ONE", message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", "One", "text\r\n", nil))
	until(t, time.Minute, "it arrives", func() bool { return len(delivered(t, b.po("NET/PO2"))) == 1 })
	until(t, time.Minute, "its last event", func() bool { return strings.Contains(a.backbone("trace", "ONE.MSG", "--local"), "delivered") })
	first := watched(t, a, "start")
	if len(first) < 3 {
		t.Fatalf("%d events of a message that was received, queued and delivered", len(first))
	}
	a.stop()
	a.start()
	drop(t, a.po("NET/PO1"), "TWO", message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", "Two", "text\r\n", nil))
	until(t, time.Minute, "it arrives", func() bool { return len(delivered(t, b.po("NET/PO2"))) == 2 })
	until(t, time.Minute, "its last event", func() bool { return strings.Contains(a.backbone("trace", "TWO.MSG", "--local"), "delivered") })
	whole := watched(t, a, "start")
	middle := len(first) / 2
	rest := watched(t, a, first[middle].Cursor)
	if want := whole[middle+1:]; len(rest) != len(want) || rest[0] != want[0] || rest[len(rest)-1] != want[len(want)-1] {
		t.Errorf("after the cursor: %v, want %v", rest, want)
	}
}

type watchedEvent struct{ Cursor, Type, ID string }

// watched is what `backbone watch` prints before it is interrupted.
func watched(t *testing.T, s *site, after string) []watchedEvent {
	t.Helper()
	out := s.interrupted(2*time.Second, "watch", "--json", "--after", after)
	var es []watchedEvent
	dec := json.NewDecoder(strings.NewReader(out))
	for dec.More() {
		var e watchedEvent
		if err := dec.Decode(&e); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		es = append(es, e)
	}
	return es
}
