package x400

import (
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/connectors/x400/cotp"
	"backbone/gateway/address"
)

// Config is one X.400 connector's section: one peer MTA. Names and defaults are those of Exchange 5.5's X.400
// connector (KB Q234157, Q157630, Q175483) where it had the setting; retries and their intervals are the gateway's.
type Config struct {
	connectors.Common
	Transport string `toml:"transport" doc:"rfc1006: P1 over the OSI stack on TCP; loopback: a plain protocol between two gateways on one machine, for tests"`
	Listen    string `toml:"listen" doc:"address on which this peer calls us, host:port (102 in production); several connectors may share one; empty: we only call"`
	Peer      string `toml:"peer" doc:"address of the remote MTA, host:port; empty: it only calls us"`

	LocalMTA       string            `toml:"local_mta" doc:"our MTA name, at most 32 characters, as the peer expects it; default the site's name"`
	LocalPassword  connectors.Secret `toml:"local_password" doc:"our password, at most 62 octets; @file reads it from a file"`
	RemoteMTA      string            `toml:"remote_mta" doc:"the peer's MTA name, at most 32 characters; compared without regard to case"`
	RemotePassword connectors.Secret `toml:"remote_password" doc:"the password that the peer presents; @file reads it from a file"`

	LocalTSelector  string `toml:"local_tsel" doc:"our transport selector: text, or hex as 0x...; a caller must call it, when it is set"`
	LocalSSelector  string `toml:"local_ssel" doc:"our session selector, told the peer in normal mode only"`
	LocalPSelector  string `toml:"local_psel" doc:"our presentation selector"`
	RemoteTSelector string `toml:"remote_tsel" doc:"the peer's transport selector"`
	RemoteSSelector string `toml:"remote_ssel" doc:"the peer's session selector"`
	RemotePSelector string `toml:"remote_psel" doc:"the peer's presentation selector"`

	Mode           string              `toml:"mode" doc:"in which we call: normal (1988), x410 (1988 X.410 mode) or 1984; callers are answered in theirs"`
	Dialogue       string              `toml:"dialogue" doc:"monologue, or twa: we bind two-way alternate, and callers may: then either side sends over an association, in turn, and a peer that only calls us gets its mail (Exchange: off with foreign MTAs)"`
	CheckpointSize int                 `toml:"checkpoint_size" doc:"KB between checkpoints, 0 for none; the peer may want fewer"`
	Window         int                 `toml:"window" doc:"checkpoints that may wait for their confirmation"`
	Recovery       connectors.Duration `toml:"recovery_timeout" doc:"how long a broken transfer may be resumed at its last checkpoint"`

	GDI           string    `toml:"gdi" doc:"our global domain identifier as c=..;a=..;p=..; default: from the site's O/R address (KB Q159566)"`
	RemoteAddress string    `toml:"remote_address" doc:"the peer's O/R address, when it is a gateway: recipients of other systems are written under it"`
	Mappings      []Mapping `toml:"mapping" doc:"domains and the O/R addresses that mean the same (MIXER)"`
	OR2RFC        string    `toml:"or2rfc" doc:"file with a table of MIXER mappings from O/R addresses to domains, as sites exchanged them (RFC 2156 appendix F)"`
	RFC2OR        string    `toml:"rfc2or" doc:"file with a table of MIXER mappings from domains to O/R addresses"`
	BP15          bool      `toml:"allow_bp15" doc:"send files as file transfer (body part 15) beside bilaterally defined (14); never to 1984"`
	OldExtensions bool      `toml:"explicit_extension_type" doc:"write extension types as the text of 1988 has them: PP and its kin need it"`
	IA5Password   bool      `toml:"ia5_password" doc:"send the password as IA5String, as 1984 and some of 1988 want it"`

	AssociationLifetime connectors.Duration `toml:"association_lifetime" doc:"how long an idle association is kept for the next message"`
	Disconnect          connectors.Duration `toml:"disconnect" doc:"how long to wait for the peer to bind, or to answer a release"`
	Threshold           int                 `toml:"threshold" doc:"messages that wait before another association is opened beside those in use"`
	MaxAssociations     int                 `toml:"max_associations" doc:"associations at once that we open to this peer"`

	TimeoutUrgent    connectors.Duration `toml:"timeout_urgent" doc:"longest transfer of an urgent message, per KB of its size"`
	TimeoutNormal    connectors.Duration `toml:"timeout_normal" doc:"longest transfer of a normal message, per KB of its size"`
	TimeoutNonUrgent connectors.Duration `toml:"timeout_non_urgent" doc:"longest transfer of a non-urgent message, per KB of its size"`
}

// Mapping is one line of a MIXER table.
type Mapping struct {
	Domain  string `toml:"domain" doc:"an SMTP domain"`
	Address string `toml:"address" doc:"the O/R address that stands for it, as c=..;a=..;p=..;o=.."`
}

// NewConfig has Exchange's defaults.
func NewConfig() *Config {
	return &Config{
		Transport:           "rfc1006",
		Mode:                "normal",
		Dialogue:            "monologue",
		CheckpointSize:      30,
		Window:              5,
		Recovery:            connectors.Duration(60 * time.Second),
		BP15:                true,
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
	oneOf := func(key, value string, words ...string) {
		if !slices.Contains(words, value) {
			add(key, "%q: write %s", value, strings.Join(words, " or "))
		}
	}
	oneOf("transport", c.Transport, "rfc1006", "loopback")
	oneOf("mode", c.Mode, "normal", "x410", "1984")
	oneOf("dialogue", c.Dialogue, "monologue", "twa")
	for key, s := range map[string]string{"local_tsel": c.LocalTSelector, "local_ssel": c.LocalSSelector, "local_psel": c.LocalPSelector,
		"remote_tsel": c.RemoteTSelector, "remote_ssel": c.RemoteSSelector, "remote_psel": c.RemotePSelector} {
		if _, err := selector(s); err != nil {
			add(key, "%v", err)
		}
	}
	for key, s := range map[string]string{"gdi": c.GDI, "remote_address": c.RemoteAddress} {
		if _, err := address.ParseORAddress(s); s != "" && err != nil {
			add(key, "%v", err)
		}
	}
	for i, m := range c.Mappings {
		if _, err := address.ParseORAddress(m.Address); err != nil {
			add(fmt.Sprintf("mapping[%d].address", i), "%v", err)
		}
		if _, err := address.ParseDomain(m.Domain); err != nil {
			add(fmt.Sprintf("mapping[%d].domain", i), "%v", err)
		}
	}
	if c.CheckpointSize < 0 || c.CheckpointSize > 1024 {
		add("checkpoint_size", "%d is outside 0..1024 KB", c.CheckpointSize)
	}
	if c.Window < 1 || c.Window > 100 {
		add("window", "%d is outside 1..100", c.Window)
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
		"recovery_timeout": c.Recovery, "timeout_urgent": c.TimeoutUrgent, "timeout_normal": c.TimeoutNormal, "timeout_non_urgent": c.TimeoutNonUrgent,
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

// selector reads a selector: text, or hex after 0x; at most 32 octets (X.214, X.215, X.216).
func selector(s string) ([]byte, error) {
	b := []byte(s)
	if h, ok := strings.CutPrefix(s, "0x"); ok {
		var err error
		if b, err = hex.DecodeString(h); err != nil {
			return nil, fmt.Errorf("%q: write pairs of hex digits after 0x", s)
		}
	}
	if len(b) > cotp.MaxSelector {
		return nil, fmt.Errorf("%q has %d octets: a selector has at most %d", s, len(b), cotp.MaxSelector)
	}
	return b, nil
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
