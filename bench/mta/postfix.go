package mta

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Postfix is Debian's, tuned as its own documents advise for a busy relay (TUNING_README, QSHAPE_README): as many processes
// as there are sessions, no delay on intake (in_flow_delay), no client statistics, no DNS, connections to the next hop
// kept, logging without syslog. It stays durable: that is not an option of Postfix's.
var Postfix = Kind{Name: "postfix", Missing: missingPostfix, Start: startPostfix}

func missingPostfix() string {
	if _, err := exec.LookPath("postfix"); err != nil {
		return "apt-get install postfix"
	}
	if os.Getuid() != 0 {
		return "Postfix starts as root only"
	}
	return ""
}

func startPostfix(o Options) (*Agent, error) {
	addr, err := FreePort()
	if err != nil {
		return nil, err
	}
	a := &Agent{Name: "postfix", Addr: addr}
	etc := filepath.Join(o.Dir, "etc")
	for _, d := range []struct{ name, owner string }{{"etc", "root"}, {"spool", "root"}, {"data", "postfix"}} {
		p := filepath.Join(o.Dir, d.name)
		if err := os.MkdirAll(p, 0o755); err != nil {
			return nil, err
		}
		if out, err := exec.Command("chown", d.owner, p).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
	}
	for p := o.Dir; p != "/" && p != "."; p = filepath.Dir(p) { // its processes drop root
		if st, err := os.Stat(p); err != nil {
			return nil, err
		} else if st.Mode().Perm()&0o5 != 0o5 {
			return nil, fmt.Errorf("%s is closed to others: Postfix's processes can't reach %s", p, o.Dir)
		}
	}
	for name, text := range map[string]string{"main.cf": postfixMain(o), "master.cf": postfixMaster(addr)} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if out, err := exec.Command("postfix", "-c", etc, "check").CombinedOutput(); err != nil { // makes the spool's folders
		return nil, fmt.Errorf("postfix check: %w: %s", err, out)
	}
	daemons, err := exec.Command("postconf", "-h", "daemon_directory").Output()
	if err != nil {
		return nil, fmt.Errorf("postconf: %w", err)
	}
	a.Flush = func() error {
		if out, err := exec.Command("postqueue", "-c", etc, "-f").CombinedOutput(); err != nil {
			return fmt.Errorf("postqueue -f: %w: %s", err, out)
		}
		return nil
	}
	a.Stop = func() error { return a.proc.stop(time.Minute) }
	return a, a.run(o, 30*time.Second, filepath.Join(strings.TrimSpace(string(daemons)), "master"), "-d", "-c", etc)
}

func bracketed(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return "[" + host + "]:" + port
}

func postfixMain(o Options) string {
	dead := ""
	if o.Dead != "" {
		dead = "transport_maps = inline:{ dead.example=smtp:" + bracketed(o.Dead) + " }\n"
	}
	return fmt.Sprintf(`compatibility_level = 3.6
myhostname = relay.example
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
relayhost = %[2]s
%[3]ssmtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
receive_override_options = no_address_mappings, no_unknown_recipient_checks
smtpd_peername_lookup = no
smtpd_client_event_limit_exceptions = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtp_dns_support_level = disabled
in_flow_delay = 0
default_process_limit = 200
initial_destination_concurrency = 50
default_destination_concurrency_limit = 100
smtp_destination_concurrency_limit = 100
smtp_connection_cache_destinations = %[2]s
smtp_connection_cache_time_limit = 10s
smtp_connection_reuse_time_limit = 300s
qmgr_message_active_limit = 60000
qmgr_message_recipient_limit = 60000
message_size_limit = 50000000
minimal_backoff_time = 4000s
`, o.Dir, bracketed(o.Next), dead)
}

func postfixMaster(addr string) string {
	return addr + ` inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
tlsmgr    unix  - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
`
}
