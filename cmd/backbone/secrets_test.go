package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/config"
	"backbone/gateway/control/dashboard"
	"backbone/shadowpo"
)

// secretsSite has every key that holds a secret; $1, $2... become the secrets.
const secretsSite = `
[site]
name = "SITEA"
domains = ["sitea.example"]
ms = "NET/SITEA"
x400 = "c=US;a= ;p=Northwind;o=SITEA"
[control]
listen = ""
loopback = "operate"
[[control.user]]
name = "kim"
password = "HASH"
role = "read"
[log]
level = "debug"
[[dirsync.requestor]]
address = "NET/PO1"
password = "$secret-requestor"
[[dirsync.server]]
address = "NET/PO2"
password = "$secret-server"
[[replication.partner]]
site = "SITEB"
connectors = ["x400"]
address = "MS:NET/SITEB/$SYSTEM"
key = "$secret-replication"
[connector.msmail]
type = "msmail"
dir = "."
[[connector.msmail.postoffice]]
address = "NET/PO1"
[connector.imc]
type = "smtp"
smarthost = ["SINK"]
tls = "off"
user = "kim"
password = "$secret-smtp"
space = [ { address = "SMTP:*" } ]
[connector.x400]
type = "x400"
peer = "127.0.0.1:1"
remote_mta = "SITEB"
local_password = "$secret-local"
remote_password = "$secret-remote"
remote_address = "c=US;a= ;p=Northwind;o=SITEB"
space = [ { address = "MS:NET/PO2" } ]
`

// secretDSN names a database with a password, and secretQueue puts it into a configuration.
const secretDSN = "postgres://kim:secret-queue@127.0.0.1:1/mail?connect_timeout=1"

func secretQueue(dsn string) string {
	return fmt.Sprintf("[queue]\nstore = \"postgres\"\ndsn = %q\n", dsn)
}

var secretInText = regexp.MustCompile(`\$(secret-[a-z]+)`)

