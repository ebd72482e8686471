package smtp

import (
	"strconv"
	"strings"

	"backbone/gateway/mail"

	"github.com/emersion/go-smtp"
)

// toSMTP is the reply for a failure, the one way in which errors reach go-smtp: it looks at the error's own type and
// answers 554 to any other, also to a wrapped one. What is transient or our own fault is 4xx, whatever code it carries.
func toSMTP(err error) error {
	if err == nil {
		return nil
	}
	f := mail.AsFailure(err)
	code, enhanced := f.Code, parseEnhanced(f.Enhanced)
	want := 4
	if f.Final() {
		want = 5
	}
	if code/100 != want {
		code = map[int]int{4: 451, 5: 554}[want]
	}
	if enhanced[0] != want {
		if enhanced[0] == 0 {
			enhanced = smtp.EnhancedCode{want, 3, 0}
			if want == 5 {
				enhanced[1] = 0
			}
		}
		enhanced[0] = want
	}
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: publicText(f)}
}

// sayFailure is the same for a session whose library no longer answers.
func (g *gate) sayFailure(f *mail.Failure) {
	e, ok := toSMTP(f).(*smtp.SMTPError)
	if ok {
		g.say(strconv.Itoa(e.Code) + " " + formatEnhanced(e.EnhancedCode) + " " + e.Message)
	}
}

// publicText never shows a cause: it may name files of ours.
func publicText(f *mail.Failure) string {
	switch {
	case f.Text != "":
		return replyText(f.Text)
	case f.Class == mail.Local:
		return "Local error in processing, try again later"
	case f.Final():
		return "Refused"
	}
	return "Try again later"
}

// replyText makes text fit for a reply line: one line of printable ASCII, at most 400 octets (RFC 5321 4.5.3.1.5).
func replyText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
	if len(s) > 400 {
		s = s[:400] + "..."
	}
	return s
}

// parseEnhanced reads RFC 3463's "5.1.1"; the zero code when it is none.
func parseEnhanced(s string) smtp.EnhancedCode {
	var c smtp.EnhancedCode
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return c
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 || n > 999 || len(p) > 3 {
			return smtp.EnhancedCode{}
		}
		c[i] = n
	}
	if c[0] != 2 && c[0] != 4 && c[0] != 5 {
		return smtp.EnhancedCode{}
	}
	return c
}

func formatEnhanced(c smtp.EnhancedCode) string {
	return strconv.Itoa(c[0]) + "." + strconv.Itoa(c[1]) + "." + strconv.Itoa(c[2])
}
