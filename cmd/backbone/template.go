package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"backbone/connectors/msmail"
	sitelink "backbone/connectors/site"
	"backbone/gateway/config"
)

// siteTemplate is a site whose configuration this program writes: by init, for the embedded default, for the demo.
type siteTemplate struct {
	File    string // of the configuration; "" is backbone.toml
	Name    string
	Domain  string
	PO      string // the post office that it serves, NET/PO
	Data    string
	Control string
	SMTP    string
	X400    string
	Link    string // where the joined site's link calls; only with Peer
	// Peer is the joined site; nil when there is none yet.
	Peer *peerTemplate
}

// peerTemplate is the other site as a configuration names it.
type peerTemplate struct {
	Name, Domain, PO, SMTP, X400, Link string
}

var embeddedSite = siteTemplate{
	Name: "SITEA", Domain: "sitea.example", PO: "NET/PO1", Data: "data",
	Control: "127.0.0.1:8025", SMTP: "127.0.0.1:2525", X400: "127.0.0.1:1102",
}

var siteText = template.Must(template.New("site").Funcs(template.FuncMap{"lower": strings.ToLower}).Parse(`# Backbone: one site. ` + "`backbone config reference`" + ` lists every key, ` + "`backbone config check`" + ` finds every mistake.

[site]
name = "{{.Name}}"
organization = "Northwind"
domains = ["{{.Domain}}"]               # SMTP domains that are ours
{{- with .Peer}}
partners = ["{{.Domain}}"]              # joined sites' domains
{{- end}}
ms = "NET/{{.Name}}"                    # this site's shadow post office, as MS Mail knows it
x400 = "c=US;a= ;p=Northwind;o={{.Name}}"
data = "{{.Data}}"

[control]
listen = "{{.Control}}"                 # dashboard, health, metrics; the CLI uses a unix socket

# The MS Mail Connector: a folder for each post office, with submit (from it), deliver (to it) and badmail.
# Its address space MS:{{.PO}} follows by itself.
[connector.msmail]
type = "msmail"
dir = "."
stable = "1s"
[[connector.msmail.postoffice]]
address = "{{.PO}}"
codepage = 850
gateways = ["SMTP", "X400"]             # its users can answer such addresses

# The Internet Mail Connector. It takes mail for our own domains and, encapsulated, for MS Mail and X.400 users;
# whoever may send elsewhere through us needs a relay rule.
[connector.imc]
type = "smtp"
listen = ["{{.SMTP}}"]
{{- with .Peer}}
# The dearest way to {{.Name}}: by mail, encapsulated.
smarthost = ["{{.SMTP}}"]
partner = true
tls = "off"
encapsulate_domain = "{{.Domain}}"
space = [ { address = "MS:{{.PO}}", cost = 50 }, { address = "SMTP:*@{{.Domain}}", cost = 50 } ]
relay = [ { networks = ["127.0.0.1"], partner = true, to = ["SMTP:*@{{$.Domain}}", "SMTP:*@{{.Domain}}", "MS:*", "X400:*"] } ]
{{- else}}
# To send to the Internet: smarthost = ["mail.example.com"], space = [ { address = "SMTP:*" } ]
{{- end}}

{{- with .Peer}}

# The X.400 Connector to {{.Name}}: the cheapest way.
[connector.x400]
type = "x400"
listen = "{{$.X400}}"
peer = "{{.X400}}"
remote_mta = "{{.Name}}"
local_password = "@x400.password"
remote_password = "@x400.password"
remote_address = "c=US;a= ;p=Northwind;o={{.Name}}"
space = [ { address = "MS:{{.PO}}", cost = 1 } ]

# The site link to {{.Name}}. It has no address space, so mail takes the other ways; over it each site tells the other what
# became of a message: "backbone trace" shows both parts.
[connector.link]
type = "site"
listen = "{{$.Link}}"
peer = "{{.Link}}"
peer_site = "{{.Name}}"
certificate = "{{lower $.Name}}-identity/site.crt"
key = "{{lower $.Name}}-identity/site.key"
peer_certificate = "{{lower .Name}}-identity/site.crt"
{{- else}}

# The X.400 Connector: one section for each peer MTA. Its password is in x400.password.
[connector.x400]
type = "x400"
listen = "{{.X400}}"
remote_mta = "PEER"
remote_password = "@x400.password"
{{- end}}
`))

func (d siteTemplate) render() (string, error) {
	var b strings.Builder
	err := siteText.Execute(&b, d)
	return b.String(), err
}

// prepare makes what the configuration refers to: passwords, the post offices' folders, the site link's key pair.
func (d siteTemplate) prepare(dir string) error {
	pw := filepath.Join(dir, "x400.password")
	if err := writeNew(pw, rand.Text()+"\n", 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	id := filepath.Join(dir, strings.ToLower(d.Name)+"-identity")
	if err := os.MkdirAll(id, 0o700); err != nil {
		return err
	}
	if _, err := sitelink.CreateIdentity(id, d.Name); err != nil {
		return fmt.Errorf("key pair for site links: %w", err)
	}
	p := filepath.Join(dir, "backbone.toml")
	if d.File != "" {
		p = filepath.Join(dir, d.File)
	}
	cfg, err := config.Load(p, kinds)
	if err != nil {
		return err
	}
	for _, c := range cfg.Connectors {
		if m, ok := c.(*msmail.Config); ok {
			if err := m.CreateDrops(func(s string) string {
				if filepath.IsAbs(s) {
					return s
				}
				return filepath.Join(dir, s)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}