// TestSecretsComeOutNowhere: an unmistakable secret in every key that holds one, and none of them in what the program writes:
// log, configuration shown, compared, reloaded or refused, command line, API, pages, metrics, profiles, audit and tracking
// log, and what becomes of it when a host answers with the password that it was sent.
func TestSecretsComeOutNowhere(t *testing.T) {
	hash, err := dashboard.Hash("secret-of-kim")
	check(t, err)
	echo := listen(t)
	var served sync.WaitGroup
	served.Go(func() { echoAuth(echo) })
	defer func() {
		echo.Close()
		served.Wait()
	}()
	dir, log := t.TempDir(), &lockedBuffer{}
	path := filepath.Join(dir, "backbone.toml")
	plain := strings.NewReplacer("HASH", hash, "SINK", echo.Addr().String()).Replace(secretsSite)
	text := secretInText.ReplaceAllString(plain, "$1")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	cfg, err := config.Load(path, kinds)
	check(t, err)

	// Every key of the type Secret is set; a new one has to be put in above.
	missing := map[string]bool{}
	for _, s := range secretKeys("", reflect.TypeFor[config.Config]()) {
		missing[s] = true
	}
	for _, k := range kinds {
		for _, s := range secretKeys("connector."+k.Type, reflect.TypeOf(k.NewConfig()).Elem()) {
			missing[s] = true
		}
	}
	if len(missing) < 7 {
		t.Fatalf("%d keys hold a secret: %v", len(missing), missing)
	}
	set := func(section string, v any) {
		for _, s := range secretsSet(section, reflect.ValueOf(v)) {
			delete(missing, s)
		}
	}
	set("", cfg)
	for _, c := range cfg.Connectors {
		set("connector."+c.Base().Type, c)
	}
	clustered, err := config.Parse(path, dir, []byte(text+secretQueue(secretDSN)), kinds)
	check(t, err)
	set("", clustered)
	for k := range missing {
		t.Errorf("this test's configuration has no secret in %s", k)
	}

	secrets := []string{hash, hash[len(hash)-20:], "secret-of-kim", "secret-queue"}
	for _, m := range secretInText.FindAllStringSubmatch(plain, -1) {
		secrets = append(secrets, m[1], "other-"+m[1], base64.StdEncoding.EncodeToString([]byte(m[1])))
	}
	secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte("\x00kim\x00secret-smtp")))
	looked := 0
	none := func(where, out string) {
		t.Helper()
		looked++
		for _, s := range secrets {
			if i := strings.Index(out, s); i >= 0 {
				t.Errorf("%s has the secret %s: %q", where, s, clip(out, i))
			}
		}
	}

	// Mistakes beside and in a secret.
	for i, line := range strings.Split(text, "\n") {
		if !strings.Contains(line, "secret-") && !strings.Contains(line, hash) {
			continue
		}
		key, value, _ := strings.Cut(line, " = ")
		for _, wrong := range []string{key + " = " + strings.Trim(value, `"`), key + " = " + strings.TrimSuffix(value, `"`), key + " = [" + value + "]", key + "x = " + value, line + " " + value, line + "\n" + line, key + " = " + strings.TrimSuffix(value, `"`) + `\z"`} {
			lines := strings.Split(text, "\n")
			lines[i] = wrong
			_, err := config.Parse("f.toml", dir, []byte(strings.Join(lines, "\n")), kinds)
			if err == nil {
				t.Errorf("%q was taken", wrong)
				continue
			}
			none("the error for "+wrong, err.Error())
		}
	}

	// A queue in a database that is named wrongly.
	for i, dsn := range []string{secretDSN, strings.Replace(secretDSN, ":1/", ":port/", 1), strings.Replace(secretDSN, "queue@", "queue%zz@", 1),
		"host=127.0.0.1 port=x password=secret-queue", "password='secret-queue", "secret-queue"} {
		text := text + secretQueue(dsn)
		clustered, err := config.Parse(path, dir, []byte(text), kinds)
		check(t, err)
		none("printed", fmt.Sprintf("%v %+v %#v", clustered, clustered.Queue, clustered.Queue))
		args := [][]string{{"config", "show"}, {"config", "check"}}
		if i > 0 { // the first one is fine, and would be waited for
			args = append(args, []string{"queue", "list", "--offline"}, []string{"serve"})
			if _, err := openSite(clustered, newLog(clustered.Log, log), true); err == nil {
				t.Errorf("%s was opened", dsn)
			} else {
				none("the error for "+dsn, err.Error())
			}
		}
		file := filepath.Join(dir, "clustered.toml")
		check(t, os.WriteFile(file, []byte(text), 0o600))
		for _, args := range args {
			var out bytes.Buffer
			run(t.Context(), append([]string{"--config", file}, args...), strings.NewReader(""), &out, &out)
			none(strings.Join(args, " ")+" with "+dsn, out.String())
		}
	}

	// A running site.
	t.Setenv("BACKBONE_CONFIG", path)
	po, err := address.ParsePostOffice("NET/PO1")
	check(t, err)
	check(t, shadowpo.Create(filepath.Join(dir, "NET.PO1"), po))
	s, err := openSite(cfg, newLog(cfg.Log, log), true)
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() { ended <- s.serve(ctx, func() { close(ready) }) }()
	defer func() {
		stop()
		check(t, <-ended)
	}()
	<-ready
	backbone := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		run(ctx, args, strings.NewReader("Subject: x\n\nx\n"), &out, &out)
		none("backbone "+strings.Join(args, " "), out.String())
		return out.String()
	}
	backbone("send", "--from", "MS:NET/PO1/ASMITH", "--to", "SMTP:ann@far.example", "--subject", "x")
	backbone("send", "--from", "MS:NET/PO1/ASMITH", "--to", "MS:NET/PO2/BJONES", "--subject", "x")
	eventually(t, "AUTH to be refused", func() bool { return strings.Contains(backbone("queue", "list", "--json"), "refused our password") })
	other := filepath.Join(dir, "other.toml")
	check(t, os.WriteFile(other, []byte(strings.NewReplacer("secret-of", "secret-of", `"secret-`, `"other-secret-`).Replace(text)), 0o600))
	for _, args := range [][]string{
		{"config", "show"}, {"config", "check"}, {"config", "diff", path, other}, {"config", "reference"}, {"status"}, {"queue", "list"}, {"dest", "list"}, {"connector", "list"},
		{"trace"}, {"trace", "--type", "deferred"}, {"dirsync", "show"}, {"audit"}, {"route", "table"}, {"probe", "SMTP:ann@far.example"}, {"probe", "MS:NET/PO2/BJONES"},
	} {
		backbone(args...)
		backbone(append(args, "--json")...)
	}
	check(t, os.Rename(other, path))
	if out := backbone("config", "diff"); strings.Count(out, "***") < 12 {
		t.Errorf("the changed secrets are not told of:\n%s", out)
	}
	backbone("config", "reload")
	api, pages := s.service.Handler(), s.dash.Handler(ctx)
	for _, p := range []string{"/v1/status", "/v1/queue", "/v1/dests", "/v1/connectors", "/v1/dirsync", "/v1/audit", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline"} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest("GET", p, nil))
		none(p, w.Body.String())
	}
	for _, p := range []string{"/", "/queue", "/destinations", "/routes", "/directory", "/quarantine", "/figures", "/audit", "/sign-in", "/metrics", "/readyz"} {
		r := httptest.NewRequest("GET", p, nil)
		r.RemoteAddr, r.Host = "127.0.0.1:4000", "127.0.0.1"
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		none(p, w.Body.String())
	}
	none("printed", fmt.Sprintf("%v %+v %#v", cfg, cfg.Control, cfg.DirSync))
	for _, c := range cfg.Connectors {
		none("printed", fmt.Sprintf("%v %+v %#v", c, c, c))
	}
	none("log", log.String())
	check(t, filepath.WalkDir(cfg.Site.Data, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			none(p, read(t, p))
		}
		return err
	}))
	if looked < 100 {
		t.Errorf("%d outputs looked at", looked)
	}
}

