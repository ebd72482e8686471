// Package msmail is the MS Mail Connector: it takes mail from Microsoft Mail post offices and gives mail to them through
// shadow post offices, folders in which their FFAPI agents leave and collect MMFF files.
//
// It owns which post offices there are, how each of them writes and reads, and which recipients are theirs. Package
// shadowpo owns the folders and the promise that a message passes them exactly once; package translate owns the content.
// The connector never decides about retry: a fault of disk or share is deferred, only what can't be written for a post
// office at all is final. A submitted message that the gateway refuses for good goes to badmail, and its sender gets MS
// Mail's own report.
//
// How it fails: a post office whose folder is not there defers its mail at link scope, and the others go on. Content that
// makes translation fail, or panic, fails alone.
package msmail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/connectors/msmail/translate"
	"backbone/gateway/address"
	"backbone/shadowpo"
	"backbone/shadowpo/mmff"
)

// Kind is this connector's line in the registry.
var Kind = connectors.Kind{
	Type:      "msmail",
	NewConfig: func() connectors.Config { return NewConfig() },
	Open:      Open,
}

// Connector is one section's shadow post offices. It is a connectors.Connector, Source and Quarantine.
type Connector struct {
	name    string
	env     connectors.Env
	log     *slog.Logger
	offices []*office
	maxSize int64
}

// office is one post office.
type office struct {
	name    string // NET/PO
	spaces  []address.Space
	drop    *shadowpo.Drop
	text    translate.PostOffice
	maxSize int64
	side    bool
	log     *slog.Logger
}

// Open builds the connectors. It does not touch the folders: one that is not there is found out, and logged, by
// whoever needs it.
func Open(env connectors.Env, cfgs []connectors.Config) (connectors.Opened, error) {
	var opened connectors.Opened
	var all []*Connector
	taken := map[string]string{}
	closeAll := func() error {
		var err error
		for _, c := range all {
			for _, o := range c.offices {
				err = errors.Join(err, o.drop.Close())
			}
		}
		return err
	}
	for _, cfg := range cfgs {
		section, ok := cfg.(*Config)
		if !ok {
			return connectors.Opened{}, errors.Join(fmt.Errorf("msmail: section %q is a %T, not an MS Mail section", cfg.Base().Name, cfg), closeAll())
		}
		c := &Connector{name: section.Name, env: env, log: env.Log, maxSize: section.MaxSize}
		if c.log == nil {
			c.log = slog.New(slog.DiscardHandler)
		}
		c.log = c.log.With("connector", section.Name)
		all = append(all, c)
		for i := range section.PostOffices {
			o, err := c.openOffice(section, &section.PostOffices[i])
			if err == nil {
				c.offices = append(c.offices, o)
				if other := taken[o.name]; other != "" {
					err = fmt.Errorf("post office %s belongs to connector %q already", o.name, other)
				}
				taken[o.name] = section.Name
			}
			if err != nil {
				return connectors.Opened{}, errors.Join(fmt.Errorf("msmail: connector %q: %w", section.Name, err), closeAll())
			}
		}
		opened.Connectors = append(opened.Connectors, c)
		opened.Sources = append(opened.Sources, c)
	}
	opened.Close = closeAll
	return opened, nil
}

