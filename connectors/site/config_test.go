package site

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
)

func TestCheckSaysWhatIsWrong(t *testing.T) {
	good := func() *Config {
		c := NewConfig().(*Config)
		c.Peer, c.PeerSite, c.Certificate, c.Key, c.PeerCertificate = "siteb.example.com:7400", "SITEB", "a.crt", "a.key", "b.crt"
		return c
	}
	if bad := good().Check(); len(bad) != 0 {
		t.Fatalf("a good configuration: %v", bad)
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		key    string
	}{
		{"neither peer nor listen", func(c *Config) { c.Peer = "" }, "peer"},
		{"a peer without port", func(c *Config) { c.Peer = "siteb.example.com" }, "peer"},
		{"a peer without host", func(c *Config) { c.Peer = ":7400" }, "peer"},
		{"a peer that is a URL", func(c *Config) { c.Peer = "https://siteb:7400" }, "peer"},
		{"a port that there is not", func(c *Config) { c.Listen = "0.0.0.0:70000" }, "listen"},
		{"a site name with a slash", func(c *Config) { c.PeerSite = "../SITEB" }, "peer_site"},
		{"no site name", func(c *Config) { c.PeerSite = "" }, "peer_site"},
		{"no certificate", func(c *Config) { c.Certificate = "" }, "certificate"},
		{"no key", func(c *Config) { c.Key = "" }, "key"},
		{"no one to trust", func(c *Config) { c.PeerCertificate = "" }, "peer_certificate"},
		{"two ways to trust", func(c *Config) { c.CA = "ca.pem" }, "ca"},
		{"a name for a pinned certificate", func(c *Config) { c.PeerName = "x" }, "peer_name"},
		{"a timeout that is none", func(c *Config) { c.Timeout = 0 }, "timeout"},
		{"chunks of one octet", func(c *Config) { c.Chunk = 1 }, "chunk"},
		{"no streams", func(c *Config) { c.Streams = 0 }, "streams"},
		{"a spool that holds nothing", func(c *Config) { c.SpoolSize = 1000 }, "spool_size"},
		{"messages larger than the spool", func(c *Config) { c.MaxSize = 2 << 30 }, "max_size"},
		{"parts that are old at once", func(c *Config) { c.SpoolAge = connectors.Duration(time.Second) }, "spool_age"},
		{"spaces without a peer to send to", func(c *Config) {
			c.Peer, c.Listen = "", ":7400"
			c.Spaces = []connectors.Space{{Address: "MS:"}}
		}, "space"},
		{"a space that is none", func(c *Config) { c.Spaces = []connectors.Space{{Address: "nonsense"}} }, "space[0].address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.change(c)
			bad := c.Check()
			if len(bad) != 1 || bad[0].Key != tt.key || bad[0].Text == "" {
				t.Errorf("got %v, want one problem with %s", bad, tt.key)
			}
		})
	}
}

func TestOpenRefusesWhatCanNotWork(t *testing.T) {
	w := newWorld(t, nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	otherCert, otherKey := identity(t, w.dir, "OTHER")
	rubbish := filepath.Join(w.dir, "rubbish")
	if err := os.WriteFile(rubbish, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(a, b *Config)
		want   string
	}{
		{"two links whose peers show the same certificate", func(_, b *Config) { b.PeerSite = "SITEC" }, "can't be told apart"},
		{"two links at one address with certificates of their own", func(_, b *Config) { b.Certificate, b.Key, b.PeerCertificate = otherCert, otherKey, otherCert },
			"share certificate and key"},
		{"an address in use", func(a, b *Config) { a.Listen, b.Listen = taken.Addr().String(), "" }, "address already in use"},
		{"a link to itself", func(_, b *Config) { b.PeerSite = "SITEB" }, "this site itself"},
		{"no certificate file", func(_, b *Config) { b.Certificate = filepath.Join(w.dir, "none") }, "no such file"},
		{"a key that does not fit", func(_, b *Config) { b.Key = otherKey }, "private key does not match"},
		{"no pin file", func(_, b *Config) { b.PeerCertificate = filepath.Join(w.dir, "none") }, "peer_certificate"},
		{"a pin file that holds none", func(_, b *Config) { b.PeerCertificate = rubbish }, "no PEM certificate"},
		{"a key where the pin should be", func(_, b *Config) { b.PeerCertificate = otherKey }, "only certificates belong there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := *w.cfgB, *w.cfgB
			a.Listen, b.Listen, b.Name = "127.0.0.1:0", "127.0.0.1:0", "second"
			tt.change(&a, &b)
			_, err := Open(w.env("SITEB"), []connectors.Config{&a, &b})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestALinkWithoutPeerOnlyTakesIn(t *testing.T) {
	w := newWorld(t, nil)
	in := w.source.links[0]
	if _, err := in.NextHop(transfer("x", nil).Envelope.Recipients[0].Address); err == nil {
		t.Error("NextHop gave a destination")
	}
	if _, err := in.Ping(t.Context()); err == nil {
		t.Error("Ping got an answer")
	}
}
