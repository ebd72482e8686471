package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is SITEA calling SITEB through a proxy that can cut. The gateway of SITEB is an Acceptor that outlives
// restarts of its listener.
type world struct {
	replica func(ctx context.Context, site string, question []byte) ([]byte, error)
	t       testing.TB
	dir     string
	gw      *connectortest.Acceptor
	cfgA    *Config // the caller's
	cfgB    *Config // the called's
	proxy   *proxy
	log     *slog.Logger

	link   *Link
	source *listener
	closeA func() error
	stopB  func() error
}

func newWorld(t testing.TB, change func(w *world)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), gw: &connectortest.Acceptor{}, log: slog.New(slog.DiscardHandler)}
	w.cfgA, w.cfgB = NewConfig().(*Config), NewConfig().(*Config)
	w.cfgA.Name, w.cfgB.Name = "siteb", "sitea"
	w.cfgA.PeerSite, w.cfgB.PeerSite = "SITEB", "SITEA"
	w.cfgA.Timeout, w.cfgB.Timeout = connectors.Duration(30*time.Second), connectors.Duration(30*time.Second)
	w.cfgA.Certificate, w.cfgA.Key = identity(t, w.dir, "SITEA")
	w.cfgB.Certificate, w.cfgB.Key = identity(t, w.dir, "SITEB")
	w.cfgA.PeerCertificate, w.cfgB.PeerCertificate = w.cfgB.Certificate, w.cfgA.Certificate
	w.cfgA.Spaces = []connectors.Space{{Address: "MS:NORTHWIND/PO2"}}
	w.cfgB.Listen = "127.0.0.1:0"
	if change != nil {
		change(w)
	}
	w.startB()
	w.proxy = newProxy(t, w.cfgB.Listen)
	w.cfgA.Peer = w.proxy.addr
	w.startA()
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	w.stopA()
	w.stopServer()
	w.proxy.close()
}

func identity(t testing.TB, dir, site string) (cert, key string) {
	t.Helper()
	dir = filepath.Join(dir, site)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	id, err := CreateIdentity(dir, site)
	if err != nil {
		t.Fatal(err)
	}
	return id.Certificate, id.Key
}

func (w *world) env(site string) connectors.Env {
	return connectors.Env{Site: connectors.Site{Name: site}, Replica: w.replica, Book: &connectortest.Book{}, Log: w.log, Dir: func(name string) (string, error) {
		dir := filepath.Join(w.dir, site+"-"+name)
		return dir, os.MkdirAll(dir, 0o700)
	}}
}

func open(t testing.TB, env connectors.Env, cfgs ...*Config) connectors.Opened {
	t.Helper()
	var list []connectors.Config
	for _, c := range cfgs {
		if bad := c.Check(); len(bad) > 0 {
			t.Fatalf("configuration of %s: %v", c.Name, bad)
		}
		list = append(list, c)
	}
	o, err := Open(env, list)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// startB opens the called side, at the same port as before when it was there.
func (w *world) startB() {
	w.t.Helper()
	o := open(w.t, w.env("SITEB"), w.cfgB)
	w.source = o.Sources[0].(*listener)
	w.source.drain = 500 * time.Millisecond
	w.cfgB.Listen = w.source.socket.Addr().String()
	stop := serve(w.t, w.source, w.gw)
	w.stopB = func() error { return errors.Join(stop(), o.Close()) }
}

// serve runs a source until the returned function is called, which is harmless to call again.
func serve(t testing.TB, src connectors.Source, gw connectors.Acceptor) func() error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- src.Serve(ctx, gw) }()
	return sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}

func (w *world) stopServer() {
	w.t.Helper()
	if w.stopB == nil {
		return
	}
	if err := w.stopB(); err != nil {
		w.t.Errorf("stopping SITEB: %v", err)
	}
	w.stopB = nil
}

func (w *world) startA() {
	w.t.Helper()
	o := open(w.t, w.env("SITEA"), w.cfgA)
	w.link, w.closeA = o.Connectors[0].(*Link), o.Close
}

func (w *world) stopA() {
	w.t.Helper()
	if w.closeA == nil {
		return
	}
	if err := w.closeA(); err != nil {
		w.t.Errorf("closing SITEA: %v", err)
	}
	w.closeA = nil
}

// transfer is an attempt with one recipient at PO2.
func transfer(key string, content mail.Content) *connectors.Transfer {
	now := time.Now()
	return &connectors.Transfer{Key: key, NextHop: "SITEB", Content: content, Attempt: 1, Note: func(mail.Note) {}, Envelope: mail.Envelope{
		ID: ("SITEA-" + key)[:min(32, 6+len(key))], Kind: mail.KindMessage, Originator: address.Address{Type: address.MS, Value: "NORTHWIND/PO1/JBERG"},
		Recipients: []mail.Recipient{{Address: address.Address{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"}}},
		Arrived:    now, Trace: []mail.Hop{{Site: "SITEA", At: now.UTC().Truncate(time.Microsecond)}}, ContentType: "message/rfc822",
	}}
}

func (w *world) deliver(t *connectors.Transfer) mail.Outcome {
	w.t.Helper()
	return w.link.Deliver(context.Background(), t)[0]
}

func (w *world) mustDeliver(t *connectors.Transfer) mail.Outcome {
	w.t.Helper()
	o := w.deliver(t)
	if o.State != mail.Delivered {
		w.t.Fatalf("transfer %s: got %s (%v), want delivered", t.Key, o.State, o.Failure)
	}
	return o
}

// proxy passes TCP connections on to target, counts octets and cuts.
type proxy struct {
	addr   string
	target string
	socket net.Listener

	up, down   atomic.Int64 // octets passed to and from the target
	cutUp      atomic.Int64 // cut all connections once up reaches this; negative: never
	cutDown    atomic.Int64
	deaf       atomic.Bool // passes nothing more, without closing
	mu         sync.Mutex
	conns      map[net.Conn]bool
	goroutines sync.WaitGroup
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: socket.Addr().String(), target: target, socket: socket, conns: map[net.Conn]bool{}}
	p.mend()
	p.goroutines.Go(func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			p.goroutines.Go(func() { p.pass(c) })
		}
	})
	return p
}

// mend lets everything pass and counts from zero.
func (p *proxy) mend() {
	p.cutUp.Store(-1)
	p.cutDown.Store(-1)
	p.up.Store(0)
	p.down.Store(0)
	p.deaf.Store(false)
}

func (p *proxy) pass(in net.Conn) {
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		in.Close()
		return
	}
	p.mu.Lock()
	p.conns[in], p.conns[out] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in, &p.up, &p.cutUp); in.Close(); out.Close() })
	both.Go(func() { p.copy(in, out, &p.down, &p.cutDown); in.Close(); out.Close() })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, in)
	delete(p.conns, out)
	p.mu.Unlock()
}

func (p *proxy) copy(dst io.Writer, src io.Reader, count, limit *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if p.deaf.Load() {
			n = 0
		}
		if cut := limit.Load(); cut >= 0 && count.Load()+int64(n) >= cut {
			n = int(max(0, cut-count.Load()))
			err = io.ErrUnexpectedEOF
		}
		if n > 0 {
			count.Add(int64(n))
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut breaks every connection there is.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) close() {
	p.socket.Close()
	p.cut()
	p.goroutines.Wait()
}

func key(format string, args ...any) string { return fmt.Sprintf(format, args...) }
