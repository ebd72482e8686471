package translate

import (
	"strings"

	"backbone/gateway/mail"
)

// PRIORITY values (KB Q118787, Q104280: 1 to 5 and R, C, F, T are MS Mail's own, any other digit or letter is free).
// Which of 1 to 5 is high is not public: GET's "equal to or higher" filter makes it 5. R stands for a registered message,
// a request for a receipt (KB Q168771 with Q159162); F for an automatic file transfer (KB Q103801).
const (
	lowest     = "1"
	ordinary   = "3"
	highest    = "5"
	registered = "R"
)

// priorityIn is what a letter means to the other worlds. A letter that means nothing to them travels as it is.
func priorityIn(letter string) (p mail.Priority, importance string, receipt bool) {
	switch strings.ToUpper(letter) {
	case "1":
		return mail.NonUrgent, "low", false
	case "2", "3":
		return mail.Normal, "normal", false
	case "4", "5":
		return mail.Urgent, "high", false
	case registered:
		return mail.Normal, "", true
	}
	return mail.Normal, "", false
}

// plainPriority tells the letters that priorityOut gives back without being told the original.
func plainPriority(letter string) bool {
	switch letter {
	case "", lowest, ordinary, highest, registered:
		return true
	}
	return false
}

// priorityOut is the letter for a message: the one that it had when that still says the same, else by importance, and by
// the envelope when the header says nothing (KB Q166587: urgency drives queues, importance is for people). lost names
// what the one letter can't say.
func priorityOut(original, importance string, p mail.Priority, receipt bool) (letter, lost string) {
	if validPriority(original) {
		_, oi, or := priorityIn(original)
		if oi == importance && or == receipt {
			return original, ""
		}
	}
	switch {
	case importance == "high", importance == "" && p > 0:
		letter = highest
	case importance == "low", importance == "" && p < 0:
		letter = lowest
	case importance == "normal":
		letter = ordinary
	}
	if receipt {
		if letter == "" || letter == ordinary {
			return registered, ""
		}
		lost = "the request for a receipt: PRIORITY has one letter, and importance took it"
	}
	return letter, lost
}

// validPriority tells what PRIORITY may hold: one letter or digit.
func validPriority(s string) bool {
	return len(s) == 1 && (s[0] >= '0' && s[0] <= '9' || s[0] >= 'A' && s[0] <= 'Z' || s[0] >= 'a' && s[0] <= 'z')
}

// importance reads what a message says of itself in any of the fields in use: Importance (RFC 2156), X-Priority, Priority,
// X-MSMail-Priority as Outlook writes it. "" says nothing.
func importance(fields ...string) string {
	for _, f := range fields {
		word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(f)), " ")
		switch word {
		case "high", "urgent", "1", "2":
			return "high"
		case "low", "non-urgent", "4", "5":
			return "low"
		case "normal", "3":
			return "normal"
		}
	}
	return ""
}
