package smtp

import (
	"fmt"
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
