// Package config reads a site's configuration: TOML to typed, checked values. Every mistake is reported at once, each
// with file:line:column and what to write instead; nothing is guessed and nothing unknown is ignored.
//
// It owns the site-wide sections. A connector's section is the connector's own struct (connectors.Config), found
// through the kinds that the caller registers. It opens nothing and starts nothing.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/directory/dirsync"
	"backbone/gateway/mail"
	"backbone/queue"
)

// Config is one site's whole configuration, with defaults filled in and paths made absolute.
type Config struct {
	Site        Site        `toml:"site" doc:"who this site is"`
	Control     Control     `toml:"control" doc:"the control API, for CLI and dashboard"`
	Queue       Queue       `toml:"queue" doc:"the message store"`
	Retry       Retry       `toml:"retry" live:"true" doc:"when to try again and when to give up; Exchange's defaults"`
	Limits      Limits      `toml:"limits" live:"true" doc:"bounds on what is accepted"`
	Routing     Routing     `toml:"routing" live:"true" doc:"how a connector is selected"`
	Directory   Directory   `toml:"directory" doc:"custom recipients"`
	DirSync     DirSync     `toml:"dirsync" doc:"directory synchronization with post offices"`
	Replication Replication `toml:"replication" doc:"directory replication with joined sites; address spaces between them then follow by themselves"`
	Tracking    Tracking    `toml:"tracking" doc:"the tracking log"`
	Monitor     Monitor     `toml:"monitor" doc:"the link monitor: pings over each watched way; Exchange's times"`
	Log         Log         `toml:"log" doc:"the daemon's own log, on stderr"`

	Connectors []connectors.Config `toml:"-"` // in the order of the file
	Path       string              `toml:"-"` // absolute, "" for the embedded default
}

// Site is the site's identity.
type Site struct {
	Name         string   `toml:"name" doc:"unique among joined sites: 1 to 32 letters, digits or '-'"`
	Organization string   `toml:"organization" doc:"organization name, first part of generated proxies"`
	Domains      []string `toml:"domains" doc:"SMTP domains that are ours; the first is written into addresses"`
	Partners     []string `toml:"partners" doc:"SMTP domains of joined sites: their encapsulated (IMCEA) addresses are undone like ours"`
	MS           string   `toml:"ms" doc:"NET/PO of this site's shadow post office"`
	X400         string   `toml:"x400" doc:"the site's O/R address, under which other addresses are encapsulated: c=US;a= ;p=Northwind;o=SITEA"`
	Postmaster   string   `toml:"postmaster" doc:"address that gets mail for postmaster; empty: kept in data/postmaster.mbox"`
	Data         string   `toml:"data" doc:"folder for queue, directory, tracking log and control socket; on a local filesystem"`
}

// Control is the control API's address.
type Control struct {
	Listen string `toml:"listen" doc:"host:port for dashboard, health and metrics; empty: none of them, the unix socket only"`
	Socket string `toml:"socket" doc:"unix socket for the CLI; default data/control.sock"`
	// Loopback is what a browser on this host may do without signing in.
	Loopback string   `toml:"loopback" doc:"what a browser on this host may do without signing in: operate, read, or none. With a user below: none, unless set"`
	Hosts    []string `toml:"hosts" doc:"names by which browsers reach the dashboard, besides this host's loopback names and the host in listen"`
	Cert     string   `toml:"cert" doc:"file with the TLS certificate chain for listen, PEM; needed to sign in from other hosts"`
	Key      string   `toml:"key" doc:"file with its private key, PEM"`
	Users    []User   `toml:"user" doc:"who may sign in to the dashboard"`
}

// User may sign in to the dashboard.
type User struct {
	Name     string            `toml:"name" doc:"as the audit log names this user"`
	Password connectors.Secret `toml:"password" doc:"its hash, argon2id or bcrypt, as 'backbone password' prints it; @FILE: in a file"`
	Role     string            `toml:"role" doc:"read or operate"`
}

