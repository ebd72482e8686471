package main

import (
	"fmt"
	"log/slog"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/agent"
	"backbone/gateway/config"
	"backbone/gateway/directory"
)

// openAgent makes the directory agent of the configuration.
func openAgent(cfg *config.Config, id connectors.Site, dir *directory.Directory, log *slog.Logger) (*agent.Agent, error) {
	secrets := connectors.Env{Base: cfg.Dir()}
	o := agent.Options{Site: id, Directory: dir, Guard: cfg.Directory.DeleteGuard, Keep: cfg.DirSync.KeepUpdates.D(), Log: log,
		T1: cfg.DirSync.T1, T2: cfg.DirSync.T2, T3: cfg.DirSync.T3}
	for _, p := range cfg.Replication.Partners {
		key, err := secrets.Secret(p.Key)
		if err != nil {
			return nil, fmt.Errorf("replication.partner %s: key: %w", p.Site, err)
		}
		x := agent.Partner{Site: p.Site, Connectors: p.Connectors, Cost: p.Cost, Key: []byte(key), Interval: cfg.Replication.Interval.D()}
		if p.Address != "" {
			if x.Address, err = address.Parse(p.Address); err != nil {
				return nil, fmt.Errorf("replication.partner %s: %w", p.Site, err)
			}
		}
		o.Partners = append(o.Partners, x)
	}
	for _, list := range []struct {
		from []config.SyncPartner
		to   *[]agent.PostOffice
	}{{cfg.DirSync.Requestors, &o.Requestors}, {cfg.DirSync.Servers, &o.Servers}} {
		for _, p := range list.from {
			password, err := secrets.Secret(p.Password)
			if err != nil {
				return nil, fmt.Errorf("dirsync: %s: password: %w", p.Address, err)
			}
			po := agent.PostOffice{Address: p.Address, Password: password, Behind: p.Behind, Templates: p.Templates, Attach: cfg.DirSync.Attach, CodePage: p.CodePage}
			for _, t := range p.Types {
				po.Types = append(po.Types, address.Type(t))
			}
			*list.to = append(*list.to, po)
		}
	}
	return agent.New(o)
}
