package site

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/connectors/site/sitev1"
	"backbone/connectors/site/sitev1/sitev1connect"

	"connectrpc.com/connect"
)

// rawCaller speaks the protocol to w's SITEB by hand, with SITEA's certificate.
func (w *world) rawCaller() sitev1connect.SiteLinkClient {
	w.t.Helper()
	pair, err := tls.LoadX509KeyPair(w.cfgA.Certificate, w.cfgA.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	tr := &http.Transport{Protocols: protocols,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}}
	w.t.Cleanup(tr.CloseIdleConnections)
	return sitev1connect.NewSiteLinkClient(&http.Client{Transport: tr}, "https://"+w.cfgB.Listen)
}

func step(s any) *sitev1.TransferRequest {
	switch s := s.(type) {
	case *sitev1.Offer:
		return &sitev1.TransferRequest{Step: &sitev1.TransferRequest_Offer{Offer: s}}
	case *sitev1.Chunk:
		return &sitev1.TransferRequest{Step: &sitev1.TransferRequest_Chunk{Chunk: s}}
	case *sitev1.End:
		return &sitev1.TransferRequest{Step: &sitev1.TransferRequest_End{End: s}}
	}
	return &sitev1.TransferRequest{}
}

// converse sends steps and collects answers until the peer ends the call.
func converse(t *testing.T, c sitev1connect.SiteLinkClient, steps ...any) ([]*sitev1.TransferResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st, err := c.Transfer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if err := st.Send(step(s)); err != nil {
			break // Receive tells why
		}
	}
	var out []*sitev1.TransferResponse
	for {
		m, err := st.Receive()
		if err != nil {
			cancel()
			st.CloseRequest()
			st.CloseResponse()
			return out, err
		}
		out = append(out, m)
		if m.GetResume() == nil {
			if err := st.CloseRequest(); err != nil {
				t.Error(err)
			}
		}
	}
}

func goodEnvelope() *sitev1.Envelope {
	e := transfer("x", nil).Envelope
	return packEnvelope(&e)
}

func goodOffer(key string, content []byte) *sitev1.Offer {
	sum := sha256.Sum256(content)
	return &sitev1.Offer{Version: protocol, Key: key, Size: uint64(len(content)), Envelope: goodEnvelope(), Content: content, Sha256: sum[:]}
}

func TestAHostileCallerIsHeldToTheProtocol(t *testing.T) {
	w := newWorld(t, nil)
	c := w.rawCaller()
	large := connectortest.Octets(200<<10, 1)
	sum := sha256.Sum256(large)
	made := 0
	fresh := func() string { made++; return key("hostile-%d", made) }
	offer := func(change func(*sitev1.Offer)) *sitev1.Offer {
		o := goodOffer(fresh(), []byte("content"))
		change(o)
		return o
	}
	big := func() *sitev1.Offer {
		o := goodOffer(fresh(), nil)
		o.Size, o.Content, o.Sha256 = uint64(len(large)), nil, nil
		return o
	}
	chunks := func(n int) (out []any) {
		for i := 0; i < n; i += 32 << 10 {
			out = append(out, &sitev1.Chunk{Data: large[i:min(n, i+32<<10)]})
		}
		return out
	}
	for _, tt := range []struct {
		name    string
		steps   []any
		code    connect.Code // of the call, 0: it ends well
		refused sitev1.Class // of the answer
	}{
		{"content before an offer", []any{&sitev1.Chunk{Data: []byte("x")}}, connect.CodeInvalidArgument, 0},
		{"nothing in a step", []any{nil}, connect.CodeInvalidArgument, 0},
		{"another version in the offer", []any{offer(func(o *sitev1.Offer) { o.Version = 7 })}, connect.CodeFailedPrecondition, 0},
		{"no key", []any{offer(func(o *sitev1.Offer) { o.Key = "" })}, 0, sitev1.Class_CLASS_PERMANENT},
		{"a key of a megabyte", []any{offer(func(o *sitev1.Offer) { o.Key = strings.Repeat("k", 1<<20) })}, 0, sitev1.Class_CLASS_PERMANENT},
		{"a key that breaks a line", []any{offer(func(o *sitev1.Offer) { o.Key = "a\r\nb" })}, 0, sitev1.Class_CLASS_PERMANENT},
		{"no envelope", []any{offer(func(o *sitev1.Offer) { o.Envelope = nil })}, 0, sitev1.Class_CLASS_PERMANENT},
		{"no recipients", []any{offer(func(o *sitev1.Offer) { o.Envelope.Recipients = nil })}, 0, sitev1.Class_CLASS_PERMANENT},
		{"too many recipients", []any{offer(func(o *sitev1.Offer) {
			for range maxRecipients {
				o.Envelope.Recipients = append(o.Envelope.Recipients, o.Envelope.Recipients[0])
			}
		})}, 0, sitev1.Class_CLASS_PERMANENT},
		{"an address that breaks a line", []any{offer(func(o *sitev1.Offer) { o.Envelope.Recipients[0].Address.Value = "A/B/C\r\nRCPT TO:<x@y>" })},
			0, sitev1.Class_CLASS_PERMANENT},
		{"an envelope beyond a frame", []any{offer(func(o *sitev1.Offer) {
			o.Envelope.Extra = map[string]string{"x": strings.Repeat("y", frameLimit)}
		})}, connect.CodeResourceExhausted, 0},
		{"content of another hash", []any{offer(func(o *sitev1.Offer) { o.Content[0]++ })}, 0, sitev1.Class_CLASS_TRANSIENT},
		{"content of another size", []any{offer(func(o *sitev1.Offer) { o.Size++ })}, 0, sitev1.Class_CLASS_TRANSIENT},
		{"too much content in the offer", []any{goodOffer(fresh(), large)}, 0, sitev1.Class_CLASS_TRANSIENT},
		{"a size beyond the spool", []any{offer(func(o *sitev1.Offer) { o.Size, o.Content = 1<<63, nil })}, 0, sitev1.Class_CLASS_POLICY},
		{"an empty chunk", []any{big(), &sitev1.Chunk{}}, connect.CodeInvalidArgument, 0},
		{"a second offer", []any{big(), big()}, connect.CodeInvalidArgument, 0},
		{"more content than offered", append(append([]any{big()}, chunks(len(large))...), &sitev1.Chunk{Data: []byte("more")}), connect.CodeInvalidArgument, 0},
		{"an end before the end", append(append([]any{big()}, chunks(64<<10)...), &sitev1.End{Sha256: sum[:]}), 0, sitev1.Class_CLASS_TRANSIENT},
		{"an end with another hash", append(append([]any{big()}, chunks(len(large))...), &sitev1.End{Sha256: make([]byte, 32)}), 0, sitev1.Class_CLASS_TRANSIENT},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(w.gw.Taken())
			got, err := converse(t, c, tt.steps...)
			if code := connect.CodeOf(err); tt.code != 0 && code != tt.code {
				t.Errorf("the call ended with %v (%v), want %v", code, err, tt.code)
			}
			if tt.refused != 0 && (len(got) == 0 || got[len(got)-1].GetRefused().GetClass() != tt.refused) {
				t.Errorf("answers %v (%v), want a refusal of class %v", got, err, tt.refused)
			}
			if n := len(w.gw.Taken()) - before; n != 0 {
				t.Errorf("%d messages were taken", n)
			}
			if got, err := converse(t, c, goodOffer(key("honest-%d", before), []byte("x"))); len(got) != 1 || got[0].GetTaken() == nil {
				t.Errorf("an honest transfer afterwards: %v, %v", got, err)
			}
		})
	}
}

