package smtp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"backbone/gateway/address"
)

// command is a line that the library is working on.
type command struct {
	verb string
	path address.Mailbox // of MAIL or RCPT
	// orcpt is RCPT's ORCPT, "type;address" with the xtext of RFC 3461 4 undone: the library knows two types only.
	orcpt string
	size  int64 // of MAIL, 0 when it does not say
}

// command checks a line, answers what is not for the library, and returns what the library is to read: nil when it is
// answered.
func (g *gate) command(line []byte) []byte {
	g.cmd = command{}
	line = bytes.TrimRight(line, " ")
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return g.refuse("500 5.5.2 Control character in command")
		}
	}
	word, arg, _ := strings.Cut(string(line), " ")
	g.cmd.verb = strings.ToUpper(word)
	switch g.cmd.verb {
	case "EHLO", "HELO":
		return g.hello(arg)
	case "MAIL":
		return g.mail(arg)
	case "RCPT":
		return g.rcpt(arg)
	case "DATA":
		if !g.inMail {
			return g.refuse("503 5.5.1 Say MAIL first")
		}
		if g.buffered() {
			return g.unsynchronised()
		}
	case "AUTH":
		if !g.greeted {
			return g.refuse("503 5.5.1 Say EHLO first")
		}
		if g.inMail {
			return g.refuse("503 5.5.1 AUTH in a mail transaction") // RFC 4954 4
		}
		if g.buffered() {
			return g.unsynchronised()
		}
	case "STARTTLS":
		if arg != "" {
			return g.refuse("501 5.5.4 STARTTLS takes no argument")
		}
		g.startTLS()
		return nil
	case "BDAT":
		// Not offered; what follows are octets, not commands, and how many is the client's word.
		g.hangUp("502 5.5.1 CHUNKING is not offered")
		return nil
	case "RSET":
		g.inMail = false
		g.penalty++
	case "NOOP", "VRFY", "EXPN", "HELP":
		g.penalty++
	case "QUIT":
	default:
		return g.refuse("500 5.5.2 Command not recognized")
	}
	if !ascii(line) {
		return g.refuse("500 5.5.2 Command is not ASCII")
	}
	return crlf(string(line))
}

func (g *gate) hello(arg string) []byte {
	if g.buffered() {
		return g.unsynchronised()
	}
	arg = strings.TrimRight(arg, " ")
	if arg == "" || len(arg) > 255 || strings.ContainsAny(arg, " <>") || !ascii([]byte(arg)) {
		return g.refuse("501 5.5.4 " + g.cmd.verb + " needs your host name")
	}
	g.greeted, g.esmtp, g.helo, g.inMail = true, g.cmd.verb == "EHLO", arg, false
	g.penalty++
	return crlf(g.cmd.verb + " " + arg)
}

// unsynchronised ends the session of a client that did not wait for a reply where it must (RFC 2920 3.1).
func (g *gate) unsynchronised() []byte {
	g.src.log.Info("client did not wait for a reply", "peer", g.RemoteAddr().String(), "command", g.cmd.verb)
	g.hangUp("554 5.5.0 Protocol error: you must wait for the reply to " + g.cmd.verb)
	return nil
}

// refuse answers a faulty command in the library's stead.
func (g *gate) refuse(reply string) []byte {
	g.say(reply)
	g.penalty += 5
	return nil
}

