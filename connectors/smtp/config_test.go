package smtp

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"
	"time"

	"backbone/connectors"

	"golang.org/x/crypto/argon2"
)

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string // key: beginning of the text; "" for nothing
	}{
		{"the defaults", func(*Config) {}, ""},
		{"a space", func(c *Config) { c.Spaces = []connectors.Space{{Address: "SMTP"}} }, "space[0].address"},
		{"hostname", func(c *Config) { c.Hostname = "a b" }, "hostname"},
		{"key without certificate", func(c *Config) { c.Key = "k.pem" }, "key"},
		{"listen without port", func(c *Config) { c.Listen = []string{":25", "localhost"} }, "listen[1]"},
		{"fewer recipients than RFC 5321 allows", func(c *Config) { c.MaxRecipients = 99 }, "max_recipients"},
		{"no connections", func(c *Config) { c.MaxConnections = 0 }, "max_connections"},
		{"idle", func(c *Config) { c.Idle = 0 }, "idle"},
		{"a greeting that nobody waits for", func(c *Config) { c.GreetingDelay = connectors.Duration(time.Hour) }, "greeting_delay"},
		{"line ends", func(c *Config) { c.LineEnds = "normalize" }, "line_ends"},
		{"passwords without users", func(c *Config) { c.LoopbackAuth = true }, "auth_on_loopback"},
		{"anyone_to", func(c *Config) { c.AnyoneTo = []string{"MS:", "nonsense"} }, "anyone_to[1]"},
		{"a rule for nobody", func(c *Config) { c.Relay = []Relay{{}} }, "relay[0].networks"},
		{"a network", func(c *Config) { c.Relay = []Relay{{Networks: []string{"10.0.0.0/8", "10.0.0.0/99"}}} }, "relay[0].networks[1]"},
		{"users without a file", func(c *Config) { c.Relay = []Relay{{Users: []string{"mira"}}} }, "relay[0].users"},
		{"a fingerprint", func(c *Config) { c.Certificate, c.Relay = "c.pem", []Relay{{Certificates: []string{"sha256:12"}}} }, "relay[0].certificates[0]"},
		{"a name without a CA", func(c *Config) { c.Certificate, c.Relay = "c.pem", []Relay{{Certificates: []string{"a.example"}}} }, "relay[0].certificates[0]"},
		{"certificates without TLS", func(c *Config) { c.Relay = []Relay{{Certificates: []string{"sha256:" + strings.Repeat("00", 32)}}} }, "relay[0].certificates"},
		{"relay from", func(c *Config) { c.Relay = []Relay{{Networks: []string{"10.0.0.1"}, From: []string{"x"}}} }, "relay[0].from[0]"},
		{"a smarthost", func(c *Config) { c.Smarthosts = []string{"relay.example:2525", "relay.example:99999"} }, "smarthost[1]"},
		{"an IPv6 smarthost", func(c *Config) { c.Smarthosts = []string{"2001:db8::1", "[2001:db8::1]:25"} }, ""},
		{"port", func(c *Config) { c.Port = 0 }, "port"},
		{"tls", func(c *Config) { c.TLS = "yes" }, "tls"},
		{"verify without a smarthost", func(c *Config) { c.TLS = "verify" }, "tls"},
		{"a CA that nobody asks", func(c *Config) { c.CA = "ca.pem" }, "ca"},
		{"a password for any exchanger", func(c *Config) { c.User, c.Password = "a", "b" }, "user"},
		{"a user without password", func(c *Config) { c.Smarthosts, c.User = []string{"a.example"}, "a" }, "password"},
		{"encapsulate_domain", func(c *Config) { c.EncapsulateDomain = "-x" }, "encapsulate_domain"},
		{"dns", func(c *Config) { c.DNS = "ns.example:53" }, "dns"},
		{"a key without selector", func(c *Config) { c.DKIMKey = "k.pem" }, "dkim_selector"},
		{"a selector that is no name", func(c *Config) { c.DKIMKey, c.DKIMSelector = "k.pem", "a b" }, "dkim_selector"},
		{"dkim_domains", func(c *Config) { c.DKIMDomains = []string{"a.example", "-"} }, "dkim_domains[1]"},
		{"reply_timeout", func(c *Config) { c.ReplyTimeout = 0 }, "reply_timeout"},
		{"reuse_messages", func(c *Config) { c.ReuseMessages = 0 }, "reuse_messages"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := NewConfig()
			tt.change(c)
			bad := c.Check()
			switch {
			case tt.want == "" && len(bad) > 0:
				t.Errorf("problems %v", bad)
			case tt.want != "" && (len(bad) != 1 || bad[0].Key != tt.want || len(bad[0].Text) < 10):
				t.Errorf("problems %v, want one of %s", bad, tt.want)
			}
		})
	}
}

