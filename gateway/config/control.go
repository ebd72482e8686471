package config

import (
	"fmt"
	"net"
	"regexp"
	"strings"
)

var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// checkControl checks the section that says who may see and steer the site.
func (c *Config) checkControl(at func(key, format string, args ...any)) {
	k := &c.Control
	if k.Listen != "" {
		if _, _, err := net.SplitHostPort(k.Listen); err != nil {
			at("control.listen", "%q: write host:port, for example \"127.0.0.1:8025\"", k.Listen)
		}
	}
	switch k.Loopback {
	case "", "operate", "read", "none":
	default:
		at("control.loopback", "%q: write operate, read or none", k.Loopback)
	}
	if (k.Cert == "") != (k.Key == "") {
		at("control", "cert and key go together")
	}
	seen := map[string]bool{}
	for i, u := range k.Users {
		key := fmt.Sprintf("control.user[%d]", i)
		if !userName.MatchString(u.Name) {
			at(key+".name", "%q: use 1 to 64 letters, digits, '.', '_', '@' or '-'", u.Name)
		}
		if seen[u.Name] {
			at(key+".name", "%q is there twice", u.Name)
		}
		seen[u.Name] = true
		if u.Role != "read" && u.Role != "operate" {
			at(key+".role", "%q: write read or operate", u.Role)
		}
		// A password in the clear is refused here; a hash is looked at when the dashboard starts.
		if p := string(u.Password); !strings.HasPrefix(p, "$") && !strings.HasPrefix(p, "@") {
			at(key+".password", "is not a hash: make one with `backbone password`")
		}
	}
}

// loopbackOnly tells that listen can be reached from this host only.
func loopbackOnly(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
