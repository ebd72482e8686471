package msmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/shadowpo/mmff"
)

func ms(s string) address.Address   { return address.Address{Type: address.MS, Value: s} }
func smtp(s string) address.Address { return address.Address{Type: address.SMTP, Value: s} }

// site is a shadow folder with PO1 and PO2 and the connector over it.
type site struct {
	t    testing.TB
	dir  string
	book *connectortest.Book
	log  bytes.Buffer
	mu   sync.Mutex // of log
	*Connector
	opened connectors.Opened
}

// open builds a site; change edits its section before.
func open(t testing.TB, change func(*Config)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), book: &connectortest.Book{}}
	cfg := NewConfig()
	cfg.Name, cfg.Dir, cfg.Stable = "po", "shadow", 0
	cfg.Poll = connectors.Duration(100e6)
	cfg.PostOffices = []PostOffice{{Address: "NORTHWIND/PO1", TimeZone: "UTC", Gateways: []string{"SMTP"}}, {Address: "NORTHWIND/PO2", TimeZone: "UTC", Gateways: []string{"SMTP"}}}
	if change != nil {
		change(cfg)
	}
	if bad := cfg.Check(); len(bad) > 0 {
		t.Fatalf("Check: %v", bad)
	}
	env := connectors.Env{Base: s.dir, Book: s.book, Log: slog.New(slog.NewTextHandler(s, nil)),
		Site: connectors.Site{Name: "SITEA", Domains: []string{"sitea.example"}, MS: "NORTHWIND/SITEA"}}
	if err := cfg.CreateDrops(env.Path); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.opened, err = Open(env, []connectors.Config{cfg}); err != nil {
		t.Fatal(err)
	}
	s.Connector = s.opened.Connectors[0].(*Connector)
	return s
}

// Write takes the log.
func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// folder is one of a post office's folders.
func (s *site) folder(po, name string) string { return filepath.Join(s.dir, "shadow", po, name) }

// submit writes a message file as an agent does that renames into place.
func (s *site) submit(po, name string, b []byte) {
	s.t.Helper()
	tmp := filepath.Join(s.folder(po, "submit"), strings.TrimSuffix(name, ".MSG")+".WRT")
	if err := os.WriteFile(tmp, b, 0o660); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(s.folder(po, "submit"), name)); err != nil {
		s.t.Fatal(err)
	}
}

// files lists a folder's files with an extension, oldest name first.
func (s *site) files(po, folder, ext string) []string {
	s.t.Helper()
	list, err := filepath.Glob(filepath.Join(s.folder(po, folder), "*"+ext))
	if err != nil {
		s.t.Fatal(err)
	}
	sort.Strings(list)
	return list
}

// collected decodes what lies in a post office's deliver folder.
func (s *site) collected(po string, page *mmff.CodePage) []*mmff.Message {
	s.t.Helper()
	var out []*mmff.Message
	for _, name := range s.files(po, "deliver", ".MSG") {
		b, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		d := mmff.NewDecoder(bytes.NewReader(b), int64(len(b)), mmff.Options{CodePage: page})
		for {
			m, err := d.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				s.t.Fatalf("%s: %v", name, err)
			}
			out = append(out, m)
		}
	}
	return out
}

// serve runs the source against gw until the returned function is called.
func (s *site) serve(gw connectors.Acceptor) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, gw) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Serve: %v", err)
		}
	})
}

func (s *site) close() {
	if err := s.opened.Close(); err != nil {
		s.t.Errorf("Close: %v", err)
	}
}

// file is an MMFF file with CRLF lines: header lines, then the body behind a TEXT line of its size.
func file(body string, header ...string) []byte {
	lines := append([]string{"VERSION:3.00"}, header...)
	lines = append(lines, fmt.Sprintf("TEXT:%d", len(body)))
	return []byte(strings.Join(lines, "\r\n") + "\r\n" + body)
}

func text(t testing.TB, m *mmff.Message) string {
	t.Helper()
	if m.Text == nil {
		return ""
	}
	r, err := m.Text.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
