package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/connectors/site/sitev1"
	"backbone/connectors/site/sitev1/sitev1connect"
	"backbone/gateway/mail"

	"connectrpc.com/connect"
)

// scripted is a called site that answers what a test wants.
type scripted struct {
	hello    func(*sitev1.HelloRequest) (*sitev1.HelloResponse, error)
	transfer func(context.Context, *connect.BidiStream[sitev1.TransferRequest, sitev1.TransferResponse]) error
}

func (s *scripted) Hello(_ context.Context, q *sitev1.HelloRequest) (*sitev1.HelloResponse, error) {
	if s.hello != nil {
		return s.hello(q)
	}
	return &sitev1.HelloResponse{Version: protocol, Site: "SITEB"}, nil
}

func (s *scripted) Ping(context.Context, *sitev1.PingRequest) (*sitev1.PingResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("no ping"))
}

func (s *scripted) Transfer(ctx context.Context, st *connect.BidiStream[sitev1.TransferRequest, sitev1.TransferResponse]) error {
	return s.transfer(ctx, st)
}

func (s *scripted) Trace(context.Context, *sitev1.TraceRequest) (*sitev1.TraceResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("not in this script"))
}

func (s *scripted) Replicate(context.Context, *sitev1.ReplicateRequest) (*sitev1.ReplicateResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("no directory"))
}

// against is a link whose peer is scripted.
func against(t *testing.T, s *scripted, timeout time.Duration) *world {
	t.Helper()
	w := newWorld(t, func(w *world) { w.cfgA.Timeout = connectors.Duration(timeout) })
	pair, err := tls.LoadX509KeyPair(w.cfgB.Certificate, w.cfgB.Key)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, h := sitev1connect.NewSiteLinkHandler(s)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	srv := &http.Server{Handler: h, Protocols: protocols, ErrorLog: nil,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"}}}
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(socket, "", "") }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	w.link.cfg.Peer = socket.Addr().String()
	return w
}

func resume(at uint64) *sitev1.TransferResponse {
	return &sitev1.TransferResponse{Answer: &sitev1.TransferResponse_Resume{Resume: &sitev1.Resume{Offset: at}}}
}

func refused(f *sitev1.Failure) *sitev1.TransferResponse {
	return &sitev1.TransferResponse{Answer: &sitev1.TransferResponse_Refused{Refused: f}}
}

type stream = connect.BidiStream[sitev1.TransferRequest, sitev1.TransferResponse]

