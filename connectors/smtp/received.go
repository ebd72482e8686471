package smtp

import (
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// receivedKey is the Envelope.Extra key that tells that the content's first Received field is ours already: its value is
// the host name in it.
const receivedKey = "smtp.received"

// received is the trace line of RFC 5321 4.4 for the message in hand.
func (s *session) received(now time.Time) []byte {
	b := make([]byte, 0, 512)
	b = append(b, "Received: from "...)
	b = append(b, heloDomain(s.g.helo)...)
	if a := s.who.addr; a.Is4() {
		b = fmt.Appendf(b, " ([%s])", a)
	} else if a.IsValid() {
		b = fmt.Appendf(b, " ([IPv6:%s])", a)
	}
	b = fmt.Appendf(b, "\r\n\tby %s with %s", s.src.hostname, s.g.protocol(s.env.UTF8, s.who.user != ""))
	return appendReceivedDate(b, now)
}

// gatewayReceived is the trace line for a message that came from another world than SMTP (RFC 5321 3.7.2). The link is
// the word for what brought it: the connector's name is not a registered protocol, so it stands behind via.
func gatewayReceived(b []byte, env *mail.Envelope, hostname string) []byte {
	b = append(b, "Received: by "...)
	b = append(b, hostname...)
	if isToken(env.Source.Connector) && env.Source.Connector != "" {
		b = append(append(b, " via "...), env.Source.Connector...)
	}
	if validID(env.ID) {
		b = append(append(b, " id "...), env.ID...)
	}
	return appendReceivedDate(b, env.Arrived)
}

func appendReceivedDate(b []byte, t time.Time) []byte {
	b = append(b, ";\r\n\t"...)
	b = t.AppendFormat(b, time.RFC1123Z)
	return append(b, "\r\n"...)
}

// heloDomain is the client's name when it is one, for it is the client's word and goes into a header.
func heloDomain(helo string) string {
	if d, err := address.ParseDomain(helo); err == nil {
		return d
	}
	return "unknown"
}

// receivedHop reads who received the message (RFC 5321 4.4: by, and the date behind the last semicolon).
func receivedHop(v string) mail.Hop {
	hop := mail.Hop{Site: "unknown"}
	if i := strings.LastIndexByte(v, ';'); i >= 0 {
		hop.At = parseDate(v[i+1:])
		v = v[:i]
	}
	words := strings.Fields(v)
	if i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, "by") }); i >= 0 && i+1 < len(words) {
		if d, err := address.ParseDomain(words[i+1]); err == nil {
			hop.Site = d
			if !strings.Contains(d, ".") {
				hop.Site = "(" + d + ")" // never to be taken for the name of a site
			}
		}
	}
	return hop
}

// parseDate reads a date, zero when it can't. The form that nearly everybody writes is tried first: net/mail tries a
// dozen, and each that fails costs an error.
func parseDate(s string) time.Time {
	s = strings.TrimSpace(s)
	plain, _, _ := strings.Cut(s, " (")
	t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", plain)
	if err != nil {
		if t, err = netmail.ParseDate(s); err != nil {
			return time.Time{}
		}
	}
	return t.UTC()
}

// parseHop reads a line of our own trace.
func parseHop(v string) (mail.Hop, bool) {
	site, at, _ := strings.Cut(v, ";")
	site = strings.TrimSpace(site)
	if site == "" || len(site) > 64 || !isToken(site) {
		return mail.Hop{}, false
	}
	hop := mail.Hop{Site: site}
	if t, err := time.Parse(time.RFC3339, strings.TrimSpace(at)); err == nil {
		hop.At = t.UTC()
	}
	return hop, true
}

func formatHop(h mail.Hop) (string, bool) {
	if !isToken(h.Site) || h.Site == "" {
		return "", false
	}
	at := ""
	if !h.At.IsZero() {
		at = "; " + h.At.UTC().Format(time.RFC3339)
	}
	return fieldTrace + ": " + h.Site + at + "\r\n", true
}
