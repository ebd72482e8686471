package translate

import (
	"strings"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo"
)

// Keys of the side file that are translation's own, beside shadowpo's.
const (
	sideTo      = "to"       // an address in the original's To, also when it is another post office's
	sideReplyTo = "reply-to" // FROM can't say it
)

// Values of shadowpo.SideType.
const (
	sideNDR   = "ndr"
	sideDelay = "delay"
	sideDR    = "dr"
	sideRN    = "rn"
)

// maxTrace bounds the hops that a side file is believed; 512 went round once (KB Q160534).
const maxTrace = 64

// hops reads the trace. A hop is a site's name, and the time when it had the message.
func hops(s shadowpo.Side) []mail.Hop {
	var out []mail.Hop
	for _, v := range s.All(shadowpo.SideHop) {
		site, at, _ := strings.Cut(shown(v), " ")
		if site == "" || len(out) == maxTrace {
			continue
		}
		h := mail.Hop{Site: site}
		if t, err := time.Parse(time.RFC3339, at); err == nil {
			h.At = t
		}
		out = append(out, h)
	}
	return out
}

func addHops(s *shadowpo.Side, hops []mail.Hop) {
	for _, h := range hops {
		v := strings.ReplaceAll(shown(h.Site), " ", "_")
		if !h.At.IsZero() {
			v += " " + h.At.UTC().Format(time.RFC3339)
		}
		s.Add(shadowpo.SideHop, v)
	}
}

// sideAddresses reads the addresses under a key; what is none is passed over.
func sideAddresses(s shadowpo.Side, key string) []address.Address {
	var out []address.Address
	for _, v := range s.All(key) {
		if a, err := address.Parse(v); err == nil {
			out = append(out, a)
		}
	}
	return out
}
