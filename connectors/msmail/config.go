package msmail

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/connectors/msmail/translate"
	"backbone/gateway/address"
	"backbone/shadowpo/mmff"
)

// Config is one MS Mail section. Zero values of the post offices' settings are their defaults.
type Config struct {
	connectors.Common
	Dir         string              `toml:"dir" doc:"shadow folder: holds a folder NET.PO for each post office"`
	Poll        connectors.Duration `toml:"poll" doc:"time between looks at the submit folders; changes on this machine are noticed at once"`
	Stable      connectors.Duration `toml:"stable" doc:"how long a submitted file must stay unchanged before it is taken; 0s when every agent renames its files into place"`
	Incomplete  connectors.Duration `toml:"incomplete" doc:"how long a submitted file that ends too early is waited for before it goes to badmail"`
	Batch       int                 `toml:"batch" doc:"files of one post office that are claimed at once"`
	Keep        connectors.Duration `toml:"keep" doc:"how long a post office's folder remembers what was put into it; longer than any retry"`
	TextLogs    bool                `toml:"text_logs" doc:"write SENT.LOG, RECV.LOG and SYSTEM.LOG into each post office's log folder"`
	PostOffices []PostOffice        `toml:"postoffice" doc:"the post offices that this site serves"`
}

// PostOffice is one [[connector.NAME.postoffice]].
type PostOffice struct {
	Address       string             `toml:"address" doc:"NETWORK/POSTOFFICE"`
	Dir           string             `toml:"dir" doc:"its folder, when it is not NET.PO in the shadow folder"`
	CodePage      int                `toml:"codepage" doc:"code page of its text and names; default 850"`
	LineEnds      string             `toml:"line_ends" doc:"crlf, cr or lf: its agents' -f2, -f0 or -f1; default crlf. What it submits is recognised"`
	TimeZone      string             `toml:"timezone" doc:"zone of its dates: Europe/Berlin, UTC, Local; default Local"`
	Gateways      []string           `toml:"gateways" doc:"gateways installed at the post office, SMTP or X400: its users can reply to such addresses"`
	RichText      string             `toml:"rich_text" doc:"WINMAIL.DAT: keep, foreign (taken off mail for other systems) or strip; default keep"`
	MaxSubject    int                `toml:"max_subject" doc:"octets of a subject that it takes: 63 for an AppleTalk peer; default 255"`
	Wrap          int                `toml:"wrap" doc:"columns at which long lines are broken, 78 for DOS clients; 0 (default) never"`
	DOSNames      bool               `toml:"dos_names" doc:"attachments get names of eight and three characters"`
	Heading       bool               `toml:"heading" doc:"show the original's To and Cc above the text"`
	EmbeddedText  bool               `toml:"embedded_text" doc:"show forwarded messages as text instead of attaching them as .EML"`
	NoSideFiles   bool               `toml:"no_side_files" doc:"write no side files (.X) for agents that stumble over them"`
	ExternalFiles bool               `toml:"external_files" doc:"take XTEXT and XATTACH files out of the submit folder"`
	AcceptCC      bool               `toml:"accept_cc" doc:"take a CC line instead of refusing it with error 141"`
	Special       string             `toml:"special" doc:"user lists for *SPECIAL: delete (default), administrator, or an address"`
	MaxSize       int64              `toml:"max_size" doc:"largest message in octets for this post office; 0 = the connector's limit. Directory synchronisation is exempt"`
	Spaces        []connectors.Space `toml:"space" doc:"address spaces behind this post office: indirect post offices, its own gateways"`
}

const (
	specialDelete        = "delete"
	specialAdministrator = "administrator"
)

// NewConfig has the defaults of Microsoft Mail and of the connection store (KB Q95521, Q115490).
func NewConfig() *Config {
	return &Config{
		Common:     connectors.Common{Parallel: 32}, // a folder bears more at once than a peer, and shares its syncs among them
		Poll:       connectors.Duration(5 * time.Second),
		Stable:     connectors.Duration(2 * time.Second),
		Incomplete: connectors.Duration(time.Minute),
		Batch:      50,
		Keep:       connectors.Duration(30 * 24 * time.Hour),
	}
}

