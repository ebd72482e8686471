package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// probed is the part of `probe --json` that the tests look at.
type probed struct {
	Verdict string `json:"verdict"`
	ID      string `json:"id"`
	Peer    string `json:"peer"`
	Route   struct {
		Dest string `json:"dest"`
	} `json:"route"`
	Report struct {
		By        string `json:"by"`
		Recipient string `json:"recipient"`
		Status    string `json:"status"`
	} `json:"report"`
	Failure struct {
		Text string `json:"text"`
		Peer string `json:"peer"`
	} `json:"failure"`
}

// probe runs `probe` on the site and gives its exit code, answer and stderr.
func (s *site) probe(args ...string) (code int, p probed, stderr string) {
	s.t.Helper()
	cmd := exec.Command(binary, append(append([]string{"probe"}, args...), "--config", s.config, "--json")...)
	var errb bytes.Buffer
	cmd.Stderr = &errb
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if len(out) > 0 {
		if err := json.Unmarshal(out, &p); err != nil {
			s.t.Fatalf("%v in %s", err, out)
		}
	}
	return cmd.ProcessState.ExitCode(), p, errb.String()
}

func TestAProbeOverX400IsAnsweredByTheOtherSitesReport(t *testing.T) {
	a, b := pair(t, overX400)
	code, p, stderr := a.probe("MS:NET/PO2/MKUMAR")
	if code != 0 || p.Verdict != "delivered" || p.Route.Dest != "x400:SITEB" || !strings.Contains(p.Report.By, "SITEB") ||
		p.Report.Recipient != "MS:NET/PO2/MKUMAR" || !strings.HasPrefix(p.Report.Status, "2.") || p.ID == "" {
		t.Errorf("exit %d, %+v, %s", code, p, stderr)
	}
	if log := a.backbone("trace", p.ID); !strings.Contains(log, "taken by MTA SITEB") || !strings.Contains(log, "answers a probe") {
		t.Errorf("the probe's timeline:\n%s", log)
	}
	// What Site B does not know it says.
	code, p, stderr = a.probe("MS:NET/PO2/MKUMAR", "--from", "MS:NET/PO1/ASMITH", "--size", "100000000")
	if code != 2 || p.Verdict != "refused" || !strings.Contains(p.Failure.Text, "at most") || !strings.Contains(stderr, "would not get there") {
		t.Errorf("too large: exit %d, %+v, %s", code, p, stderr)
	}
	// A report that nobody waits for goes to the probe's originator.
	code, p, stderr = a.probe("MS:NET/PO2/MKUMAR", "--from", "MS:NET/PO1/ASMITH", "--wait", "0s")
	if code != 3 || p.Verdict != "sent" || !strings.Contains(stderr, "backbone trace "+p.ID) {
		t.Errorf("without waiting: exit %d, %+v, %s", code, p, stderr)
	}
	until(t, 30*time.Second, "the late report arrives", func() bool { return len(delivered(t, a.po("NET/PO1"))) == 1 })
	if n := len(delivered(t, b.po("NET/PO2"))); n != 0 {
		t.Errorf("probes delivered %d messages", n)
	}
}

func TestAProbeSaysWhyMailWouldNotGetThere(t *testing.T) {
	a, b := pair(t, func(self, peer *site, selfName, peerName, peerPO string) string {
		s := overX400(self, peer, selfName, peerName, peerPO)
		if selfName == "SITEA" { // it sends PO8 there as well, which Site B knows nothing of
			s = strings.Replace(s, `{ address = "MS:NET/PO2" }`, `{ address = "MS:NET/PO2" }, { address = "MS:NET/PO8" }`, 1)
		}
		return s
	})
	code, p, stderr := a.probe("MS:NET/PO8/NOBODY")
	if code != 2 || p.Verdict != "undeliverable" || !strings.HasPrefix(p.Report.Status, "5.") {
		t.Errorf("refused by the other site: exit %d, %+v, %s", code, p, stderr)
	}
	if code, p, stderr = a.probe("MS:NET/PO9/NOBODY"); code != 2 || p.Verdict != "unroutable" {
		t.Errorf("without a route: exit %d, %+v, %s", code, p, stderr)
	}
	if code, _, stderr = a.probe("MS:NET"); code != 1 || !strings.HasPrefix(stderr, "backbone: ") {
		t.Errorf("no address: exit %d, %s", code, stderr)
	}
	if code, p, stderr = a.probe("MS:NET/PO1/ASMITH"); code != 0 || p.Verdict != "routed" || p.Peer != "in order" {
		t.Errorf("the post office here: exit %d, %+v, %s", code, p, stderr)
	}
	a.backbone("connector", "suspend", "x400", "--reason", "line works")
	if code, p, stderr = a.probe("MS:NET/PO2/MKUMAR"); code != 3 || p.Verdict != "waits" || !strings.Contains(p.Peer, "line works") {
		t.Errorf("suspended: exit %d, %+v, %s", code, p, stderr)
	}
	a.backbone("connector", "resume", "x400")
	b.stop()
	if code, p, stderr = a.probe("MS:NET/PO2/MKUMAR"); code != 3 || p.Verdict != "waits" || !strings.Contains(p.Failure.Text, "SITEB") {
		t.Errorf("the other site is down: exit %d, %+v, %s", code, p, stderr)
	}
	a.stop()
	if code, _, stderr = a.probe("MS:NET/PO2/MKUMAR"); code != 4 || !strings.Contains(stderr, "backbone serve") {
		t.Errorf("no daemon: exit %d, %s", code, stderr)
	}
}

func TestAProbeOverSMTPAsksTheOtherSite(t *testing.T) {
	a, b := pair(t, overSMTP)
	code, p, stderr := a.probe("MS:NET/PO2/MKUMAR")
	if code != 0 || p.Verdict != "taken" || !strings.Contains(p.Peer, "250 ") {
		t.Errorf("exit %d, %+v, %s", code, p, stderr)
	}
	if n := len(delivered(t, b.po("NET/PO2"))); n != 0 {
		t.Errorf("a probe delivered %d messages", n)
	}
}

func TestAProbeOverTheSiteLinkShowsTheLink(t *testing.T) {
	a, _ := pair(t, overSite(t))
	if code, p, stderr := a.probe("MS:NET/PO2/MKUMAR"); code != 0 || p.Verdict != "routed" || p.Peer != "up" || p.Route.Dest != "link:SITEB" {
		t.Errorf("exit %d, %+v, %s", code, p, stderr)
	}
}
