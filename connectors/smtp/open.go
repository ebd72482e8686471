package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"backbone/gateway/mail"

	"github.com/emersion/go-sasl"
)

// open connects to the first host of the next hop that lets itself be talked to.
func (c *Connector) open(ctx context.Context, hop string) (*conversation, *mail.Failure) {
	targets, f := c.targets(ctx, hop)
	if f != nil {
		return nil, f
	}
	targets, strict, f := c.allowed(ctx, hop, targets)
	if f != nil {
		return nil, f
	}
	tried := 0
	var last *mail.Failure
	for _, t := range targets {
		addrs, err := c.addresses(ctx, t)
		if err != nil {
			last = dnsDown(t.host, err)
			last.Text = "the address of " + t.host + " can't be found at present"
		}
		for _, a := range addrs {
			if tried++; tried > maxAddresses {
				return nil, last
			}
			v, f := c.call(ctx, t.host, a, strict)
			if f == nil {
				return v, nil
			}
			last = f
			if ctx.Err() != nil {
				return nil, cancelled(ctx)
			}
		}
	}
	return nil, last
}

// call opens a session at one address. When TLS is opportunistic and fails, it calls again without. strict is for a host that must prove
// its name, whatever the configuration says.
func (c *Connector) call(ctx context.Context, host, addr string, strict bool) (*conversation, *mail.Failure) {
	v, f := c.callOnce(ctx, host, addr, c.cfg.TLS != "off", strict)
	if f != nil && c.cfg.TLS == "opportunistic" && !strict && errors.Is(f, errTLS) && ctx.Err() == nil {
		c.log.Info("TLS failed, going on in the clear", "dest", host, "err", f)
		v, f = c.callOnce(ctx, host, addr, false, false)
	}
	return v, f
}

var errTLS = errors.New("TLS handshake failed")

func (c *Connector) callOnce(ctx context.Context, host, addr string, useTLS, strict bool) (*conversation, *mail.Failure) {
	d := net.Dialer{Timeout: c.cfg.ConnectTimeout.D()}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, linkFailure(host, "can't be reached", err)
	}
	v := &conversation{c: c, host: host, strict: strict, raw: raw, wire: raw, r: bufio.NewReader(raw)}
	defer context.AfterFunc(ctx, v.cut)()
	if f := v.begin(useTLS, hostOf(raw.RemoteAddr())); f != nil {
		v.cut()
		return nil, f
	}
	return v, nil
}

// begin goes through greeting, EHLO, STARTTLS and AUTH.
func (v *conversation) begin(useTLS bool, ip netip.Addr) *mail.Failure {
	rep, err := v.read(v.c.cfg.ReplyTimeout.D())
	if err != nil {
		return linkFailure(v.host, "gave no greeting", err)
	}
	if rep.code != 220 {
		return rep.failure(stageConnect, v.host)
	}
	if f := v.hello(); f != nil {
		return f
	}
	if _, offered := v.ext["STARTTLS"]; useTLS && offered {
		if f := v.startTLS(); f != nil {
			return f
		}
	}
	if p := v.c.cfg.TLS; !v.tls && (v.strict || p == "required" || p == "verify") {
		f := linkFailure(v.host, "does not offer STARTTLS, which the configuration or the domain's MTA-STS policy requires", nil)
		f.Enhanced = "4.7.4"
		return f
	}
	if v.c.cfg.User != "" {
		return v.authenticate(ip)
	}
	return nil
}

// hello says EHLO, or HELO to who does not know it.
func (v *conversation) hello() *mail.Failure {
	v.ext = nil
	rep, err := v.ask("EHLO " + v.c.hostname)
	if err == nil && rep.code/100 == 5 {
		rep, err = v.ask("HELO " + v.c.hostname)
	} else if err == nil && rep.code == 250 {
		v.ext = extensions(rep.lines)
	}
	switch {
	case err != nil:
		return linkFailure(v.host, "broke off at EHLO", err)
	case rep.code != 250:
		return rep.failure(stageConnect, v.host)
	}
	return nil
}