// Policy is the retry section as the queue applies it.
func (r Retry) Policy() queue.Policy {
	smtp := make([]time.Duration, len(r.SMTP))
	for i, d := range r.SMTP {
		smtp[i] = d.D()
	}
	transfer := slices.Repeat([]time.Duration{r.TransferInterval.D()}, r.TransferRetries)
	return queue.Policy{
		Rules: []queue.Rule{
			{Type: "smtp", Intervals: smtp},
			{Sort: queue.Transfer, Intervals: append(transfer, r.OpenInterval.D())},
			{Sort: queue.Open, Intervals: []time.Duration{r.OpenInterval.D()}},
		},
		Expiry:       map[mail.Priority]time.Duration{mail.Urgent: r.Urgent.D(), mail.Normal: r.Normal.D(), mail.NonUrgent: r.NonUrgent.D()},
		DelayNotice:  r.DelayNotice.D(),
		OpenInterval: r.OpenInterval.D(),
	}
}

// Queue chooses and bounds the store.
type Queue struct {
	Store   string              `toml:"store" doc:"bolt: embedded in this process; postgres: in a database that several gateways share"`
	DSN     connectors.Secret   `toml:"dsn" doc:"with store postgres: the database, as postgres://USER:PASSWORD@HOST1,HOST2/NAME?target_session_attrs=read-write or in libpq's words; text, or @FILE"`
	Node    string              `toml:"node" doc:"with store postgres: this gateway's name, unlike any other's on the database; empty: the host's name"`
	Silence connectors.Duration `toml:"silence" doc:"with store postgres: how long a gateway that has transfers under way may be silent before the others take them over; at least 2s"`
	Reserve int64               `toml:"reserve" doc:"octets kept free on the queue's filesystem: below it new mail is answered 452 4.3.1"`
	Workers int                 `toml:"workers" doc:"transfers at once, over all destinations"`
	Lease   connectors.Duration `toml:"lease" doc:"longest time one delivery attempt may take"`
	Trash   connectors.Duration `toml:"trash" doc:"how long deleted mail can be restored"`
	Drain   connectors.Duration `toml:"drain" doc:"how long attempts under way may go on when the daemon stops; then they are broken off and stay queued"`
}

// Retry is the schedule. Zero lists keep the defaults.
type Retry struct {
	OpenRetries      int                   `toml:"open_retries" doc:"times a next hop that can't be opened is tried before this connector is given up (KB Q157630)"`
	OpenInterval     connectors.Duration   `toml:"open_interval" doc:"time between open retries"`
	TransferRetries  int                   `toml:"transfer_retries" doc:"times a broken transfer is tried at once-more pace before it falls back to open_interval (KB Q234157)"`
	TransferInterval connectors.Duration   `toml:"transfer_interval" doc:"time between transfer retries"`
	SMTP             []connectors.Duration `toml:"smtp" doc:"waits after each temporary refusal by an SMTP host; the last one repeats (KB Q146669)"`
	Urgent           connectors.Duration   `toml:"expire_urgent" doc:"urgent mail is returned after this time here (KB Q178539)"`
	Normal           connectors.Duration   `toml:"expire_normal" doc:"normal mail is returned after this time here"`
	NonUrgent        connectors.Duration   `toml:"expire_nonurgent" doc:"non-urgent mail is returned after this time here"`
	DelayNotice      connectors.Duration   `toml:"delay_notice" doc:"the originator is told once after this time; 0s: never"`
}

// Limits bounds what a stranger can send.
type Limits struct {
	MessageSize int64 `toml:"message_size" doc:"largest message in octets"`
	Recipients  int   `toml:"recipients" doc:"most recipients of one message"`
	Hops        int   `toml:"hops" doc:"most gateways that a message may pass"`
	Poison      int   `toml:"poison" doc:"identical unexpected failures after which a message is held for an operator"`

	ReportsPerOriginator  int `toml:"reports_per_originator" doc:"reports an hour for one originator: that many at once, further ones wait in the queue for their turn; 0: no bound"`
	ReportsPerDestination int `toml:"reports_per_destination" doc:"reports an hour over one destination, in the same way; 0: no bound"`
}

