package mta

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Gateway is this program, built at binary, with its defaults but for what a relay needs: who may send, where to, and as
// Postfix, more than ten connections to its one next hop.
func Gateway(binary string) Kind {
	return Kind{Name: "backbone", Missing: func() string { return "" }, Start: func(o Options) (*Agent, error) { return startGateway(binary, o, "") }}
}

// GatewayWith starts the gateway with further sections in its configuration.
func GatewayWith(binary string, o Options, more string) (*Agent, error) {
	return startGateway(binary, o, more)
}

func startGateway(binary string, o Options, more string) (*Agent, error) {
	addr, err := FreePort()
	if err != nil {
		return nil, err
	}
	a := &Agent{Name: "backbone", Addr: addr, dir: o.Dir}
	dead := ""
	if o.Dead != "" {
		dead = fmt.Sprintf(`
[connector.dead]
type = "smtp"
smarthost = [%q]
tls = "off"
space = [ { address = "SMTP:*@dead.example" } ]
`, o.Dead)
	}
	text := fmt.Sprintf(`[site]
name = "BENCH"
domains = ["relay.example"]
data = "data"
[control]
listen = ""
[log]
level = "info"
[queue]
workers = 100
[connector.relay]
type = "smtp"
parallel = 50
listen = [%q]
smarthost = [%q]
tls = "off"
space = [ { address = "SMTP:*" } ]
relay = [ { networks = ["127.0.0.0/8"] } ]
%s%s`, addr, o.Next, dead, more)
	if err := os.WriteFile(a.Config(), []byte(text), 0o640); err != nil {
		return nil, err
	}
	a.Flush = func() error { // one message finds out that the next hop is back: the rest follows by itself
		out, err := a.Command(context.Background(), binary, "queue", "list", "--json", "--limit", "1")
		if err != nil {
			return err
		}
		var it struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(bytes.TrimSpace(out), &it); err != nil {
			return fmt.Errorf("queue list: %w: %s", err, out)
		}
		_, err = a.Command(context.Background(), binary, "queue", "retry", it.ID)
		return err
	}
	a.Stop = func() error { return a.proc.stop(time.Minute) }
	return a, a.run(o, time.Minute, "sh", "-c", `exec "$@" 2>>"$0"`, filepath.Join(o.Dir, "log"), binary, "serve", "--config", a.Config())
}

// Config is the gateway's configuration file.
func (a *Agent) Config() string { return filepath.Join(a.dir, "backbone.toml") }

// Command runs one of the gateway's commands on it and returns what it prints.
func (a *Agent) Command(ctx context.Context, binary string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, binary, append(args, "--config", a.Config())...)
	var errb strings.Builder
	cmd.Stderr = &errb
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("backbone %s: %w: %s", strings.Join(args, " "), err, errb.String())
	}
	return out, err
}
