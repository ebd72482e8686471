package site

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"backbone/connectors/site/sitev1"
	"backbone/gateway/mail"

	"connectrpc.com/connect"
)

var classes = map[mail.Class]sitev1.Class{
	mail.Transient: sitev1.Class_CLASS_TRANSIENT, mail.Permanent: sitev1.Class_CLASS_PERMANENT,
	mail.Policy: sitev1.Class_CLASS_POLICY, mail.Local: sitev1.Class_CLASS_LOCAL,
}

var scopes = map[mail.Scope]sitev1.Scope{
	mail.ScopeRecipient: sitev1.Scope_SCOPE_RECIPIENT, mail.ScopeMessage: sitev1.Scope_SCOPE_MESSAGE,
	mail.ScopeLink: sitev1.Scope_SCOPE_LINK,
}

// packFailure is the refusal that the peer is told. The cause stays here: it may name our paths.
func packFailure(f *mail.Failure) *sitev1.Failure {
	text := f.Text
	if text == "" {
		text = "refused"
	}
	return &sitev1.Failure{Class: classes[f.Class], Scope: scopes[f.Scope], Code: uint32(f.Code), Enhanced: clean(f.Enhanced),
		Reason: int32(f.Reason), Diagnostic: int32(f.Diagnostic), Msmail: uint32(f.MSMail), Text: clean(text),
		RetryAfter: uint32(min(f.RetryAfter, maxRetryAfter) / time.Second)}
}

// enhanced is RFC 3463's form of a failure.
var enhanced = regexp.MustCompile(`^[45]\.[0-9]{1,3}\.[0-9]{1,3}$`)

// maxRetryAfter is the longest that a peer may ask us to stay away.
const maxRetryAfter = 24 * time.Hour

// unpackFailure is the peer's refusal as ours. A fault of its own is transient to us, and so is a class that we don't
// know; codes that contradict the class give way to it.
func unpackFailure(site string, w *sitev1.Failure) *mail.Failure {
	f := &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: int(w.Code), Enhanced: clean(w.Enhanced), Reason: int(w.Reason),
		Diagnostic: int(w.Diagnostic), MSMail: int(w.Msmail), Text: clean(w.Text),
		RetryAfter: min(time.Duration(w.RetryAfter)*time.Second, maxRetryAfter)}
	switch w.Class {
	case sitev1.Class_CLASS_PERMANENT:
		f.Class = mail.Permanent
	case sitev1.Class_CLASS_POLICY:
		f.Class = mail.Policy
	}
	switch w.Scope {
	case sitev1.Scope_SCOPE_RECIPIENT:
		f.Scope = mail.ScopeRecipient
	case sitev1.Scope_SCOPE_LINK:
		f.Scope = mail.ScopeLink
	}
	first := "4"
	if f.Final() {
		first = "5"
	}
	if f.Code < 400 || f.Code > 599 || fmt.Sprint(f.Code)[:1] != first {
		f.Code = map[string]int{"4": 451, "5": 554}[first]
	}
	if !enhanced.MatchString(f.Enhanced) || f.Enhanced[:1] != first {
		f.Enhanced = first + ".3.0"
	}
	if f.Reason < 0 || f.Reason > 6 || f.Diagnostic < -1 || f.Diagnostic > 255 || f.MSMail > 999 {
		f.Reason, f.Diagnostic, f.MSMail = 1, -1, 1
	}
	if f.Text == "" {
		f.Text = "refused by site " + site
	}
	f.Peer = fmt.Sprintf("site %s: %d %s %s", site, f.Code, f.Enhanced, f.Text)
	return f
}

// protocolFault is what we answer to a message that breaks the protocol: it will not get better by repeating it.
func protocolFault(text string) *mail.Failure {
	return &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeMessage, Code: 554, Enhanced: "5.5.4", Reason: 1, Diagnostic: 14, // X.411 protocol-violation
		MSMail: 29, Text: text}
}

// errSilent ends a call whose peer said nothing for the configured time.
var errSilent = errors.New("no answer in time")

// classify turns what ended a call into a failure, unless it is one already. What the peer's own code answered and that
// does not speak of the connection stays with the message; everything else is the link's.
func (l *Link) classify(ctx context.Context, err error) *mail.Failure {
	var f *mail.Failure
	if errors.As(err, &f) {
		return f
	}
	if ctx.Err() != nil {
		return &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.4.2", Reason: 1, Diagnostic: 2, MSMail: 5,
			Text: "the attempt was broken off", Cause: context.Cause(ctx)}
	}
	if text := l.trustFailure(err); text != "" {
		l.log.Error("site link is not trusted", "dest", l.cfg.PeerSite, "peer", l.cfg.Peer, "err", text)
		return mail.LinkDown(text, nil)
	}
	if errors.Is(err, errSilent) {
		return mail.LinkDown(fmt.Sprintf("site %s (%s) did not answer within %s", l.cfg.PeerSite, l.cfg.Peer, l.cfg.Timeout), nil)
	}
	if !connect.IsWireError(err) {
		return mail.LinkDown(fmt.Sprintf("no connection with site %s (%s)", l.cfg.PeerSite, l.cfg.Peer), err)
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeFailedPrecondition, connect.CodeUnimplemented:
		text := fmt.Sprintf("site %s (%s) refuses the link: %s", l.cfg.PeerSite, l.cfg.Peer, clean(messageOf(err)))
		if connect.CodeOf(err) != connect.CodeUnavailable { // which is a peer that shuts down
			l.log.Error("site link is refused", "dest", l.cfg.PeerSite, "peer", l.cfg.Peer, "err", text)
		}
		return mail.LinkDown(text, nil)
	}
	return &mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.5.0", Reason: 1, Diagnostic: 14, MSMail: 5,
		Text: fmt.Sprintf("site %s could not deal with the message", l.cfg.PeerSite), Peer: clean(messageOf(err)), Cause: err}
}

func messageOf(err error) string {
	var e *connect.Error
	if errors.As(err, &e) {
		return e.Message()
	}
	return err.Error()
}
