package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"backbone/gateway/mail"
)

// reply is a peer's answer, its lines joined by blanks.
type reply struct {
	code     int
	enhanced string // RFC 3463, "" when it has none
	text     string // without codes
	lines    []string
}

const (
	maxReplyLine  = 2000 // RFC 5321 4.5.3.1.5 says 512
	maxReplyLines = 200
)

var errNotSMTP = errors.New("the peer does not speak SMTP")

// readReply reads one reply of any number of lines (RFC 5321 4.2.1). keep also gives the single lines.
func readReply(r *bufio.Reader, keep bool) (reply, error) {
	var rep reply
	for n := 0; n < maxReplyLines; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || err == nil && len(line) > maxReplyLine {
			return rep, fmt.Errorf("%w: reply line of more than %d octets", errNotSMTP, maxReplyLine)
		}
		if err != nil {
			return rep, err
		}
		s := strings.TrimRight(string(line), "\r\n")
		code, text, more, ok := cutReply(s)
		if !ok || rep.code != 0 && code != rep.code {
			return rep, fmt.Errorf("%w: reply %q", errNotSMTP, cut(visible(s), 80))
		}
		rep.code = code
		if keep {
			rep.lines = append(rep.lines, text)
		}
		rep.add(text)
		if !more {
			return rep, nil
		}
	}
	return rep, fmt.Errorf("%w: reply of more than %d lines", errNotSMTP, maxReplyLines)
}

// cutReply splits "250-text".
func cutReply(s string) (code int, text string, more, ok bool) {
	if len(s) < 3 {
		return 0, "", false, false
	}
	code, err := strconv.Atoi(s[:3])
	if err != nil || code < 200 || code > 599 {
		return 0, "", false, false
	}
	if len(s) == 3 {
		return code, "", false, true
	}
	return code, s[4:], s[3] == '-', s[3] == '-' || s[3] == ' '
}

// add takes one line's text; the enhanced code, repeated on each line (RFC 2034 4), is kept once.
func (r *reply) add(text string) {
	if first, rest, _ := strings.Cut(text, " "); parseEnhanced(first)[0] == r.code/100 && r.code/100 != 3 {
		r.enhanced, text = first, rest
	}
	text = visible(text)
	if r.text == "" {
		r.text = text
	} else if len(r.text) < 500 && text != "" {
		r.text += " " + text
	}
	r.text = cut(r.text, 500)
}

// String is the peer's own words on one line.
func (r reply) String() string {
	s := strconv.Itoa(r.code)
	if r.enhanced != "" {
		s += " " + r.enhanced
	}
	if r.text != "" {
		s += " " + r.text
	}
	return s
}

// stage is what a reply answers.
type stage uint8

const (
	stageConnect stage = iota // greeting, EHLO, STARTTLS, AUTH: nothing about the message was said
	stageMail
	stageRcpt
	stageData // DATA and the final dot
)

// failure classifies a refusal. host names the peer, for the originator.
func (r reply) failure(st stage, host string) *mail.Failure {
	f := &mail.Failure{Class: mail.Transient, Code: r.code, Enhanced: r.enhanced, Peer: r.String(), Text: host + " said: " + r.String()}
	if r.code/100 == 5 {
		f.Class = mail.Permanent
	}
	switch st {
	case stageRcpt:
		f.Scope = mail.ScopeRecipient
	case stageConnect:
		f.Scope = mail.ScopeLink
	default:
		f.Scope = mail.ScopeMessage
	}
	if f.Enhanced == "" {
		f.Enhanced = defaultEnhanced(r.code, st)
	}
	row := meaning(f.Enhanced)
	f.Reason, f.Diagnostic, f.MSMail = row.reason, row.diagnostic, row.msmail
	if f.Class == mail.Permanent && row.policy {
		f.Class = mail.Policy
	}
	switch {
	case r.code == 421, st == stageConnect, st == stageMail && (r.code == 530 || r.code == 538):
		// A peer that is closing, refuses to talk, or wants TLS or a password first says nothing about this message: it
		// is for an operator to mend, and mail must not be returned for it.
		f.Class, f.Scope = mail.Transient, mail.ScopeLink
		f.Reason, f.Diagnostic, f.MSMail = 1, 2, 5
	}
	if f.Class == mail.Transient {
		if f.Code/100 != 4 {
			f.Code = 451
		}
		if f.Enhanced[0] != '4' {
			f.Enhanced = "4" + f.Enhanced[1:]
		}
	}
	return f
}

// defaultEnhanced stands in for the enhanced code that a reply lacks.
func defaultEnhanced(code int, st stage) string {
	class := strconv.Itoa(code / 100)
	detail := ".0.0"
	switch {
	case code == 421:
		detail = ".4.2"
	case code == 450 && st == stageRcpt:
		detail = ".2.0"
	case code == 452 && st == stageRcpt, code == 451:
		detail = ".3.0"
	case code == 452:
		detail = ".3.1"
	case code == 550 && st == stageRcpt:
		detail = ".1.1"
	case code == 551, code == 553:
		detail = ".1.3"
	case code == 552 && st == stageRcpt:
		detail = ".2.2"
	case code == 552:
		detail = ".3.4"
	case code == 554 && st == stageData:
		detail = ".6.0"
	case code >= 500 && code <= 504, code == 555:
		detail = ".5.0"
	case code == 530, code == 535, code == 538:
		detail = ".7.0"
	case code == 556:
		detail = ".1.10"
	}
	return class + detail
}

// codes are the X.411 reason and diagnostic (KB Q174175) and MS Mail's code for an enhanced code. policy marks refusals
// that a rule made: they are not tried another way.
type codes struct {
	reason, diagnostic, msmail int
	policy                     bool
}

// meanings is by subject and detail of RFC 3463 and its registry; the pairing is ours. A subject alone stands for the
// details that are not listed.
var meanings = map[string]codes{
	"1": {1, 0, 2, false}, "1.4": {1, 1, 30, false},
	"2": {1, 4, 1, false}, "2.2": {1, 4, 17, false}, "2.3": {1, 7, 9, true}, "2.4": {1, 30, 7, false},
	"3": {1, 2, 5, false}, "3.2": {1, 4, 5, false}, "3.3": {1, 18, 1, false}, "3.4": {1, 7, 9, true},
	"4": {1, 2, 5, false}, "4.4": {1, 0, 1, false}, "4.6": {1, 3, 3, false}, "4.7": {1, 5, 5, false},
	"5": {1, 14, 1, false}, "5.3": {1, 16, 1, true},
	"6": {2, 8, 29, false}, "6.1": {2, 15, 29, false}, "6.2": {2, 9, 29, false}, "6.7": {1, 11, 2, false},
	"7": {5, -1, 1, true},
}

func meaning(enhanced string) codes {
	_, rest, _ := strings.Cut(enhanced, ".")
	if row, ok := meanings[rest]; ok {
		return row
	}
	subject, _, _ := strings.Cut(rest, ".")
	if row, ok := meanings[subject]; ok {
		return row
	}
	return codes{1, -1, 1, false}
}

// without is the reply with nothing in it of what must not be repeated: a host may answer with what it was sent.
func (r reply) without(secrets []string) reply {
	var pairs []string
	for _, s := range secrets {
		if s != "" {
			pairs = append(pairs, s, "***")
		}
	}
	hide := strings.NewReplacer(pairs...)
	r.text = hide.Replace(r.text)
	r.lines = slices.Clone(r.lines)
	for i := range r.lines {
		r.lines[i] = hide.Replace(r.lines[i])
	}
	return r
}