// answers receives one step before each of its answers.
func answers(list ...*sitev1.TransferResponse) func(context.Context, *stream) error {
	return func(_ context.Context, st *stream) error {
		for _, a := range list {
			if _, err := st.Receive(); err != nil {
				return err
			}
			if err := st.Send(a); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestAPeerThatMisbehavesDefersTheMessage(t *testing.T) {
	silent := func(ctx context.Context, _ *stream) error { <-ctx.Done(); return ctx.Err() }
	for _, tt := range []struct {
		name  string
		size  int
		peer  scripted
		scope mail.Scope
		want  string
	}{
		{"another version", 10, scripted{hello: func(*sitev1.HelloRequest) (*sitev1.HelloResponse, error) {
			return &sitev1.HelloResponse{Version: 2, Site: "SITEB"}, nil
		}}, mail.ScopeLink, "version 2"},
		{"another name than its certificate", 10, scripted{hello: func(*sitev1.HelloRequest) (*sitev1.HelloResponse, error) {
			return &sitev1.HelloResponse{Version: protocol, Site: "SITEX"}, nil
		}}, mail.ScopeLink, `calls itself site "SITEX"`},
		{"no Backbone at all", 10, scripted{hello: func(*sitev1.HelloRequest) (*sitev1.HelloResponse, error) {
			return nil, connect.NewError(connect.CodeUnimplemented, errors.New("no such procedure"))
		}}, mail.ScopeLink, "no such procedure"},
		{"silence after the offer", 10, scripted{transfer: silent}, mail.ScopeLink, "did not answer within 1s"},
		{"silence after the offer of a large message", 1 << 20, scripted{transfer: silent}, mail.ScopeLink, "did not answer within 1s"},
		{"silence in the middle", 8 << 20, scripted{transfer: func(ctx context.Context, st *stream) error {
			if err := answers(resume(0))(ctx, st); err != nil {
				return err
			}
			return silent(ctx, st)
		}}, mail.ScopeLink, "did not answer within 1s"},
		{"an end without an answer", 10, scripted{transfer: func(context.Context, *stream) error { return nil }}, mail.ScopeLink, ""},
		{"an empty answer", 10, scripted{transfer: answers(&sitev1.TransferResponse{})}, mail.ScopeLink, "out of turn"},
		{"resume of a message that was whole", 10, scripted{transfer: answers(resume(0))}, mail.ScopeLink, "out of turn"},
		{"resume beyond the end", 1 << 20, scripted{transfer: answers(resume(1 << 62))}, mail.ScopeLink, "wants to go on at octet"},
		{"an internal error", 10, scripted{transfer: func(context.Context, *stream) error {
			return connect.NewError(connect.CodeInternal, errors.New("oops"))
		}}, mail.ScopeMessage, "could not deal with the message"},
		{"its own disk is full", 10, scripted{transfer: answers(refused(packFailure(mail.LocalFault("disk full", errors.New("/var/spool")))))},
			mail.ScopeMessage, "disk full"},
		{"a refusal that says nothing", 10, scripted{transfer: answers(refused(&sitev1.Failure{}))}, mail.ScopeMessage, "refused by site SITEB"},
		{"a refusal in the middle of the content", 8 << 20, scripted{transfer: answers(resume(0), refused(packFailure(mail.LocalFault("disk full", nil))))},
			mail.ScopeMessage, "disk full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := 30 * time.Second
			if strings.HasPrefix(tt.name, "silence") {
				timeout = time.Second
			}
			w := against(t, &tt.peer, timeout)
			start := time.Now()
			o := w.deliver(transfer("k", connectortest.Bytes(connectortest.Octets(tt.size, 1))))
			if o.State != mail.Deferred || o.Failure.Class != mail.Transient || o.Failure.Scope != tt.scope {
				t.Fatalf("got %s (%+v), want deferred, transient, scope %s", o.State, o.Failure, tt.scope)
			}
			if !strings.Contains(o.Failure.Error(), tt.want) {
				t.Errorf("failure %q does not say %q", o.Failure.Error(), tt.want)
			}
			if strings.Contains(o.Failure.Error(), "/var/spool") {
				t.Errorf("the peer's paths came along: %v", o.Failure)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestARefusalComesBackAsItWasClassified(t *testing.T) {
	odd := &mail.Failure{Class: mail.Policy, Scope: mail.ScopeRecipient, Code: 550, Enhanced: "5.7.1", Reason: 5, Diagnostic: -1, MSMail: 1,
		Text: "not\r\nallowed\x00", RetryAfter: time.Hour}
	w := newWorld(t, nil)
	for _, tt := range []struct {
		name   string
		answer error
		want   mail.Failure
	}{
		{"permanent", mail.UnknownRecipient("no such user"), mail.Failure{Class: mail.Permanent, Scope: mail.ScopeRecipient, Code: 550,
			Enhanced: "5.1.1", Reason: 1, Diagnostic: 0, MSMail: 2, Text: "no such user"}},
		{"policy, with text that is not one line", odd, mail.Failure{Class: mail.Policy, Scope: mail.ScopeRecipient, Code: 550, Enhanced: "5.7.1",
			Reason: 5, Diagnostic: -1, MSMail: 1, Text: "not\uFFFD\uFFFDallowed\uFFFD", RetryAfter: time.Hour}},
		{"local to the peer", mail.LocalFault("queue disk is full", errors.New("ENOSPC on /q")), mail.Failure{Class: mail.Transient,
			Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.0", Reason: 0, Diagnostic: 2, MSMail: 1, Text: "queue disk is full"}},
		{"classified by nobody", errors.New("panic in /srv"), mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451,
			Enhanced: "4.3.0", Reason: 0, Diagnostic: 2, MSMail: 1, Text: "local error in processing"}},
		{"loop", mail.Loop("SITEB is in the trace"), mail.Failure{Class: mail.Permanent, Scope: mail.ScopeMessage, Code: 554, Enhanced: "5.4.6",
			Reason: 1, Diagnostic: 3, MSMail: 4, Text: "SITEB is in the trace"}},
		{"the peer's gateway as a whole", &mail.Failure{Class: mail.Transient, Scope: mail.ScopeLink, Code: 421, Enhanced: "4.3.2", Reason: 1, Diagnostic: 2,
			MSMail: 5, Text: "shutting down", RetryAfter: 30 * 24 * time.Hour}, mail.Failure{Class: mail.Transient, Scope: mail.ScopeLink, Code: 421,
			Enhanced: "4.3.2", Reason: 1, Diagnostic: 2, MSMail: 5, Text: "shutting down", RetryAfter: maxRetryAfter}},
	} {
		for _, size := range []int{10, 200 << 10} {
			t.Run(fmt.Sprintf("%s, %d octets", tt.name, size), func(t *testing.T) {
				before, _ := w.parts()
				w.gw.Script(tt.answer)
				tr := transfer(key("%x-%d", tt.want.Text, size), connectortest.Bytes(connectortest.Octets(size, 1)))
				o := w.deliver(tr)
				if o.Failure == nil {
					t.Fatalf("got %s", o.State)
				}
				got := *o.Failure
				if got.Peer == "" {
					t.Error("the peer's own words are missing")
				}
				got.Peer = ""
				if got != tt.want {
					t.Errorf("got  %+v\nwant %+v", got, tt.want)
				}
				kept, _ := w.parts()
				if want := size > inlineLimit && !tt.want.Final(); want != (len(kept) == len(before)+1) {
					t.Errorf("parts before %v, after %v; what will come again is kept, the rest is not", before, kept)
				}
				if !tt.want.Final() {
					w.mustDeliver(tr)
				}
			})
		}
	}
}

func TestALineThatGoesDeadIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.cfgA.Timeout = connectors.Duration(2 * time.Second) })
	w.mustDeliver(transfer("before", connectortest.Bytes([]byte("x"))))
	w.proxy.deaf.Store(true)
	lost := func(k string) {
		if o := w.link.Deliver(context.Background(), transfer(k, connectortest.Bytes([]byte("x"))))[0]; o.State != mail.Deferred || o.Failure.Scope != mail.ScopeLink {
			t.Errorf("got %s (%v), want deferred at link scope", o.State, o.Failure)
		}
	}
	var later sync.WaitGroup
	later.Go(func() {
		<-time.After(time.Second)
		lost("dead-2") // still waits, over the old connection, when a new one is wanted
	})
	lost("dead-1")
	w.proxy.deaf.Store(false) // for new connections; what the old one has lost stays lost
	w.mustDeliver(transfer("dead-1", connectortest.Bytes([]byte("x"))))
	later.Wait()
}

func TestOneSlowMessageDoesNotHoldUpTheOthers(t *testing.T) {
	w := newWorld(t, nil)
	free := make(chan struct{})
	w.gw.OnAccept(func(_ context.Context, s connectors.Submission) error {
		if s.Envelope.ID == "SITEA-slow" {
			<-free
		}
		return nil
	})
	slow := make(chan mail.Outcome, 1)
	go func() {
		slow <- w.link.Deliver(context.Background(), transfer("slow", connectortest.Bytes(connectortest.Octets(4<<20, 1))))[0]
	}()
	for i := range 50 {
		w.mustDeliver(transfer(key("quick-%d", i), connectortest.Bytes(connectortest.Octets(60<<10, 1))))
	}
	close(free)
	if o := <-slow; o.State != mail.Delivered {
		t.Errorf("the slow one: %s (%v)", o.State, o.Failure)
	}
}

func TestAcceptMayLastLongerThanTheTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.cfgB.Timeout = connectors.Duration(1500 * time.Millisecond) })
	w.gw.OnAccept(func(context.Context, connectors.Submission) error {
		<-time.After(1800 * time.Millisecond)
		return nil
	})
	var both sync.WaitGroup
	for _, size := range []int{1, 100 << 10} {
		both.Go(func() {
			o := w.link.Deliver(context.Background(), transfer(key("lasting-%d", size), connectortest.Bytes(make([]byte, size))))[0]
			if o.State != mail.Delivered {
				t.Errorf("%d octets: got %s (%v)", size, o.State, o.Failure)
			}
		})
	}
	both.Wait()
}

func TestAGatewayThatPanicsSpoilsOneMessageOnly(t *testing.T) {
	w := newWorld(t, nil)
	w.gw.OnAccept(func(_ context.Context, s connectors.Submission) error {
		if s.Envelope.ID == "SITEA-poison" {
			panic("poison")
		}
		return nil
	})
	for range 2 { // the second attempt finds the part of the first, and nobody holding it
		o := w.deliver(transfer("poison", connectortest.Bytes(connectortest.Octets(100<<10, 1))))
		if o.State != mail.Deferred || o.Failure.Scope != mail.ScopeMessage {
			t.Errorf("got %s (%v), want deferred, message scope: the link is not to blame", o.State, o.Failure)
		}
	}
	w.mustDeliver(transfer("good", connectortest.Bytes([]byte("x"))))
}

func TestAnOddKeyIsAsGoodAsAnother(t *testing.T) {
	w := newWorld(t, nil)
	for _, k := range []string{"", "a\nb", strings.Repeat("k", 1000)} {
		tr := transfer("odd", connectortest.Bytes([]byte(k)))
		tr.Key = k
		w.mustDeliver(tr)
		w.mustDeliver(tr)
	}
	if n := len(w.gw.Taken()); n != 3 {
		t.Errorf("%d messages arrived, want 3", n)
	}
}

func TestPeersLimitIsFinalBeforeAnythingIsSent(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfgB.MaxSize = 1 << 20 })
	w.mustDeliver(transfer("fits", connectortest.Bytes(connectortest.Octets(1<<20, 1))))
	w.proxy.mend()
	o := w.deliver(transfer("large", &connectortest.Synthetic{Length: 1<<20 + 1}))
	if o.State != mail.Failed || o.Failure.Class != mail.Policy || o.Failure.Diagnostic != 7 {
		t.Errorf("got %s (%+v), want failed, policy, content-too-long", o.State, o.Failure)
	}
	if n := w.proxy.up.Load(); n > 10<<10 {
		t.Errorf("%d octets were sent for it", n)
	}
	w.link.cfg.MaxSize = 100
	if o := w.deliver(transfer("own", connectortest.Bytes(make([]byte, 101)))); o.State != mail.Failed || o.Failure.Class != mail.Policy {
		t.Errorf("own limit: got %s (%+v), want failed, policy", o.State, o.Failure)
	}
}