// Check names each wrong value.
func (c *Config) Check() []connectors.Problem {
	var bad []connectors.Problem
	add := func(key, format string, args ...any) {
		bad = append(bad, connectors.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if len(c.Spaces) > 0 {
		add("space", "an address space belongs to a post office here: write it under its [[postoffice]]")
	}
	if len(c.PostOffices) == 0 {
		add("postoffice", "no post office: write a [[postoffice]] with its address")
	}
	for _, d := range []struct {
		key   string
		value connectors.Duration
		least time.Duration
	}{{"poll", c.Poll, 100 * time.Millisecond}, {"stable", c.Stable, 0}, {"incomplete", c.Incomplete, time.Second}, {"keep", c.Keep, 24 * time.Hour}} {
		if d.value.D() < d.least {
			add(d.key, "%s is too short: at least %s", d.value, connectors.Duration(d.least))
		}
	}
	if c.Batch < 1 || c.Batch > 1000 {
		add("batch", "%d is outside 1..1000", c.Batch)
	}
	if c.Parallel < 0 || c.Parallel > 64 {
		add("parallel", "%d is outside 1..64", c.Parallel)
	}
	if c.MaxSize < 0 {
		add("max_size", "%d: write a number of octets, or 0 for the site's limit", c.MaxSize)
	}
	switch c.Schedule {
	case "", "always", "never":
	case "remote":
		add("schedule", "remote: a post office never calls; write always or never")
	default:
		add("schedule", "%q: write always or never", c.Schedule)
	}
	seen := map[string]int{}
	drops := map[string]int{}
	for i := range c.PostOffices {
		po := &c.PostOffices[i]
		key := fmt.Sprintf("postoffice[%d].", i)
		po.check(func(k, format string, args ...any) { add(key+k, format, args...) })
		name, err := address.ParsePostOffice(po.Address)
		if err != nil {
			continue
		}
		if first, ok := seen[name.String()]; ok {
			add(key+"address", "%s is postoffice[%d] already", name, first)
			continue
		}
		seen[name.String()] = i
		switch drop := c.drop(po); {
		case c.Dir == "" && po.Dir == "":
			add(key+"dir", "no folder: write dir here, or dir of the section for all post offices")
		default:
			if first, ok := drops[strings.ToUpper(drop)]; ok {
				add(key+"dir", "%s is the folder of postoffice[%d] already", drop, first)
			} else {
				drops[strings.ToUpper(drop)] = i
			}
		}
	}
	return bad
}

func (po *PostOffice) check(add func(key, format string, args ...any)) {
	name, err := address.ParsePostOffice(po.Address)
	switch {
	case err != nil:
		add("address", "%v: write NETWORK/POSTOFFICE, each 1 to 10 letters or digits", err)
	case address.ReservedNetwork(name.Net):
		add("address", "network name %s is reserved for a gateway (KB Q175978): the post office needs another one", name.Net)
	}
	if _, err := mmff.LookupCodePage(po.codePage()); err != nil {
		add("codepage", "%v", err)
	}
	if po.lineEnd() == "" {
		add("line_ends", "%q: write crlf, cr or lf", po.LineEnds)
	}
	if _, err := time.LoadLocation(po.TimeZone); err != nil {
		add("timezone", "%q: write the name of a zone, such as Europe/Berlin, UTC or Local", po.TimeZone)
	}
	for i, g := range po.Gateways {
		if t, err := address.ParseType(g); err != nil || t == address.MS {
			add(fmt.Sprintf("gateways[%d]", i), "%q: write the address type of a gateway, such as SMTP or X400", g)
		}
	}
	if !slices.Contains([]translate.RichText{translate.KeepRichText, translate.ForeignRichText, translate.StripRichText}, translate.RichText(po.richText())) {
		add("rich_text", "%q: write keep, foreign or strip", po.RichText)
	}
	if po.MaxSubject != 0 && (po.MaxSubject < 8 || po.MaxSubject > 255) {
		add("max_subject", "%d is outside 8..255", po.MaxSubject)
	}
	if po.Wrap != 0 && (po.Wrap < 20 || po.Wrap > 255) {
		add("wrap", "%d is outside 20..255; 0 never breaks a line", po.Wrap)
	}
	if po.MaxSize < 0 {
		add("max_size", "%d: write a number of octets, or 0 for the connector's limit", po.MaxSize)
	}
	switch po.Special {
	case "", specialDelete, specialAdministrator:
	default:
		if a, err := address.Parse(po.Special); err != nil {
			add("special", "%q: write delete, administrator, or an address with its type: %v", po.Special, err)
		} else if m, err := a.MSMail(); err == nil && m.Special() {
			add("special", "%s would go round in a circle: write the address of a person", a)
		}
	}
	_, problems := (&connectors.Common{Spaces: po.Spaces}).AddressSpaces()
	for _, p := range problems {
		add(p.Key, "%s", p.Text)
	}
}

func (po *PostOffice) codePage() int {
	if po.CodePage == 0 {
		return 850
	}
	return po.CodePage
}

// lineEnd is "" for a word that is none.
func (po *PostOffice) lineEnd() mmff.LineEnd {
	switch strings.ToLower(po.LineEnds) {
	case "", "crlf":
		return mmff.CRLF
	case "cr":
		return mmff.CR
	case "lf":
		return mmff.LF
	}
	return ""
}

func (po *PostOffice) richText() string {
	if po.RichText == "" {
		return string(translate.KeepRichText)
	}
	return po.RichText
}

// stable is what shadowpo wants to hear: a negative value claims at first sight.
func (c *Config) stable() time.Duration {
	if c.Stable == 0 {
		return -1
	}
	return c.Stable.D()
}
