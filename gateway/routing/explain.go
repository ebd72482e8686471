package routing

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Explain writes the decision for a reader: the winner, then each loser with its reason.
func (d Decision) Explain(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", d.Recipient)
	if !d.Native.IsZero() {
		fmt.Fprintf(&b, "  routed as %s, the typed address inside\n", d.Native)
	}
	for i, c := range d.Candidates {
		mark := "-"
		if i == 0 && d.Chosen != nil {
			mark = "*"
			if d.Wait {
				mark = "?"
			}
		}
		fmt.Fprintf(&b, "  %s %s%s  %s (%s)  cost %d  %s\n", mark, c.Connector, hop(c), c.Space, origin(c), c.Space.Cost, c.Match)
		switch {
		case c.Lost != "":
			fmt.Fprintf(&b, "      %s\n", c.Lost)
		case d.Wait:
			fmt.Fprintf(&b, "      waits: %s\n", c.Link)
		default:
			b.WriteString("      chosen\n")
		}
	}
	if d.Failure != nil {
		fmt.Fprintf(&b, "  no route: %s\n", d.Failure.Error())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func hop(c Candidate) string {
	if c.NextHop == "" {
		return ""
	}
	return " to " + c.NextHop
}

func origin(c Candidate) string {
	if c.Space.Origin == "" {
		return "origin not recorded"
	}
	return c.Space.Origin
}

// decisionJSON and candidateJSON are the stable field names of `route explain --json` and the control API.
type decisionJSON struct {
	Recipient  address.Address `json:"recipient"`
	Native     address.Address `json:"native,omitzero"`
	Chosen     string          `json:"chosen,omitempty"` // the first candidate's connector
	Wait       bool            `json:"wait,omitempty"`
	Candidates []Candidate     `json:"candidates"`
	Failure    *mail.Failure   `json:"failure,omitempty"`
	NoMatch    bool            `json:"no_match,omitempty"`
}

type candidateJSON struct {
	Connector string    `json:"connector"`
	NextHop   string    `json:"next_hop,omitempty"`
	Space     string    `json:"space"`
	Cost      int       `json:"cost"`
	Scope     string    `json:"scope,omitempty"`
	Origin    string    `json:"origin,omitempty"`
	Match     Match     `json:"match"`
	Literals  int       `json:"literals"`
	Local     bool      `json:"local"`
	Tries     int       `json:"tries,omitempty"`
	Link      LinkState `json:"link"`
	Lost      string    `json:"lost,omitempty"`
}

// entryJSON are the stable field names of `route table --json`.
type entryJSON struct {
	Connector string       `json:"connector"`
	Type      address.Type `json:"type"`
	Pattern   string       `json:"pattern"`
	Cost      int          `json:"cost"`
	Scope     string       `json:"scope,omitempty"`
	Origin    string       `json:"origin,omitempty"`
	Local     bool         `json:"local"`
}

// MarshalJSON writes the stable field names.
func (e Entry) MarshalJSON() ([]byte, error) {
	return json.Marshal(entryJSON{e.Connector, e.Space.Type, e.Space.Pattern, e.Space.Cost, e.Space.Scope, e.Space.Origin, e.Local})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Entry) UnmarshalJSON(b []byte) error {
	var j entryJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*e = Entry{Connector: j.Connector, Local: j.Local, Space: address.Space{Type: j.Type, Pattern: j.Pattern, Cost: j.Cost, Scope: j.Scope, Origin: j.Origin}}
	return nil
}

// MarshalJSON writes the stable field names.
func (d Decision) MarshalJSON() ([]byte, error) {
	j := decisionJSON{Recipient: d.Recipient, Native: d.Native, Wait: d.Wait, Candidates: d.Candidates, Failure: d.Failure, NoMatch: d.NoMatch}
	if d.Chosen != nil {
		j.Chosen = d.Chosen.Connector
	}
	if j.Candidates == nil {
		j.Candidates = []Candidate{}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Decision) UnmarshalJSON(b []byte) error {
	var j decisionJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*d = Decision{Recipient: j.Recipient, Native: j.Native, Wait: j.Wait, Candidates: j.Candidates, Failure: j.Failure, NoMatch: j.NoMatch}
	if j.Chosen != "" && len(d.Candidates) > 0 {
		d.Chosen = &d.Candidates[0]
	}
	return nil
}

// MarshalJSON writes the stable field names.
func (c Candidate) MarshalJSON() ([]byte, error) {
	return json.Marshal(candidateJSON{c.Connector, c.NextHop, c.Space.String(), c.Space.Cost, c.Space.Scope, c.Space.Origin,
		c.Match, c.Literals, c.Local, c.Tries, c.Link, c.Lost})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Candidate) UnmarshalJSON(b []byte) error {
	var j candidateJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	typ, pattern, _ := strings.Cut(j.Space, ":")
	*c = Candidate{Connector: j.Connector, NextHop: j.NextHop, Match: j.Match, Literals: j.Literals, Local: j.Local, Tries: j.Tries, Link: j.Link, Lost: j.Lost,
		Space: address.Space{Type: address.Type(typ), Pattern: pattern, Cost: j.Cost, Scope: j.Scope, Origin: j.Origin}}
	return nil
}
