package config

import (
	"fmt"
	"strings"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/directory/dirsync"
)

// DirSync is directory synchronization with post offices.
type DirSync struct {
	T1          []dirsync.Moment    `toml:"t1" doc:"when changes are sent to servers: \"02:00\", or \"Mon 02:00\" (KB Q96060)"`
	T2          []dirsync.Moment    `toml:"t2" doc:"when requestors are answered"`
	T3          []dirsync.Moment    `toml:"t3" doc:"when the servers' answers are due"`
	Attach      int                 `toml:"attach" doc:"transactions from which on a list travels as an attachment, which MS Mail needs for long ones (KB Q123857)"`
	KeepUpdates connectors.Duration `toml:"keep_updates" doc:"how long changes are kept for a silent requestor; one that was silent longer gets the whole list (KB Q108067)"`
	Requestors  []SyncPartner       `toml:"requestor" doc:"a post office whose server this site is"`
	Servers     []SyncPartner       `toml:"server" doc:"a post office that is this site's server"`
}

// SyncPartner is one post office.
type SyncPartner struct {
	Address   string            `toml:"address" doc:"NET/PO; it must be reachable, and reach site.ms"`
	Password  connectors.Secret `toml:"password" doc:"expected from a requestor, sent to a server; text, or @FILE"`
	Types     []string          `toml:"types" doc:"address types beside MS that its users can write to: SMTP, X400"`
	Behind    []string          `toml:"behind" doc:"further post offices whose users a requestor may list: those of a site that is the requestor"`
	Templates bool              `toml:"templates" doc:"send title, department and the like"`
	CodePage  int               `toml:"codepage" doc:"of attached lists; default 850"`
}

// Replication is directory replication with joined sites.
type Replication struct {
	Interval connectors.Duration  `toml:"interval" doc:"how often a partner is asked when it does not say itself that something has changed"`
	Partners []ReplicationPartner `toml:"partner" doc:"a joined site"`
}

// ReplicationPartner is one joined site.
type ReplicationPartner struct {
	Site       string            `toml:"site" doc:"the partner's site.name"`
	Connectors []string          `toml:"connectors" doc:"names of the connectors that lead to it, best first"`
	Cost       int               `toml:"cost" doc:"of going there, added to the costs of the address spaces behind; default 1"`
	Address    string            `toml:"address" doc:"without a site link: where the partner's agent gets mail, MS:NET/PO/$SYSTEM with the partner's site.ms"`
	Key        connectors.Secret `toml:"key" doc:"with address: a secret that both sites share; text, or @FILE"`
}

// checkDirSync checks both sections.
func (c *Config) checkDirSync(at func(key, format string, args ...any)) {
	for name, list := range map[string][]SyncPartner{"requestor": c.DirSync.Requestors, "server": c.DirSync.Servers} {
		for i := range list {
			p, key := &list[i], fmt.Sprintf("dirsync.%s[%d]", name, i)
			po, err := address.ParsePostOffice(p.Address)
			if err != nil {
				at(key+".address", "%q: write NET/PO", p.Address)
				continue
			}
			p.Address = po.String()
			for _, t := range p.Types {
				if _, err := address.ParseType(t); err != nil {
					at(key+".types", "%v", err)
				}
			}
			for j, b := range p.Behind {
				po, err := address.ParsePostOffice(b)
				if err != nil {
					at(key+".behind", "%q: write NET/PO", b)
					continue
				}
				p.Behind[j] = po.String()
			}
			if name == "server" && len(p.Behind) > 0 {
				at(key+".behind", "a server may list anybody: this key is for requestors")
			}
			for _, other := range list[:i] {
				if other.Address == p.Address {
					at(key+".address", "%s is there twice", p.Address)
				}
			}
		}
		if len(list) > 0 && c.Site.MS == "" {
			at("dirsync."+name, "directory synchronization is addressed to the shadow post office: write site.ms = \"NET/PO\"")
		}
	}
	if c.DirSync.Attach < 1 {
		at("dirsync.attach", "%d: write a number above 0", c.DirSync.Attach)
	}
	for i := range c.Replication.Partners {
		p, key := &c.Replication.Partners[i], fmt.Sprintf("replication.partner[%d]", i)
		if p.Cost == 0 {
			p.Cost = 1
		}
		if !siteName.MatchString(p.Site) || strings.EqualFold(p.Site, c.Site.Name) {
			at(key+".site", "%q: write the name of another site", p.Site)
		}
		if p.Cost < 1 || p.Cost > 99 {
			at(key+".cost", "%d is outside 1..99", p.Cost)
		}
		if len(p.Connectors) == 0 {
			at(key+".connectors", "missing: name the connectors that lead to site %s", p.Site)
		}
		byLink := false
		for _, name := range p.Connectors {
			found := false
			for _, cc := range c.Connectors {
				if b := cc.Base(); b.Name == name {
					found = true
					byLink = byLink || b.Type == "site"
				}
			}
			if !found {
				at(key+".connectors", "there is no [connector.%s]", name)
			}
		}
		if p.Address == "" {
			if !byLink && len(p.Connectors) > 0 {
				at(key+".address", "missing: none of the connectors is a site link, so replication goes by mail, and needs address and key")
			}
			continue
		}
		if a, err := address.Parse(p.Address); err != nil {
			at(key+".address", "%v", err)
		} else {
			p.Address = a.String()
		}
		if p.Key == "" {
			at(key+".key", "missing: by mail anybody could claim to be site %s; write a secret that both sites share", p.Site)
		}
		if c.Site.MS == "" {
			at("replication.partner", "replication by mail needs a mailbox of its own: write site.ms = \"NET/PO\"")
		}
	}
	if c.Replication.Interval.D() <= 0 {
		at("replication.interval", "write a time above 0")
	}
}
