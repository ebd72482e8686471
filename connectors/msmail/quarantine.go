package msmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"backbone/connectors"
	"backbone/shadowpo"
)

var _ connectors.Quarantine = (*Connector)(nil)

// Quarantined lists the badmail folders, one post office after the other. One that can't be read is an error beside what
// the others hold.
func (c *Connector) Quarantined(ctx context.Context) ([]connectors.Quarantined, error) {
	var out []connectors.Quarantined
	var errs []error
	for _, o := range c.offices {
		list, err := o.drop.Quarantine(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("post office %s: %w", o.name, err))
		}
		for _, e := range list {
			reason := strings.Join(e.Reasons, "; ")
			if e.Odd != "" {
				reason = e.Odd
			}
			out = append(out, connectors.Quarantined{ID: o.folder() + "/" + e.Name, Place: o.name, File: e.File, Size: e.Size, At: e.At,
				Reason: reason, Offset: e.Offset})
		}
	}
	return out, errors.Join(errs...)
}

// folder is NET.PO, the post office's name in an entry's id.
func (o *office) folder() string { return strings.ReplaceAll(o.name, "/", ".") }

// entry finds whose badmail an id speaks of.
func (c *Connector) entry(id string) (*office, string, error) {
	folder, name, ok := strings.Cut(id, "/")
	for _, o := range c.offices {
		if ok && strings.EqualFold(o.folder(), folder) {
			return o, name, nil
		}
	}
	return nil, "", fmt.Errorf("%s: %w", id, connectors.ErrNoQuarantine)
}

// QuarantinedBytes returns the first max octets of an entry.
func (c *Connector) QuarantinedBytes(ctx context.Context, id string, max int64) ([]byte, error) {
	o, name, err := c.entry(id)
	if err != nil {
		return nil, err
	}
	_, r, err := o.drop.Quarantined(ctx, name)
	if err != nil {
		return nil, missing(id, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, max))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	return b, nil
}

// ReplayQuarantined puts an entry back into the submit folder, edited when replacement is not nil.
func (c *Connector) ReplayQuarantined(ctx context.Context, id string, replacement []byte) error {
	o, name, err := c.entry(id)
	if err != nil {
		return err
	}
	var edited io.Reader
	if replacement != nil {
		edited = bytes.NewReader(replacement)
	}
	_, err = o.drop.Replay(ctx, name, edited)
	return missing(id, err)
}

// DiscardQuarantined removes an entry for good.
func (c *Connector) DiscardQuarantined(ctx context.Context, id string) error {
	o, name, err := c.entry(id)
	if err != nil {
		return err
	}
	return missing(id, o.drop.Discard(ctx, name))
}

func missing(id string, err error) error {
	if errors.Is(err, shadowpo.ErrNoEntry) {
		return fmt.Errorf("%s: %w", id, connectors.ErrNoQuarantine)
	}
	return err
}
