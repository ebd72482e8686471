package site

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"backbone/connectors"
)

// Config is one site link's section. Several may name the same Listen address: callers are told apart by certificate.
type Config struct {
	connectors.Common
	Listen   string `toml:"listen" doc:"host:port where the peer calls; empty: it never calls. Links may share one address if they share certificate and key"`
	Peer     string `toml:"peer" doc:"host:port of the peer; empty: mail only comes in over this link"`
	PeerSite string `toml:"peer_site" doc:"name of the site at the other end"`

	Certificate     string `toml:"certificate" doc:"file with this site's certificate (PEM); read again when it changes"`
	Key             string `toml:"key" doc:"file with its private key (PEM)"`
	PeerCertificate string `toml:"peer_certificate" doc:"file with the peer's certificate; several, while it changes its key. These and no others are believed, whatever their dates"`
	CA              string `toml:"ca" doc:"instead of peer_certificate: file with the authorities that may vouch for the peer"`
	PeerName        string `toml:"peer_name" doc:"with ca: the DNS name in the peer's certificate; default peer_site"`

	Timeout   connectors.Duration `toml:"timeout" doc:"longest wait for the peer's next answer or for one chunk of a message"`
	Chunk     int                 `toml:"chunk" doc:"octets sent in one piece, 4096 to 1048576"`
	Streams   int                 `toml:"streams" doc:"messages under way at once in each direction"`
	SpoolSize int64               `toml:"spool_size" doc:"octets kept of messages that have arrived in part; also the largest message taken"`
	SpoolAge  connectors.Duration `toml:"spool_age" doc:"how long part of a message is kept for the peer to go on with it"`
}

// Limits of protocol version 1. *Ours*.
const (
	inlineLimit   = 64 << 10 // content in the offer itself
	chunkLimit    = 1 << 20
	envelopeLimit = 4 << 20                       // an envelope on the wire
	frameLimit    = envelopeLimit + 2*inlineLimit // any one message of the protocol
	spoolCount    = 256                           // parts of messages kept for one peer
)

// NewConfig has the defaults.
func NewConfig() connectors.Config {
	return &Config{
		Timeout: connectors.Duration(2 * time.Minute), Chunk: 64 << 10, Streams: 32,
		SpoolSize: 1 << 30, SpoolAge: connectors.Duration(48 * time.Hour),
	}
}

// Check returns what is wrong with the values.
func (c *Config) Check() []connectors.Problem {
	_, bad := c.AddressSpaces()
	say := func(key, format string, args ...any) {
		bad = append(bad, connectors.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.Listen == "" && c.Peer == "" {
		say("peer", "a link needs peer (whom to call), listen (where to be called), or both")
	}
	if c.Listen != "" && !hostPort(c.Listen, true) {
		say("listen", "%q: write host:port, such as 0.0.0.0:7400", c.Listen)
	}
	if c.Peer != "" && !hostPort(c.Peer, false) {
		say("peer", "%q: write host:port, such as siteb.example.com:7400", c.Peer)
	}
	if len(c.Spaces) > 0 && c.Peer == "" {
		say("space", "this link has no peer to send to: add peer or remove the address spaces")
	}
	if !validSiteName(c.PeerSite) {
		say("peer_site", "%q: write the peer's site name, 1 to 32 letters, digits or '-'", c.PeerSite)
	}
	if c.Certificate == "" {
		say("certificate", "missing: name the file with this site's certificate")
	}
	if c.Key == "" {
		say("key", "missing: name the file with this site's private key")
	}
	switch {
	case c.PeerCertificate == "" && c.CA == "":
		say("peer_certificate", "missing: copy the peer's certificate here and name the file (or use ca)")
	case c.PeerCertificate != "" && c.CA != "":
		say("ca", "peer_certificate is there too: keep one of them")
	case c.PeerName != "" && c.CA == "":
		say("peer_name", "only used with ca: a pinned certificate needs no name")
	}
	if d := c.Timeout.D(); d < time.Second || d > time.Hour {
		say("timeout", "%s is outside 1s..1h", c.Timeout)
	}
	if c.Chunk < 4096 || c.Chunk > chunkLimit {
		say("chunk", "%d is outside 4096..%d", c.Chunk, chunkLimit)
	}
	if c.Streams < 1 || c.Streams > 1000 {
		say("streams", "%d is outside 1..1000", c.Streams)
	}
	if c.SpoolSize < 1<<20 {
		say("spool_size", "%d is too little: at least 1048576", c.SpoolSize)
	}
	if c.MaxSize < 0 || c.MaxSize > c.SpoolSize {
		say("max_size", "%d is outside 0..spool_size (%d)", c.MaxSize, c.SpoolSize)
	}
	if c.SpoolAge.D() < time.Minute {
		say("spool_age", "%s is too short: at least 1m", c.SpoolAge)
	}
	return bad
}

// hostPort tells a usable address; only a listener may leave the host out.
func hostPort(s string, emptyHost bool) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" && !emptyHost || strings.ContainsAny(host, " /") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && (n > 0 || emptyHost)
}

func validSiteName(s string) bool {
	if len(s) < 1 || len(s) > 32 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}