func TestOpenFailsOnWhatItCantRead(t *testing.T) {
	base := connectors.Env{Site: testSite, Base: t.TempDir()}
	for name, change := range map[string]func(*Config){
		"certificate": func(c *Config) { c.Certificate = "gone.pem" },
		"users":       func(c *Config) { c.Users = "gone" },
		"client_ca":   func(c *Config) { c.ClientCA = "gone.pem" },
		"ca":          func(c *Config) { c.CA, c.TLS, c.Smarthosts = "gone.pem", "verify", []string{"a.example"} },
		"password":    func(c *Config) { c.User, c.Password, c.Smarthosts = "a", "@/nowhere/at/all", []string{"a.example"} },
		"listen":      func(c *Config) { c.Listen = []string{"192.0.2.1:2525"} },
	} {
		c := NewConfig()
		c.Name, c.Listen = "mail", []string{"127.0.0.1:0"}
		change(c)
		if _, err := Open(base, []connectors.Config{c}); err == nil || !strings.Contains(err.Error(), `connector "mail"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUsersFile(t *testing.T) {
	salt, key := []byte("0123456789abcdef"), argon2.IDKey([]byte("argon secret"), []byte("0123456789abcdef"), 1, 64, 1, 32)
	argon := "$argon2id$v=19$m=64,t=1,p=1$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(key)
	path := file(t, "users", []byte("# people\n\nmira:$2a$04$DAizFuH.jLal63t4id0MOuZxWKOptgSNA2m3wkcQZpypP29S4s4r2\r\njo:"+argon+"\n"))
	u, err := openUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, password string
		want           bool
	}{
		{"mira", "secret", true}, {"mira", "Secret", false}, {"Mira", "secret", false}, {"mira", "", false}, {"mira", strings.Repeat("x", 100), false},
		{"jo", "argon secret", true}, {"jo", "secret", false}, {"jo", "argon secret\x00", false},
		{"nobody", "nobody has this password, since nobody is no user", false},
	} {
		if got, err := u.check(tt.name, tt.password); got != tt.want || err != nil {
			t.Errorf("%s with %q: %v, %v", tt.name, tt.password, got, err)
		}
	}
	later := time.Now().Add(time.Hour)
	if err := os.WriteFile(path, []byte("mira:"+argon+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if ok, err := u.check("mira", "argon secret"); !ok || err != nil {
		t.Errorf("the new file is not read: %v, %v", ok, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if ok, err := u.check("mira", "argon secret"); ok || err == nil {
		t.Errorf("without its file: %v, %v", ok, err)
	}
}

func TestUsersFileMistakesHaveALine(t *testing.T) {
	for text, want := range map[string]string{
		"mira":              "users:1: write name:hash",
		"\nmira:secret":     "users:2: the hash is neither",
		"mira:$2a$04$short": "users:1: the hash is no bcrypt",
		"mira:$2a$31$DAizFuH.jLal63t4id0MOuZxWKOptgSNA2m3wkcQZpypP29S4s4r2":                                                                "users:1: bcrypt cost 31",
		"mira:$argon2id$v=19$m=99999999,t=1,p=1$MDEyMzQ1Njc$MDEyMzQ1Njc":                                                                   "users:1: the argon2id hash asks",
		"mira:$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc":                                                                                     "users:1: the hash is no argon2id",
		"jo:$2a$04$DAizFuH.jLal63t4id0MOuZxWKOptgSNA2m3wkcQZpypP29S4s4r2\njo:$2a$04$DAizFuH.jLal63t4id0MOuZxWKOptgSNA2m3wkcQZpypP29S4s4r2": "users:2: jo stands here twice",
	} {
		if _, err := openUsers(file(t, "users", []byte(text))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