// Routing has the selection's switches.
type Routing struct {
	LeastCostOnly        bool                `toml:"least_cost_only" doc:"never use a dearer connector while the cheapest is merely down (KB Q166567)"`
	FallbackLessSpecific bool                `toml:"fallback_less_specific" doc:"try a less specific address space when no connector of the best one can take the message"`
	ReplyRoutes          connectors.Duration `toml:"reply_routes" doc:"how long the way back to a sender is remembered, so that mail without an address space can be answered; 0s: not at all"`
}

// Directory configures custom recipients.
type Directory struct {
	DeleteGuard    int                 `toml:"delete_guard" doc:"an import that deletes more than this percent of the custom recipients is refused"`
	Aliases        map[string]string   `toml:"aliases" doc:"renamed post offices, old NET/PO = new NET/PO (KB Q114246)"`
	Keep           connectors.Duration `toml:"keep_tombstones" doc:"how long a deleted entry is remembered for replication"`
	Generate       bool                `toml:"generate_proxies" doc:"give each custom recipient MS, SMTP and X.400 proxies that it lacks, by Exchange's rules: then MS Mail users can pick, and answer, anybody"`
	ReplyAddresses connectors.Duration `toml:"reply_addresses" doc:"how long an address of our shadow post office is kept for a sender whom MS Mail users could not answer otherwise; 0s: none is made"`
}

// Tracking configures the tracking log.
type Tracking struct {
	Keep     connectors.Duration `toml:"keep" doc:"how long the tracking log is kept"`
	MaxSize  int64               `toml:"max_size" doc:"most octets of tracking log: above it the oldest days go first, whatever keep says; 0: no bound"`
	Subjects bool                `toml:"subjects" doc:"record subjects; when false only their hash"`
}

// Log is the daemon's own log.
type Log struct {
	Level  string `toml:"level" live:"true" doc:"debug, info, warn or error"`
	Format string `toml:"format" doc:"text or json"`
}

// Default is the configuration in which only [site] and the connectors are missing.
func Default() *Config {
	d := func(t time.Duration) connectors.Duration { return connectors.Duration(t) }
	return &Config{
		Site:    Site{Data: "data"},
		Control: Control{Listen: "127.0.0.1:8025"},
		Queue:   Queue{Store: "bolt", Silence: d(45 * time.Second), Reserve: 256 << 20, Workers: 64, Lease: d(30 * time.Minute), Trash: d(7 * 24 * time.Hour), Drain: d(20 * time.Second)},
		Retry: Retry{
			OpenRetries: 144, OpenInterval: d(10 * time.Minute), TransferRetries: 2, TransferInterval: d(2 * time.Minute),
			SMTP:   []connectors.Duration{d(15 * time.Minute), d(30 * time.Minute), d(time.Hour), d(4 * time.Hour)},
			Urgent: d(2 * 24 * time.Hour), Normal: d(7 * 24 * time.Hour), NonUrgent: d(10 * 24 * time.Hour),
			DelayNotice: d(4 * time.Hour),
		},
		Limits:  Limits{MessageSize: 35 << 20, Recipients: 5000, Hops: 32, Poison: 2, ReportsPerOriginator: 200, ReportsPerDestination: 2000},
		Routing: Routing{ReplyRoutes: d(90 * 24 * time.Hour)},
		Directory: Directory{
			DeleteGuard: 20, Keep: d(60 * 24 * time.Hour), ReplyAddresses: d(90 * 24 * time.Hour),
		},
		DirSync:     DirSync{Attach: 200, KeepUpdates: d(60 * 24 * time.Hour), T1: daily(2), T2: daily(4), T3: daily(6)},
		Replication: Replication{Interval: d(15 * time.Minute)},
		Tracking:    Tracking{Keep: d(30 * 24 * time.Hour), Subjects: true},
		Monitor:     Monitor{Interval: d(15 * time.Minute), Critical: d(5 * time.Minute), Warning: d(30 * time.Minute), Alert: d(time.Hour)},
		Log:         Log{Level: "info", Format: "text"},
	}
}

// daily is a moment of each day, at the full hour.
func daily(hour int) []dirsync.Moment { return []dirsync.Moment{{EachDay: true, Hour: hour}} }

// Load reads and checks the file at path. The error is *Errors when the file was read but is wrong.
func Load(path string, kinds []connectors.Kind) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, filepath.Dir(abs), b, kinds)
}