// TestKeysThatSoundSecretAreSecrets: whatever is named like one either is of the type Secret or names a file.
func TestKeysThatSoundSecretAreSecrets(t *testing.T) {
	sounds := regexp.MustCompile(`(?i)password|passwd|secret|token|credential|key$|^key`)
	exempt := regexp.MustCompile(`(?i)\bfile\b|send the password as`)
	var walk func(at string, typ reflect.Type)
	n := 0
	walk = func(at string, typ reflect.Type) {
		for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			if sounds.MatchString(key) {
				n++
				if f.Type != reflect.TypeFor[connectors.Secret]() && !exempt.MatchString(f.Tag.Get("doc")) {
					t.Errorf("%s.%s is a %s", at, key, f.Type)
				}
			}
			walk(at+"."+key, f.Type)
		}
	}
	walk("", reflect.TypeFor[config.Config]())
	for _, k := range kinds {
		walk(k.Type, reflect.TypeOf(k.NewConfig()))
	}
	if n < 10 {
		t.Errorf("%d keys sound secret: the test looks at nothing", n)
	}
}

// secretKeys are the keys of type Secret in a type.
func secretKeys(at string, typ reflect.Type) (out []string) {
	for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == reflect.TypeFor[connectors.Secret]() {
		return []string{at}
	}
	if typ.Kind() == reflect.Struct {
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() {
				out = append(out, secretKeys(at+"."+f.Name, f.Type)...)
			}
		}
	}
	return out
}

// secretsSet are those of them that have a value.
func secretsSet(at string, v reflect.Value) (out []string) {
	switch {
	case v.Type() == reflect.TypeFor[connectors.Secret]():
		if v.String() != "" {
			out = append(out, at)
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		return secretsSet(at, v.Elem())
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			out = append(out, secretsSet(at, v.Index(i))...)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out = append(out, secretsSet(at+"."+f.Name, v.Field(i))...)
			}
		}
	}
	return slices.Compact(out)
}

// echoAuth is an SMTP host that refuses each AUTH with the line that it was sent, and the password in it.
func echoAuth(l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer conn.Close()
			_, err := fmt.Fprint(conn, "220 echo\r\n")
			for sc := bufio.NewScanner(conn); err == nil && sc.Scan(); {
				switch line := sc.Text(); {
				case strings.HasPrefix(line, "EHLO"):
					_, err = fmt.Fprint(conn, "250-echo\r\n250 AUTH PLAIN\r\n")
				case strings.HasPrefix(line, "AUTH PLAIN "):
					b, _ := base64.StdEncoding.DecodeString(line[len("AUTH PLAIN "):])
					_, err = fmt.Fprintf(conn, "535-5.7.8 no: %s\r\n535 5.7.8 that is %s\r\n", line, bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
				default:
					_, err = fmt.Fprint(conn, "250 ok\r\n")
				}
			}
		})
	}
}