func TestASlowCallerLosesItsCallAndKeepsItsPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.cfgB.Timeout = connectors.Duration(time.Second) })
	o := goodOffer("slow", nil)
	o.Size, o.Content = 1<<20, nil
	start := time.Now()
	_, err := converse(t, w.rawCaller(), o, &sitev1.Chunk{Data: make([]byte, 100<<10)})
	if err == nil {
		t.Error("the call ended well")
	}
	if d := time.Since(start); d < 900*time.Millisecond || d > 20*time.Second {
		t.Errorf("the caller was dropped after %v, want about 1 s", d)
	}
	connectortest.Until(t, "the part is kept", func() bool { _, n := w.parts(); return n == 100<<10 })
}

func TestACallerOfAnotherVersionOrNameIsTold(t *testing.T) {
	var log logBook
	w := newWorld(t, func(w *world) { w.log = log.logger() })
	c := w.rawCaller()
	for _, tt := range []struct {
		q    *sitev1.HelloRequest
		want string
	}{
		{&sitev1.HelloRequest{MinVersion: 2, MaxVersion: 3, Site: "SITEA"}, "update the older one"},
		{&sitev1.HelloRequest{MinVersion: 1, MaxVersion: 1, Site: "SITEX"}, `names itself site "SITEX"`},
	} {
		_, err := c.Hello(t.Context(), tt.q)
		if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Hello(%v) = %v, want failed precondition and %q", tt.q, err, tt.want)
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "certificate belongs") && tt.q.Site == "SITEX" {
			t.Errorf("not in the log:\n%s", log.String())
		}
	}
	if got, err := c.Hello(t.Context(), &sitev1.HelloRequest{MinVersion: 1, MaxVersion: 9, Site: "SITEA"}); err != nil || got.Version != protocol {
		t.Errorf("a newer caller that still speaks version 1: %v, %v", got, err)
	}
}

func TestServeEndsThoughACallerStallsInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	o := goodOffer("stalled", nil)
	o.Size, o.Content = 1<<20, nil
	st, err := w.rawCaller().Transfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []any{o, &sitev1.Chunk{Data: bytes.Repeat([]byte("x"), 5000)}} {
		if err := st.Send(step(s)); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := st.Receive(); err != nil || m.GetResume() == nil {
		t.Fatalf("answer %v, %v", m, err)
	}
	start := time.Now()
	w.stopServer()
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("Serve returned after %v", d)
	}
	if _, err := st.Receive(); err == nil {
		t.Error("the call went on")
	}
	st.CloseRequest()
	st.CloseResponse()
	if _, n := w.parts(); n != 5000 {
		t.Errorf("%d octets are kept, want 5000", n)
	}
}

func TestASlowCallerThatIsSteadyIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.cfgB.Timeout = connectors.Duration(time.Second) })
	content := connectortest.Octets(100<<10, 1)
	o := goodOffer("steady", content)
	o.Content, o.Sha256 = nil, nil
	st, err := w.rawCaller().Transfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(s any) {
		t.Helper()
		if err := st.Send(step(s)); err != nil {
			t.Fatal(err)
		}
	}
	send(o)
	if m, err := st.Receive(); err != nil || m.GetResume() == nil {
		t.Fatalf("answer %v, %v", m, err)
	}
	for part := range slices.Chunk(content, len(content)/5) {
		<-time.After(300 * time.Millisecond) // 1.5 s in all
		send(&sitev1.Chunk{Data: part})
	}
	sum := sha256.Sum256(content)
	send(&sitev1.End{Sha256: sum[:]})
	if m, err := st.Receive(); err != nil || m.GetTaken() == nil {
		t.Errorf("answer %v, %v", m, err)
	}
	if err := errors.Join(st.CloseRequest(), st.CloseResponse()); err != nil {
		t.Error(err)
	}
}