// Parse reads and checks TOML text. Name stands in error messages; relative paths are taken from dir.
func Parse(name, dir string, text []byte, kinds []connectors.Kind) (*Config, error) {
	c := Default()
	errs := &Errors{}
	pos := positions(text)
	if !decode(name, text, kinds, c, errs) {
		return nil, errs.sorted()
	}
	at := func(key, format string, args ...any) {
		errs.add(name, pos.find(key), key, fmt.Sprintf(format, args...))
	}
	c.check(at)
	for _, cc := range c.Connectors {
		b := cc.Base()
		prefix := "connector." + b.Name + "."
		if !connectorName.MatchString(b.Name) {
			at(prefix+"type", "connector name %q: use 1 to 32 lower-case letters, digits, '-' or '_'", b.Name)
		}
		problems := cc.Check()
		if len(problems) == 0 {
			_, problems = b.AddressSpaces()
		}
		switch b.Schedule {
		case "", "always", "never", "remote":
		default:
			problems = append(problems, connectors.Problem{Key: "schedule", Text: fmt.Sprintf("%q: write always, never or remote", b.Schedule)})
		}
		for _, p := range problems {
			at(prefix+p.Key, "%s", p.Text)
		}
	}
	if len(errs.List) > 0 {
		return nil, errs.sorted()
	}
	c.Path = filepath.Join(dir, filepath.Base(name))
	c.Site.Data = absolute(dir, c.Site.Data)
	if c.Control.Socket == "" {
		c.Control.Socket = filepath.Join(c.Site.Data, "control.sock")
	}
	c.Control.Socket = absolute(dir, c.Control.Socket)
	c.Control.Cert, c.Control.Key = absolute(dir, c.Control.Cert), absolute(dir, c.Control.Key)
	for i, u := range c.Control.Users {
		if name, ok := strings.CutPrefix(string(u.Password), "@"); ok {
			c.Control.Users[i].Password = connectors.Secret("@" + absolute(dir, name))
		}
	}
	if name, ok := strings.CutPrefix(string(c.Queue.DSN), "@"); ok {
		c.Queue.DSN = connectors.Secret("@" + absolute(dir, name))
	}
	if c.Control.Loopback == "" {
		if c.Control.Loopback = "operate"; len(c.Control.Users) > 0 {
			c.Control.Loopback = "none"
		}
	}
	return c, nil
}

func absolute(dir, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// Dir is the folder that the configuration's relative paths start from.
func (c *Config) Dir() string { return filepath.Dir(c.Path) }

// SiteIdentity is the site as connectors see it. Valid only after Parse succeeded.
func (c *Config) SiteIdentity() connectors.Site {
	s := connectors.Site{
		Name: c.Site.Name, Organization: c.Site.Organization, Domains: c.Site.Domains, Partners: c.Site.Partners, MS: strings.ToUpper(c.Site.MS),
	}
	if c.Site.X400 != "" {
		s.X400, _ = address.ParseORAddress(c.Site.X400) // checked by Parse
	}
	if c.Site.Postmaster != "" {
		s.Postmaster, _ = address.Parse(c.Site.Postmaster) // checked by Parse
	}
	return s
}

var (
	connectorName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	siteName      = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)
	domainName    = regexp.MustCompile(`^(?i)[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9]([a-z0-9-]{0,62}))*$`)
)

