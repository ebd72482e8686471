package dashboard

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"backbone/queue"
)

// TestMetricsAreWellFormed: Prometheus' own linter reads what the daemon answers.
func TestMetricsAreWellFormed(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleRead})
	body := b.get("/metrics").Body.String()
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "backbone_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, want := range []string{
		`backbone_queue_messages{state="ready"} 1`, `backbone_link_up{connector="x400",destination="SITEB"} 1`, `backbone_destination_messages{connector="x400",destination="SITEB",state="ready"} 1`,
		`backbone_quarantine_files 1`, `backbone_dirsync_last_sent_timestamp_seconds{postoffice="NET/PO5",role="requestor"} 0`, `backbone_dirsync_failed{postoffice="NET/PO5",role="requestor"} 0`,
		`backbone_replication_behind{site="SITEB"} 0`, `backbone_replication_last_done_timestamp_seconds{site="SITEB"} 0`, `backbone_delivery_duration_seconds_bucket{connector="x400",le="0.01"} 0`, `backbone_scrape_failed 0`, `backbone_build_info{site="SITEA",version="test"} 1`, "go_goroutines",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing in\n%s", want, body)
		}
	}
}

// elsewhere is a store whose disk is another host's.
type elsewhere struct{ queue.Store }

func (e elsewhere) Stats() queue.Stats {
	st := e.Store.Stats()
	st.FreeBytes = -1
	return st
}

// TestADiskThatIsElsewhereIsNotTakenForFull: the alert on free octets looks at what is there.
func TestADiskThatIsElsewhereIsNotTakenForFull(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleRead})
	const free = "\nbackbone_queue_disk_free_bytes "
	if !strings.Contains(b.get("/metrics").Body.String(), free) {
		t.Error("free octets of our own disk are not told")
	}
	b.s.Store = elsewhere{b.s.Store}
	if strings.Contains(b.get("/metrics").Body.String(), free) {
		t.Error("free octets are told of a disk that is not ours")
	}
}
