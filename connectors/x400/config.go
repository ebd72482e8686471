package x400

import (
	"fmt"
	"net"
	"strings"
	"time"

	"backbone/connectors"
)

// Config is one X.400 connector's section: one peer MTA. Names and defaults are those of Exchange 5.5's X.400
// connector (KB Q234157, Q157630, Q175483) where it had the setting; retries and their intervals are the gateway's.
type Config struct {
	connectors.Common
	Transport string `toml:"transport" doc:"loopback: a plain protocol between two gateways on one machine, for tests"`
	Listen    string `toml:"listen" doc:"address on which this peer calls us, host:port (102 in production); several connectors may share one; empty: we only call"`
	Peer      string `toml:"peer" doc:"address of the remote MTA, host:port; empty: it only calls us"`

	LocalMTA       string            `toml:"local_mta" doc:"our MTA name, at most 32 characters, as the peer expects it; default the site's name"`
	LocalPassword  connectors.Secret `toml:"local_password" doc:"our password, at most 62 octets; @file reads it from a file"`
	RemoteMTA      string            `toml:"remote_mta" doc:"the peer's MTA name, at most 32 characters; compared without regard to case"`
	RemotePassword connectors.Secret `toml:"remote_password" doc:"the password that the peer presents; @file reads it from a file"`

	AssociationLifetime connectors.Duration `toml:"association_lifetime" doc:"how long an idle association is kept for the next message"`
	Disconnect          connectors.Duration `toml:"disconnect" doc:"how long to wait for the peer to bind, or to answer a release"`
	Threshold           int                 `toml:"threshold" doc:"messages that wait before another association is opened beside those in use"`
	MaxAssociations     int                 `toml:"max_associations" doc:"associations at once that we open to this peer"`

	TimeoutUrgent    connectors.Duration `toml:"timeout_urgent" doc:"longest transfer of an urgent message, per KB of its size"`
	TimeoutNormal    connectors.Duration `toml:"timeout_normal" doc:"longest transfer of a normal message, per KB of its size"`
	TimeoutNonUrgent connectors.Duration `toml:"timeout_non_urgent" doc:"longest transfer of a non-urgent message, per KB of its size"`
}

// NewConfig has Exchange's defaults.
func NewConfig() *Config {
	return &Config{
		Transport:           "loopback",
		AssociationLifetime: connectors.Duration(300 * time.Second),
		Disconnect:          connectors.Duration(120 * time.Second),
		Threshold:           50,
		MaxAssociations:     10,
		TimeoutUrgent:       connectors.Duration(1000 * time.Second),
		TimeoutNormal:       connectors.Duration(2000 * time.Second),
		TimeoutNonUrgent:    connectors.Duration(3000 * time.Second),
	}
}

// Bounds of X.411: ub-mta-name-length, ub-password-length.
const (
	maxMTAName  = 32
	maxPassword = 62
)

// Check names each wrong value.
func (c *Config) Check() []connectors.Problem {
	var bad []connectors.Problem
	add := func(key, format string, args ...any) {
		bad = append(bad, connectors.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	_, spaces := c.AddressSpaces()
	bad = append(bad, spaces...)
	if c.Transport != "loopback" {
		add("transport", "%q: write loopback", c.Transport)
	}
	if c.Listen == "" && c.Peer == "" {
		add("peer", "neither listen nor peer is set: write the address of the remote MTA, or of ours, as host:port")
	}
	for key, addr := range map[string]string{"listen": c.Listen, "peer": c.Peer} {
		if addr == "" {
			continue
		}
		host, port, err := net.SplitHostPort(addr)
		switch {
		case err != nil || port == "":
			add(key, "%q: write host:port", addr)
		case c.Transport == "loopback" && !loopbackHost(host):
			add(key, "%q: the loop-back transport is in the clear and for one machine: write 127.0.0.1:%s", addr, port)
		}
	}
	if c.RemoteMTA == "" {
		add("remote_mta", "missing: write the peer's MTA name, as its administrator gives it")
	}
	for key, name := range map[string]string{"local_mta": c.LocalMTA, "remote_mta": c.RemoteMTA} {
		if len(name) > maxMTAName {
			add(key, "%q has %d characters: an MTA name has at most %d (X.411 ub-mta-name-length)", name, len(name), maxMTAName)
		}
		if strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			add(key, "%q: an MTA name is printable ASCII (IA5String)", name)
		}
	}
	for key, n := range map[string]int{"threshold": c.Threshold, "max_associations": c.MaxAssociations} {
		if n < 1 || n > 1000 {
			add(key, "%d is outside 1..1000", n)
		}
	}
	for key, d := range map[string]connectors.Duration{
		"association_lifetime": c.AssociationLifetime, "disconnect": c.Disconnect,
		"timeout_urgent": c.TimeoutUrgent, "timeout_normal": c.TimeoutNormal, "timeout_non_urgent": c.TimeoutNonUrgent,
	} {
		if d <= 0 {
			add(key, "a time longer than zero is needed")
		}
	}
	switch c.Schedule {
	case "", "always", "never", "remote":
	default:
		add("schedule", "%q: write always, never or remote", c.Schedule)
	}
	sortProblems(bad)
	return bad
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