// check is the semantic check of the site-wide sections.
func (c *Config) check(at func(key, format string, args ...any)) {
	if !siteName.MatchString(c.Site.Name) {
		at("site.name", "%q: a site name is 1 to 32 letters, digits or '-', for example name = \"SITEA\"", c.Site.Name)
	}
	if len(c.Site.Domains) == 0 {
		at("site.domains", "missing: write at least one SMTP domain, for example domains = [\"sitea.example\"]")
	}
	for i, d := range c.Site.Domains {
		if !domainName.MatchString(d) {
			at(fmt.Sprintf("site.domains[%d]", i), "%q is not a domain name", d)
		}
	}
	for i, d := range c.Site.Partners {
		if !domainName.MatchString(d) {
			at(fmt.Sprintf("site.partners[%d]", i), "%q is not a domain name", d)
		}
	}
	if c.Site.MS != "" {
		if _, err := address.ParseSpace("MS:" + c.Site.MS); err != nil || strings.Count(c.Site.MS, "/") != 1 {
			at("site.ms", "%q: write NET/PO, each 1 to 10 letters or digits", c.Site.MS)
		}
	}
	if c.Site.X400 != "" {
		if _, err := address.ParseORAddress(c.Site.X400); err != nil {
			at("site.x400", "%v", err)
		}
	}
	if c.Site.Postmaster != "" {
		if _, err := address.Parse(c.Site.Postmaster); err != nil {
			at("site.postmaster", "%v", err)
		}
	}
	c.checkControl(at)
	c.checkMonitor(at)
	switch c.Queue.Store {
	case "bolt":
		if c.Queue.DSN != "" || c.Queue.Node != "" {
			at("queue.dsn", "dsn and node are for store = \"postgres\"")
		}
	case "postgres":
		if c.Queue.DSN == "" {
			at("queue.dsn", "is missing: store = \"postgres\" needs a database")
		}
	default:
		at("queue.store", "%q: write \"bolt\" or \"postgres\"", c.Queue.Store)
	}
	positive := func(key string, v int64) {
		if v <= 0 {
			at(key, "%d: write a number above 0", v)
		}
	}
	positive("queue.workers", int64(c.Queue.Workers))
	positive("queue.lease", int64(c.Queue.Lease))
	if c.Queue.Silence.D() < 2*time.Second {
		at("queue.silence", "%s: write 2s or more", c.Queue.Silence)
	}
	if c.Retry.OpenRetries < 0 || c.Retry.TransferRetries < 0 || c.Retry.TransferRetries > 1000 {
		at("retry", "open_retries and transfer_retries are 0 or more, transfer_retries at most 1000")
	}
	positive("retry.open_interval", int64(c.Retry.OpenInterval))
	positive("retry.transfer_interval", int64(c.Retry.TransferInterval))
	positive("retry.expire_urgent", int64(c.Retry.Urgent))
	positive("retry.expire_normal", int64(c.Retry.Normal))
	positive("retry.expire_nonurgent", int64(c.Retry.NonUrgent))
	positive("limits.message_size", c.Limits.MessageSize)
	positive("limits.recipients", int64(c.Limits.Recipients))
	positive("limits.hops", int64(c.Limits.Hops))
	positive("limits.poison", int64(c.Limits.Poison))
	for key, n := range map[string]int{"limits.reports_per_originator": c.Limits.ReportsPerOriginator, "limits.reports_per_destination": c.Limits.ReportsPerDestination} {
		if n < 0 {
			at(key, "%d: write how many an hour, or 0 for no bound", n)
		}
	}
	positive("tracking.keep", int64(c.Tracking.Keep))
	if c.Tracking.MaxSize < 0 {
		at("tracking.max_size", "%d: write a number of octets, or 0 for no bound", c.Tracking.MaxSize)
	}
	if c.Queue.Drain < 0 {
		at("queue.drain", "%s: write a time, or 0s to break attempts off at once", c.Queue.Drain)
	}
	if len(c.Retry.SMTP) == 0 {
		at("retry.smtp", "is empty: write at least one wait, for example smtp = [\"15m\", \"30m\", \"1h\", \"4h\"]")
	}
	for i, d := range c.Retry.SMTP {
		positive(fmt.Sprintf("retry.smtp[%d]", i), int64(d))
	}
	if c.Directory.DeleteGuard < 1 || c.Directory.DeleteGuard > 100 {
		at("directory.delete_guard", "%d is outside 1..100 percent", c.Directory.DeleteGuard)
	}
	for old, now := range c.Directory.Aliases {
		for _, po := range []string{old, now} {
			if _, err := address.ParseSpace("MS:" + po); err != nil || strings.Count(po, "/") != 1 {
				at("directory.aliases."+old, "%q is not NET/PO", po)
			}
		}
	}
	c.checkDirSync(at)
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		at("log.level", "%q: write debug, info, warn or error", c.Log.Level)
	}
	switch c.Log.Format {
	case "text", "json":
	default:
		at("log.format", "%q: write text or json", c.Log.Format)
	}
}
