package dashboard

import (
	"net/http"
	"sort"
	"time"

	"backbone/gateway/control"
	"backbone/queue"
)

// ranges are the spans that the charts can show: minutes, and minutes a step.
var ranges = []struct {
	Name          string
	Minutes, Step int
}{{"1h", 60, 1}, {"6h", 360, 5}, {"24h", 1440, 20}}

func rangeOf(name string) (minutes, step int, chosen string) {
	for _, r := range ranges {
		if r.Name == name {
			return r.Minutes, r.Step, r.Name
		}
	}
	return ranges[0].Minutes, ranges[0].Step, ranges[0].Name
}

type figuresView struct {
	Range    string
	Ranges   []string
	Step     int
	Stats    queue.Stats
	Steps    []control.Minute // newest first, the last dozen
	Sum      control.Minute
	P50, P95 time.Duration
	Ages     []control.AgeRow
	Bounds   []string
	Conns    []connectorFigures
}

type connectorFigures struct {
	Name string
	control.ConnectorFlow
}

func (d *Dashboard) figuresPage(v *visit) error {
	minutes, step, name := rangeOf(v.r.URL.Query().Get("range"))
	view := figuresView{Range: name, Step: step, Stats: d.s.Store.Stats(), Bounds: ageHeads()}
	for _, r := range ranges {
		view.Ranges = append(view.Ranges, r.Name)
	}
	st, err := d.s.Status(v.r.Context())
	if err != nil {
		return err
	}
	view.Ages = st.Ages
	if f := d.s.Flow; f != nil {
		hist := f.History(time.Now(), minutes, step)
		for _, m := range hist {
			view.Sum.Add(m)
		}
		view.P50, view.P95 = view.Sum.Latency.Quantile(0.5), view.Sum.Latency.Quantile(0.95)
		for i := len(hist) - 1; i >= 0 && len(view.Steps) < 12; i-- {
			view.Steps = append(view.Steps, hist[i])
		}
		for name, c := range f.Connectors() {
			if name != "" {
				view.Conns = append(view.Conns, connectorFigures{name, c})
			}
		}
		sort.Slice(view.Conns, func(i, j int) bool { return view.Conns[i].Name < view.Conns[j].Name })
	}
	return d.show(v, 200, "figures", "Figures", view)
}

// series is what the charts draw: one value a step in each column. Rates are per minute, latencies in seconds.
type series struct {
	At                                    []int64
	Received, Delivered, Deferred, Failed []float64
	P50, P95                              []*float64
	Waiting, Held                         []int
}

// history answers the charts.
func (d *Dashboard) history(v *visit) error {
	minutes, step, _ := rangeOf(v.r.URL.Query().Get("range"))
	var s series
	if d.s.Flow != nil {
		for _, m := range d.s.Flow.History(time.Now(), minutes, step) {
			rate := func(n int) float64 { return float64(n) / float64(step) }
			s.At = append(s.At, m.At.Unix())
			s.Received, s.Delivered = append(s.Received, rate(m.Received)), append(s.Delivered, rate(m.Delivered))
			s.Deferred, s.Failed = append(s.Deferred, rate(m.Deferred)), append(s.Failed, rate(m.Failed))
			s.P50, s.P95 = append(s.P50, quantile(m, 0.5)), append(s.P95, quantile(m, 0.95))
			s.Waiting, s.Held = append(s.Waiting, m.Waiting), append(s.Held, m.Held)
		}
	}
	v.w.Header().Set("Content-Type", "application/json")
	v.w.WriteHeader(http.StatusOK)
	if err := control.WriteJSON(v.w, s); err != nil {
		d.log.Debug("figures not sent", "err", err)
	}
	return nil
}

// quantile is nil, a gap in the chart, when nothing was delivered.
func quantile(m control.Minute, q float64) *float64 {
	if m.Latency.Count == 0 {
		return nil
	}
	s := m.Latency.Quantile(q).Seconds()
	return &s
}

type auditView struct {
	Records []control.Record
	More    bool
	Kept    bool
}

// auditPage lists the newest changes.
func (d *Dashboard) auditPage(v *visit) error {
	view := auditView{Kept: d.s.Audit != nil}
	if view.Kept {
		var err error
		if view.Records, view.More, err = d.s.Audit.Latest(300); err != nil {
			return err
		}
	}
	return d.show(v, 200, "audit", "Audit", view)
}