// mail checks MAIL FROM:<path> parameters. The library gets the parameters that it understands with a path that can't
// be misread; the session takes the true one from g.cmd.
func (g *gate) mail(arg string) []byte {
	if !g.greeted {
		return g.refuse("503 5.5.1 Say EHLO first")
	}
	if g.inMail {
		return g.refuse("503 5.5.1 Nested MAIL command") // the library would keep the first one's recipients
	}
	mb, params, err := parsePathArg(arg, "FROM:")
	if err != nil {
		return g.refuse("501 5.1.7 " + err.Error())
	}
	g.cmd.path = mb
	out := "MAIL FROM:<originator@stand-in.invalid>"
	if mb == (address.Mailbox{}) {
		out = "MAIL FROM:<>"
	}
	utf8 := false
	for _, p := range params {
		switch p.name {
		case "SIZE":
			n, err := strconv.ParseInt(p.value, 10, 64)
			if err != nil || n < 0 {
				return g.refuse("501 5.5.4 SIZE is not a number")
			}
			if limit := g.src.cfg.MaxSize; limit > 0 && n > limit {
				return g.refuse(fmt.Sprintf("552 5.3.4 Message too large: at most %d octets are taken", limit))
			}
			g.cmd.size = n
			continue
		case "SMTPUTF8":
			utf8 = true
		case "BODY", "RET", "ENVID", "AUTH":
			if strings.Contains(p.value, "=") {
				return g.refuse("501 5.5.4 Malformed parameter " + p.name)
			}
		default:
			return g.refuse("555 5.5.4 Unknown parameter of MAIL")
		}
		out += " " + p.String()
	}
	if len(params) > 0 && !g.esmtp {
		return g.refuse("555 5.5.4 Parameters need EHLO")
	}
	if mb.UTF8() && !utf8 {
		return g.refuse("553 5.6.7 Address needs SMTPUTF8")
	}
	return crlf(out)
}

// rcpt checks RCPT TO:<path> parameters.
func (g *gate) rcpt(arg string) []byte {
	if !g.inMail {
		return g.refuse("503 5.5.1 Say MAIL first")
	}
	mb, params, err := parsePathArg(arg, "TO:")
	if err != nil {
		return g.refuse("501 5.1.3 " + err.Error())
	}
	if mb == (address.Mailbox{}) {
		return g.refuse("501 5.1.3 A recipient can't be null")
	}
	if mb.Domain == "" { // RFC 5321 4.5.1
		mb.Domain = g.src.domain
	}
	g.cmd.path = mb
	out := "RCPT TO:<recipient@stand-in.invalid>"
	for _, p := range params {
		switch p.name {
		case "NOTIFY":
			out += " " + p.String()
		case "ORCPT":
			if g.cmd.orcpt, err = parseORCPT(p.value); err != nil {
				return g.refuse("501 5.5.4 " + err.Error())
			}
		default:
			return g.refuse("555 5.5.4 Unknown parameter of RCPT")
		}
	}
	if len(params) > 0 && !g.esmtp {
		return g.refuse("555 5.5.4 Parameters need EHLO")
	}
	return crlf(out)
}

// rewrite appends a reply line of the library as the client is to read it, and notes what it means.
func (g *gate) rewrite(out, line []byte) []byte {
	if len(line) < 4 {
		return append(out, line...)
	}
	code, last := string(line[:3]), line[3] == ' '
	switch {
	case g.cmd.verb == "EHLO" || g.cmd.verb == "HELO":
		switch {
		case bytes.Contains(line, []byte("Hello ")): // RFC 5321 4.1.1.1: the server's own name comes first
			return fmt.Appendf(out, "%s%c%s greets %s\r\n", code, line[3], g.src.hostname, g.helo)
		case bytes.HasPrefix(line[4:], []byte("CHUNKING")):
			if g.src.certs == nil || g.tls != nil {
				return out
			}
			return append(out, "250-STARTTLS\r\n"...)
		}
	case code == "250" && last && g.cmd.verb == "MAIL":
		g.inMail = true
		return append(out, "250 2.1.0 Originator ok\r\n"...)
	case code == "250" && last && g.cmd.verb == "RCPT":
		return append(out, "250 2.1.5 Recipient ok\r\n"...)
	case code == "502" && g.cmd.verb == "DATA": // the library's word for no recipients
		line = []byte("503 5.5.1 No valid recipients\r\n")
	case code == "354":
		g.mode, g.inMail = modeBody, false // whatever becomes of the message, the transaction ends with it
	case code == "334":
		g.mode = modeAuth
	}
	if last && (code[0] == '4' || code[0] == '5') {
		switch {
		case g.cmd.verb == "RCPT":
			g.penalty++
		case code == "535":
			g.penalty += 50
		default:
			g.penalty += 5
		}
	}
	if last && code == "250" && g.cmd.verb == "DATA" {
		g.penalty = 0
	}
	return append(out, line...)
}

func crlf(line string) []byte { return append([]byte(line), "\r\n"...) }

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
