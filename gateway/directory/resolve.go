package directory

import (
	"errors"
	"fmt"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Resolution is where a recipient's mail goes.
type Resolution struct {
	Target address.Address `json:"target"`
	// Known is true when a directory entry has the address; one-off addresses are not known and go as they are.
	Known bool   `json:"known"`
	Name  string `json:"name,omitempty"`  // display name of the entry that was addressed
	Entry string `json:"entry,omitempty"` // SITE/NAME of it
	// Steps are what led to Target, one plain phrase each; empty when the address was its own target.
	Steps []string `json:"steps,omitempty"`
}

// maxSteps bounds how often an address may lead to another one.
const maxSteps = 10

// Resolve follows a recipient's address to the one that is routed: encapsulated forms are undone, an entry's proxies
// lead to its target, renamed post offices to their new names. An address that nobody has is its own target. The error
// is always a *mail.Failure: several entries with the address (KB Q165396), or addresses that lead in a circle.
func (d *Directory) Resolve(a address.Address) (Resolution, error) {
	r := Resolution{Target: a}
	if a.IsZero() {
		return r, nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	var seen [maxSteps + 1]string
	for n := 0; ; n++ {
		k := r.Target.Key()
		for _, s := range seen[:n] {
			if s == k {
				return r, circle(a, r.Steps)
			}
		}
		if n == maxSteps {
			return r, circle(a, r.Steps)
		}
		seen[n] = k
		next, step, err := d.step(&r)
		if err != nil {
			return r, err
		}
		if step == "" {
			return r, nil
		}
		r.Target, r.Steps = next, append(r.Steps, step)
	}
}

// step goes one step from r.Target; an empty step is the end.
func (d *Directory) step(r *Resolution) (next address.Address, step string, err error) {
	e, err := d.find(r.Target)
	var c *Conflict
	switch {
	case errors.As(err, &c):
		return next, "", c.Unwrap()
	case err == nil:
		if !r.Known {
			r.Known, r.Name, r.Entry = true, e.Display, e.ID()
		}
		if !e.Target.Equal(r.Target) {
			return e.Target, fmt.Sprintf("%s is a proxy of %s", r.Target, e.ID()), nil
		}
	}
	if inner := d.Native(r.Target); inner != r.Target {
		return inner, fmt.Sprintf("%s is inside %s", inner, r.Target), nil
	}
	if sender, ok := d.replied(r.Target); ok {
		return sender, fmt.Sprintf("%s was given to %s to be answered by", r.Target, sender), nil
	}
	if moved, ok := d.renamed(r.Target); ok {
		return moved, fmt.Sprintf("the post office of %s is now that of %s", r.Target, moved), nil
	}
	return next, "", nil
}

// circle is X.411's redirection-loop-detected.
func circle(a address.Address, steps []string) *mail.Failure {
	return &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeRecipient, Code: 554, Enhanced: "5.4.6", Reason: 1, Diagnostic: 27, MSMail: 4,
		Text: fmt.Sprintf("the directory leads %s in a circle: %s", a, strings.Join(steps, "; "))}
}

// renamed applies the table of renamed post offices (KB Q114246).
func (d *Directory) renamed(a address.Address) (address.Address, bool) {
	if len(d.aliases) == 0 || a.Type != address.MS {
		return a, false
	}
	m, err := a.MSMail()
	if err != nil {
		return a, false
	}
	po, ok := d.aliases[fold(m.PostOffice().String())]
	if !ok {
		return a, false
	}
	m.Net, m.PO = po.Net, po.PO
	moved, err := m.Address()
	return moved, err == nil
}

// checkAliases reads the table and finds the last name of each chain.
func checkAliases(in map[string]string) (map[string]address.MSMail, error) {
	step := map[string]address.MSMail{}
	for old, now := range in {
		o, err := address.ParsePostOffice(old)
		if err != nil {
			return nil, fmt.Errorf("directory: renamed post office: %w", err)
		}
		n, err := address.ParsePostOffice(now)
		if err != nil {
			return nil, fmt.Errorf("directory: renamed post office: %w", err)
		}
		step[fold(o.String())] = n
	}
	out := map[string]address.MSMail{}
	for old, now := range step {
		for range len(step) {
			further, ok := step[fold(now.String())]
			if !ok {
				break
			}
			now = further
		}
		if _, circles := step[fold(now.String())]; circles {
			return nil, fmt.Errorf("directory: renamed post offices lead in a circle at %s", now)
		}
		out[old] = now
	}
	return out, nil
}
