package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"backbone/integration/loopback"
)

// hasty cuts the retry schedule down to seconds.
const hasty = `open_interval = "200ms"
open_retries = 15
delay_notice = "1s"
transfer_interval`

func hurry(text string) string {
	return strings.Replace(text, "open_interval = \"1s\"\ntransfer_interval", hasty, 1)
}

// TestASiteThatStaysDownIsReportedToPO1: first late, then never, in the post office's own form. The default schedule's
// days are run in virtual time by package gateway's tests; here the whole program runs a schedule of seconds.
func TestASiteThatStaysDownIsReportedToPO1(t *testing.T) {
	a, b := pair(t, overSite(t))
	b.stop()
	a.stop()
	a.rewrite(hurry)
	a.start()
	drop(t, a.po("NET/PO1"), "LATE", message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", "Figures", "text\r\n", nil))
	until(t, time.Minute, "delay notice and NDR", func() bool { return len(delivered(t, a.po("NET/PO1"))) == 2 })
	late, never := "", ""
	for _, f := range delivered(t, a.po("NET/PO1")) {
		if text := read(t, f); strings.Contains(text, "[005]") {
			never = text
		} else {
			late = text
		}
	}
	for what, c := range map[string][]string{
		late:  {"TO:CSI:NET/PO1/ASMITH", "FROM:CSI:NET/PO1/POSTMASTER", "has not been delivered yet", "NET/PO2/MKUMAR", "will be tried until"},
		never: {"TO:CSI:NET/PO1/ASMITH", "FROM:CSI:NET/PO1/POSTMASTER", "[005]", "NET/PO2/MKUMAR", "Figures", "could not be reached"},
	} {
		for _, want := range c {
			if !strings.Contains(what, want) {
				t.Errorf("%q is missing in:\n%s", want, what)
			}
		}
	}
	if out := a.backbone("queue", "list", "--json"); strings.TrimSpace(out) != "" {
		t.Errorf("left in the queue: %s", out)
	}
	b.start()
}

// TestQueuedMailGoesTheDearerWay: the site link is down, X.400 costs more, and nobody does anything.
func TestQueuedMailGoesTheDearerWay(t *testing.T) {
	link, other := overSite(t), map[*site]string{}
	a, b := pair(t, func(self, peer *site, selfName, peerName, peerPO string) string {
		for _, s := range []*site{self, peer} {
			if other[s] == "" {
				other[s] = loopback.Port(t)
			}
		}
		text := link(self, peer, selfName, peerName, peerPO)
		x400 := strings.TrimPrefix(overX400(self, peer, selfName, peerName, peerPO), smtpIn(self))
		x400 = strings.Replace(strings.Replace(x400, self.link, other[self], 1), peer.link, other[peer], 1)
		return text + strings.Replace(x400, fmt.Sprintf("{ address = \"MS:%s\" }", peerPO), fmt.Sprintf("{ address = \"MS:%s\", cost = 50 }", peerPO), 1)
	})
	// The site link of B goes away: another address in its configuration, where nobody calls.
	b.stop()
	for i := range 20 {
		drop(t, a.po("NET/PO1"), fmt.Sprintf("W%02d", i), message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", fmt.Sprintf("Waiting %d", i), "text\r\n", nil))
	}
	var waiting string
	until(t, time.Minute, "they wait", func() bool {
		waiting = a.backbone("queue", "list", "--json")
		return strings.Count(waiting, "\n") == 20
	})
	first := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(waiting)[1]
	b.rewrite(func(s string) string { return strings.Replace(s, b.link, loopback.Port(t), 1) })
	b.start()
	until(t, time.Minute, "they arrive", func() bool { return len(delivered(t, b.po("NET/PO2"))) == 20 })
	story := a.backbone("trace", first, "--local")
	for _, want := range []string{"route link won", "link lost by MS:NET/PO2 (partial, cost 1) it ", "item " + first + " x400:SITEB", "taken by MTA SITEB"} {
		if !strings.Contains(story, want) {
			t.Errorf("%q is missing in:\n%s", want, story)
		}
	}
}
