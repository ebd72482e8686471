package config

import (
	"fmt"
	"sort"
	"strings"

	"backbone/gateway/address"
)

// Warnings lists what is allowed but rarely meant, one sentence each. Parse must have succeeded.
func Warnings(c *Config) []string {
	var out []string
	if k := c.Control; k.Listen != "" && !loopbackOnly(k.Listen) {
		if k.Cert == "" {
			out = append(out, "control.listen is reachable from other hosts without TLS: health and metrics are served, the dashboard only to this host; set control.cert and control.key")
		} else if len(k.Users) == 0 {
			out = append(out, "control.listen is reachable from other hosts and there is no [[control.user]]: nobody can sign in from them")
		}
	}
	types := map[address.Type]bool{}
	claims := map[string][]string{}
	enabled := 0
	for _, cc := range c.Connectors {
		b := cc.Base()
		if b.Disabled {
			continue
		}
		enabled++
		spaces, _ := b.AddressSpaces() // checked by Parse
		for _, s := range spaces {
			types[s.Type] = true
			k := fmt.Sprintf("%s at cost %d", s, s.Cost)
			claims[k] = append(claims[k], b.Name)
			if s.Type == address.SMTP && s.Pattern != "" && s.Pattern != "*" && !strings.Contains(s.Pattern, "@") {
				out = append(out, fmt.Sprintf("connector.%s: %s matches no mailbox: write SMTP:*@%s (KB Q229961)", b.Name, s, s.Pattern))
			}
			if s.Type == address.SMTP && b.Type == "msmail" {
				out = append(out, fmt.Sprintf("connector.%s: %s on a MS Mail connector attracts mail that its post offices may not be able to pass on (KB Q169117)", b.Name, s))
			}
			if s.Type == address.X400 && (s.Pattern == "" || strings.EqualFold(strings.ReplaceAll(s.Pattern, " ", ""), "c=*;")) {
				out = append(out, fmt.Sprintf("connector.%s: %s claims every O/R address (KB Q262112)", b.Name, s))
			}
		}
	}
	if enabled == 0 {
		out = append(out, "no connector is enabled: nothing can come in or go out")
	} else if !types[address.SMTP] {
		out = append(out, "no connector has an SMTP address space: mail to SMTP addresses will be returned to its senders")
	}
	for k, names := range claims {
		if len(names) > 1 {
			sort.Strings(names)
			out = append(out, fmt.Sprintf("%s is on %s: mail is shared between them", k, strings.Join(names, " and ")))
		}
	}
	sort.Strings(out)
	return out
}