func (c *Connector) openOffice(section *Config, po *PostOffice) (*office, error) {
	name, err := address.ParsePostOffice(po.Address)
	if err != nil {
		return nil, err
	}
	page, err := mmff.LookupCodePage(po.codePage())
	if err != nil {
		return nil, fmt.Errorf("post office %s: %w", name, err)
	}
	zone, err := time.LoadLocation(po.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("post office %s: time zone: %w", name, err)
	}
	spaces, err := section.officeSpaces(po)
	if err != nil {
		return nil, err
	}
	o := &office{name: name.String(), spaces: spaces, maxSize: po.MaxSize, side: !po.NoSideFiles, log: c.log}
	o.text = translate.PostOffice{Name: name, Page: page, LineEnd: po.lineEnd(), Zone: zone, RichText: translate.RichText(po.richText()),
		MaxSubject: po.MaxSubject, Wrap: po.Wrap, DOSNames: po.DOSNames, Heading: po.Heading, EmbeddedText: po.EmbeddedText,
		Postmaster: c.postmaster(name)}
	for _, g := range po.Gateways {
		t, err := address.ParseType(g)
		if err != nil {
			return nil, fmt.Errorf("post office %s: %w", name, err)
		}
		o.text.Gateways = append(o.text.Gateways, t)
	}
	if o.text.Special, err = c.special(po); err != nil {
		return nil, fmt.Errorf("post office %s: %w", name, err)
	}
	o.drop, err = shadowpo.Open(c.env.Path(section.drop(po)), shadowpo.Options{
		PostOffice: name, MMFF: mmff.Options{CodePage: page, AcceptCC: po.AcceptCC}, External: po.ExternalFiles,
		Poll: section.Poll.D(), Stable: section.stable(), Incomplete: section.Incomplete.D(), Batch: section.Batch, TextLogs: section.TextLogs, Keep: section.Keep.D(), Log: c.log,
	})
	return o, err
}

// postmaster is whose name reports bear: POSTMASTER of the site's own shadow post office, which users know as the place
// where the mail stopped, or of theirs when the site has none.
func (c *Connector) postmaster(po address.MSMail) address.Address {
	if site, err := address.ParsePostOffice(c.env.Site.MS); err == nil {
		po = site
	}
	return address.Address{Type: address.MS, Value: po.PostOffice().String() + "/POSTMASTER"}
}

// special is who gets user-list exports; zero deletes them.
func (c *Connector) special(po *PostOffice) (address.Address, error) {
	switch po.Special {
	case "", specialDelete:
		return address.Address{}, nil
	case specialAdministrator:
		if !c.env.Site.Postmaster.IsZero() {
			return c.env.Site.Postmaster, nil
		}
		return address.Address{Type: address.SMTP, Value: "postmaster@" + c.domain()}, nil
	}
	return address.Parse(po.Special)
}

// domain is the right side of the Message-IDs that we make.
func (c *Connector) domain() string {
	if len(c.env.Site.Domains) > 0 {
		return c.env.Site.Domains[0]
	}
	return strings.ToLower(c.env.Site.Name) + ".invalid" // RFC 2606: a site without SMTP
}

// Name is the section's name.
func (c *Connector) Name() string { return c.name }

// Spaces are each post office's own NET/PO and what lies behind it.
func (c *Connector) Spaces() []address.Space {
	var out []address.Space
	for _, o := range c.offices {
		out = append(out, o.spaces...)
	}
	return slices.Clone(out)
}

// Check tells whether every post office's folder is there, for the daemon's readiness.
func (c *Connector) Check(ctx context.Context) error {
	var errs []error
	for _, o := range c.offices {
		if _, err := o.drop.Check(ctx); err != nil {
			errs = append(errs, fmt.Errorf("post office %s: %w", o.name, err))
		}
	}
	return errors.Join(errs...)
}

// office finds a post office by NET/PO.
func (c *Connector) office(name string) *office {
	i := slices.IndexFunc(c.offices, func(o *office) bool { return o.name == name })
	if i < 0 {
		return nil
	}
	return c.offices[i]
}

// drop is a post office's folder, as the section says it: NET.PO in the shadow folder unless it has its own.
func (c *Config) drop(po *PostOffice) string {
	if po.Dir != "" {
		return po.Dir
	}
	return filepath.Join(c.Dir, strings.ReplaceAll(strings.ToUpper(po.Address), "/", "."))
}

// CreateDrops makes the folders of the section's post offices, for `backbone init` and for tests: a running gateway never
// does, since a folder that is missing may be a share that is not mounted. path resolves relative names.
func (c *Config) CreateDrops(path func(string) string) error {
	for i := range c.PostOffices {
		name, err := address.ParsePostOffice(c.PostOffices[i].Address)
		if err != nil {
			return err
		}
		if err := shadowpo.Create(path(c.drop(&c.PostOffices[i])), name); err != nil {
			return err
		}
	}
	return nil
}