// extensions reads the lines of EHLO's reply behind the first.
func extensions(lines []string) map[string]string {
	ext := map[string]string{}
	for i, l := range lines {
		if word, params, _ := strings.Cut(strings.TrimSpace(l), " "); i > 0 && word != "" {
			ext[strings.ToUpper(word)] = params
		}
	}
	return ext
}

// startTLS puts TLS on. A peer that offers STARTTLS and then refuses it is talked to in the clear when the policy lets us.
func (v *conversation) startTLS() *mail.Failure {
	rep, err := v.ask("STARTTLS")
	switch {
	case err != nil:
		return linkFailure(v.host, "broke off at STARTTLS", err)
	case rep.code != 220 && v.c.cfg.TLS == "opportunistic" && !v.strict:
		return nil
	case rep.code != 220:
		return rep.failure(stageConnect, v.host)
	case v.r.Buffered() > 0: // what came in the clear must not count as said over TLS
		return linkFailure(v.host, "sent something behind its reply to STARTTLS", errTLS)
	}
	t := tls.Client(v.raw, v.c.forHost(v.host, v.strict))
	if err = t.SetDeadline(time.Now().Add(v.c.cfg.ConnectTimeout.D())); err == nil {
		err = t.Handshake()
	}
	if err != nil {
		f := linkFailure(v.host, "TLS handshake failed", fmt.Errorf("%w: %w", errTLS, err))
		f.Enhanced = "4.7.5"
		return f
	}
	v.wire, v.tls = t, true
	v.r.Reset(t)
	return v.hello()
}

// authenticate says who we are. The password goes over TLS, or to this machine.
func (v *conversation) authenticate(ip netip.Addr) *mail.Failure {
	fail := func(text string, err error) *mail.Failure {
		f := linkFailure(v.host, text, err)
		f.Enhanced = "4.7.8"
		return f
	}
	if !v.tls && !ip.IsLoopback() {
		return fail("does not offer TLS, and the password does not go in the clear", nil)
	}
	offered := strings.Fields(strings.ToUpper(v.ext["AUTH"]))
	var mech sasl.Client
	for _, m := range offered {
		switch {
		case m == sasl.Plain:
			mech = sasl.NewPlainClient("", v.c.cfg.User, v.c.password)
		case m == sasl.Login && mech == nil:
			mech = &loginClient{name: v.c.cfg.User, password: v.c.password}
		}
	}
	if mech == nil {
		return fail("offers neither AUTH PLAIN nor LOGIN", nil)
	}
	name, response, err := mech.Start()
	if err != nil {
		return fail("AUTH failed", err)
	}
	line := "AUTH " + name
	if response != nil {
		line += " " + b64(response)
	}
	said := []string{v.c.password, b64([]byte(v.c.password)), b64(response)}
	for {
		rep, err := v.ask(line)
		if rep.code != 334 { // a challenge is read as it came
			rep = rep.without(said)
		}
		switch {
		case errors.Is(err, errNotSMTP):
			return linkFailure(v.host, "broke off at AUTH", errNotSMTP) // without its words: they may be ours
		case err != nil:
			return linkFailure(v.host, "broke off at AUTH", err)
		case rep.code == 235:
			return nil
		case rep.code != 334:
			f := rep.failure(stageConnect, v.host)
			f.Text = v.host + " refused our password: " + rep.String()
			return f
		}
		challenge, err := unb64(rep.text)
		if err == nil {
			response, err = mech.Next(challenge)
		}
		if err != nil {
			return fail("AUTH failed", err)
		}
		line = b64(response)
		said = append(said, line)
	}
}

// linkFailure is for a peer that can't be talked to.
func linkFailure(host, text string, err error) *mail.Failure {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.New("timed out")
	}
	f := mail.LinkDown(host+" "+text, err)
	var op *net.OpError
	if errors.As(err, &op) && errors.Is(op.Err, os.ErrDeadlineExceeded) {
		f.Enhanced = "4.4.2"
	}
	return f
}
