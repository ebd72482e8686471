package x400

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
)

func TestCheckNamesEachWrongValue(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		key    string
		text   string
	}{
		{"a section that neither calls nor is called", func(c *Config) { c.Peer = "" }, "peer", "host:port"},
		{"a peer without a port", func(c *Config) { c.Peer = "127.0.0.1" }, "peer", "host:port"},
		{"the loop-back beyond this machine", func(c *Config) { c.Peer = "192.0.2.1:102" }, "peer", "127.0.0.1:102"},
		{"an unknown transport", func(c *Config) { c.Transport = "x25" }, "transport", "loopback"},
		{"no remote name", func(c *Config) { c.RemoteMTA = "" }, "remote_mta", "missing"},
		{"a name of 33 characters", func(c *Config) { c.LocalMTA = strings.Repeat("x", 33) }, "local_mta", "at most 32"},
		{"a name that is not IA5", func(c *Config) { c.RemoteMTA = "zürich" }, "remote_mta", "IA5String"},
		{"no threshold", func(c *Config) { c.Threshold = 0 }, "threshold", "1..1000"},
		{"no disconnect time", func(c *Config) { c.Disconnect = 0 }, "disconnect", "longer than zero"},
		{"a schedule of its own", func(c *Config) { c.Schedule = "sometimes" }, "schedule", "always, never or remote"},
		{"a cost of 101", func(c *Config) { c.Spaces[0].Cost = 101 }, "space[0].cost", "1..100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := section("SITEA", "SITEB")
			c.Peer = "127.0.0.1:1103"
			if bad := c.Check(); len(bad) > 0 {
				t.Fatalf("before the change: %v", bad)
			}
			tt.change(c)
			bad := c.Check()
			if len(bad) != 1 || bad[0].Key != tt.key || !strings.Contains(bad[0].Text, tt.text) {
				t.Errorf("got %v, want one problem at %q that says %q", bad, tt.key, tt.text)
			}
		})
	}
}

func TestOpenRefusesAPasswordThatP1CantCarry(t *testing.T) {
	c := section("SITEA", "SITEB")
	c.Listen, c.LocalPassword = "127.0.0.1:0", connectors.Secret(strings.Repeat("x", 63))
	if opened, err := Open(connectors.Env{}, []connectors.Config{c}); err == nil {
		t.Error("opened", opened)
	}
}

func TestTheMappingTablesAreRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "or2rfc"), []byte("O$UCL.PRMD$UK\\.AC.ADMD$GOLD 400.C$GB#ucl.ac.uk#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	us, err := address.ParseORAddress("c=US;a= ;p=Northwind;o=SITEA;")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file, want string
	}{{"or2rfc", ""}, {"missing", "or2rfc"}} {
		c := section("SITEA", "SITEB")
		c.Transport, c.Listen, c.OR2RFC = "rfc1006", "127.0.0.1:0", tt.file
		p, err := newPeer(connectors.Env{Base: dir, Site: connectors.Site{Name: "SITEA", X400: us}, Book: &connectortest.Book{},
			Dir: func(string) (string, error) { return dir, nil }}, c)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.file, err)
			}
			continue
		}
		if err != nil || len(p.addresses.Table) != 1 || p.addresses.Table[0].OR.P != "UK.AC" {
			t.Error(err, p)
		}
	}
}
