package dashboard

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/mail"
	"backbone/queue"
)

// filterFields are the queue filter's, named as the CLI names them.
var filterFields = []string{"id", "connector", "dest", "from", "to", "state", "class", "older", "newer", "larger", "message"}

// filterForm is the filter as the form shows it.
type filterForm map[string]string

// parseFilter reads the CLI's one filter from a query.
func parseFilter(q url.Values) (f queue.Filter, form filterForm, err error) {
	form = filterForm{}
	for _, k := range filterFields {
		form[k] = strings.TrimSpace(q.Get(k))
	}
	for _, id := range strings.FieldsFunc(strings.Join(q["id"], " "), func(r rune) bool { return r == ' ' || r == ',' }) {
		n, err := queue.ParseID(id)
		if err != nil {
			return f, form, fmt.Errorf("id %q: %w", id, err)
		}
		f.IDs = append(f.IDs, n)
	}
	form["id"] = strings.Join(q["id"], " ")
	f.Connector, f.Host, f.From, f.To, f.Message = form["connector"], form["dest"], form["from"], form["to"], form["message"]
	if c, h, ok := strings.Cut(f.Host, ":"); ok && f.Connector == "" {
		f.Connector, f.Host = c, h
	}
	switch f.State = queue.State(form["state"]); f.State {
	case "", queue.Ready, queue.Leased, queue.Held, queue.Trash:
	default:
		return f, form, fmt.Errorf("state %q: write ready, leased, held or trash", f.State)
	}
	switch f.Class = mail.Class(form["class"]); f.Class {
	case "", mail.Transient, mail.Permanent, mail.Policy, mail.Local:
	default:
		return f, form, fmt.Errorf("class %q: write transient, permanent, policy or local", f.Class)
	}
	for key, into := range map[string]*time.Duration{"older": &f.Older, "newer": &f.Newer} {
		if form[key] == "" {
			continue
		}
		var d connectors.Duration
		if err := d.UnmarshalText([]byte(form[key])); err != nil {
			return f, form, fmt.Errorf("%s: %w", key, err)
		}
		*into = d.D()
	}
	if form["larger"] != "" {
		if f.Larger, err = strconv.ParseInt(form["larger"], 10, 64); err != nil || f.Larger < 0 {
			return f, form, fmt.Errorf("larger %q: write a number of octets", form["larger"])
		}
	}
	return f, form, nil
}

// values is the form as a query again.
func (f filterForm) values() url.Values {
	q := url.Values{}
	for k, v := range f {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q
}

// Encoded is the form as a query string.
func (f filterForm) Encoded() template.URL { return template.URL(f.values().Encode()) } //nolint:gosec // url.Values has encoded it

// Set tells that anything is filtered.
func (f filterForm) Set() bool { return len(f.values()) > 0 }

// More tells that something is set that the short form does not show.
func (f filterForm) More() bool {
	for _, k := range []string{"id", "connector", "class", "older", "newer", "larger", "message"} {
		if f[k] != "" {
			return true
		}
	}
	return false
}

// CLI is the same filter as flags of `backbone queue`.
func (f filterForm) CLI() string {
	var b strings.Builder
	for _, k := range filterFields {
		if f[k] != "" && k != "message" {
			fmt.Fprintf(&b, " --%s %s", k, shellWord(f[k]))
		}
	}
	return b.String()
}

func shellWord(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@,=", r)
		return !plain
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
