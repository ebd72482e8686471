package x400

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/ber"
	"backbone/gateway/mail"
)

// quarantine is the folder where transfers that are no MTS-APDU are kept: NAME.apdu with the octets, NAME.txt with the
// reason. The peer was told that we have them.
type quarantine struct{ peer *peer }

const (
	badAPDU   = ".apdu"
	badReason = ".txt"
)

func (q quarantine) dir() string { return filepath.Join(q.peer.dir, "bad") }

// keep writes b durably, and gives the file's name.
func (q quarantine) keep(b []byte, why error, now time.Time) (string, error) {
	if err := os.MkdirAll(q.dir(), 0o700); err != nil {
		return "", err
	}
	base := filepath.Join(q.dir(), now.UTC().Format("20060102T150405.000000000"))
	if err := os.WriteFile(base+badReason, []byte(why.Error()+"\n"), 0o600); err != nil {
		return "", err
	}
	f, err := os.OpenFile(base+badAPDU, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	return base + badAPDU, errors.Join(err, f.Sync(), f.Close(), syncDir(q.dir()))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// names are the entries, oldest first.
func (q quarantine) names() ([]string, error) {
	all, err := os.ReadDir(q.dir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range all {
		if base, ok := strings.CutSuffix(e.Name(), badAPDU); ok {
			out = append(out, base)
		}
	}
	return out, err
}

// find gives the file of the entry id.
func (q quarantine) find(id string) (string, error) {
	names, err := q.names()
	if err != nil {
		return "", err
	}
	base, ok := strings.CutPrefix(id, q.peer.connector+"/")
	if !ok || !slices.Contains(names, base) {
		return "", connectors.ErrNoQuarantine
	}
	return filepath.Join(q.dir(), base), nil
}

var _ connectors.Quarantine = (*Connector)(nil)

// Quarantined lists what the peer transferred that is no MTS-APDU.
func (c *Connector) Quarantined(context.Context) ([]connectors.Quarantined, error) {
	q := quarantine{c.peer}
	names, err := q.names()
	if err != nil {
		return nil, err
	}
	var out []connectors.Quarantined
	for _, base := range names {
		e := connectors.Quarantined{ID: c.Name() + "/" + base, Place: c.peer.remoteMTA, File: base + badAPDU, Offset: -1}
		info, err := os.Stat(filepath.Join(q.dir(), e.File))
		if errors.Is(err, os.ErrNotExist) {
			continue // discarded meanwhile
		}
		if err != nil {
			return nil, err
		}
		e.Size, e.At = info.Size(), info.ModTime()
		if why, err := os.ReadFile(filepath.Join(q.dir(), base+badReason)); err == nil {
			e.Reason = strings.TrimSpace(string(why))
			var at int64
			if i := strings.Index(e.Reason, "ber: octet "); i >= 0 {
				if _, err := fmt.Sscanf(e.Reason[i:], "ber: octet %d", &at); err == nil {
					e.Offset = at
				}
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// QuarantinedBytes gives the first octets of an entry.
func (c *Connector) QuarantinedBytes(_ context.Context, id string, most int64) ([]byte, error) {
	name, err := quarantine{c.peer}.find(id)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name + badAPDU)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	return b, errors.Join(err, f.Close())
}

// ReplayQuarantined takes an entry as if it came now. One that still is no MTS-APDU stays, with the error that says why.
func (c *Connector) ReplayQuarantined(ctx context.Context, id string, replacement []byte) error {
	name, err := quarantine{c.peer}.find(id)
	if err != nil {
		return err
	}
	gw := c.peer.gw.Load()
	if gw == nil {
		return errors.New("x400: the connector does not listen, so it can take nothing in")
	}
	b := replacement
	if b == nil {
		if b, err = os.ReadFile(name + badAPDU); err != nil {
			return err
		}
	}
	d := ber.NewDecoder(b, ber.DefaultLimits)
	if d.Root(); d.Err() != nil {
		return d.Err()
	}
	in := &arrivals{peer: c.peer, gw: *gw, from: "quarantine"}
	a := &arrival{in, newSpool(c.peer.dir, 0), ctx}
	defer a.Discard()
	if _, err := a.Write(b); err != nil {
		return mail.LocalFault("no spool file", err)
	}
	if err := a.offer(b); err != nil {
		return err
	}
	return c.DiscardQuarantined(ctx, id)
}

// DiscardQuarantined removes an entry.
func (c *Connector) DiscardQuarantined(_ context.Context, id string) error {
	name, err := quarantine{c.peer}.find(id)
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(name+badAPDU), os.Remove(name+badReason), syncDir(quarantine{c.peer}.dir()))
}
