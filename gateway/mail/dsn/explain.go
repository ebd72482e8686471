package dsn

import "strings"

// Explain says in plain words why a recipient's status is what it is, and what the originator can do about it. The
// wording follows the reports that Exchange wrote (KB Q157630, Q158399, Q169117); advice is "" for a success.
func Explain(r Recipient) (reason, advice string) {
	switch r.Action {
	case Delivered:
		return "The message was delivered.", ""
	case Relayed:
		return "The message was handed on to a system that gives no delivery reports (MS Mail has none).", ""
	case Expanded:
		return "The message was delivered to a distribution list and sent on to its members.", ""
	}
	e := lookup(r)
	return e.reason, e.advice
}

type explanation struct{ status, reason, advice string }

// explanations are found by the enhanced status code without its class: the detail first, then its subject.
var explanations = []explanation{
	{"1.1", "The e-mail address could not be found at the recipient's system.", "Check the address, or pick the name from the address list, and send the message again."},
	{"1.2", "The recipient's system does not exist or is not known here.", "Check the part of the address that names the system, and send the message again."},
	{"1.4", "More than one recipient has this e-mail address.", "Tell your administrator: the directory lists the address twice."},
	{"1.6", "The recipient has moved and left no new address.", "Ask the recipient for the new address."},
	{"1", "There is something wrong with the recipient's address.", "Check the address and send the message again."},
	{"2.1", "The recipient's mailbox is disabled and takes no messages.", "Ask the recipient by other means."},
	{"2.2", "The recipient's mailbox is full.", "Ask the recipient to remove messages, and send yours again later."},
	{"2.3", "The message is larger than the recipient may receive.", "Make the message smaller, or send its attachments one by one."},
	{"2", "The recipient's mailbox could not take the message.", "Send the message again later, or ask the recipient by other means."},
	{"3.4", "The message is larger than a system on the way accepts.", "Make the message smaller, or send its attachments one by one."},
	{"3", "A system on the way could not take the message.", "Send the message again later; tell your administrator if it happens again."},
	{"4.1", "The next system could not be reached: congestion in the message transfer service.", "Send the message again later; tell your administrator if it happens again."},
	{"4.3", "The directory that knows the way could not be asked.", "Send the message again later."},
	{"4.4", "No way to the recipient's system is known here.", "Check the address; if it is right, ask your administrator to set up a route."},
	{"4.6", "The message was going round in a circle between systems, or passed more systems than is allowed.", "Tell your administrator: the routing of the recipient's system needs repair."},
	{"4.7", "The message could not be delivered in the time allowed.", "Send the message again if it still matters."},
	{"4", "The network could not carry the message.", "Send the message again later; tell your administrator if it happens again."},
	{"5.3", "The message has more recipients than a system on the way accepts.", "Send the message to fewer recipients at a time."},
	{"5", "Two systems on the way did not understand each other.", "Tell your administrator."},
	{"6", "The content of the message could not be converted for the recipient's system.", "Send the message again in a simpler form, as plain text or without its attachments."},
	{"7.1", "You are not allowed to send to this recipient.", "Ask the recipient or your administrator for permission."},
	{"7", "A security rule on the way refused the message.", "Ask your administrator."},
}

func lookup(r Recipient) explanation {
	_, detail, _ := strings.Cut(r.Status, ".")
	subject, _, _ := strings.Cut(detail, ".")
	for _, e := range explanations {
		if e.status == detail || e.status == subject {
			return e
		}
	}
	if r.X400 != nil && r.Status == "" {
		for _, x := range x400Status {
			if x.x400 == *r.X400 || x.x400.Diagnostic == r.X400.Diagnostic && r.X400.Diagnostic > 0 {
				return lookup(Recipient{Status: x.status})
			}
		}
	}
	if r.Action == Delayed {
		return explanation{"", "The message could not be delivered yet.", ""}
	}
	return explanation{"", "The message could not be delivered.", "Send the message again, or ask your administrator."}
}

// x400Status gives the enhanced status for X.411's numbers where a report has only those (msmail.md's table is the
// gateway's own; KB Q174175 the numbers).
var x400Status = []struct {
	x400   X400
	status string
}{
	{X400{1, 0}, "5.1.1"}, {X400{1, 1}, "5.1.4"}, {X400{1, 2}, "5.4.1"}, {X400{1, 3}, "5.4.6"}, {X400{1, 4}, "5.2.0"},
	{X400{1, 5}, "5.4.7"}, {X400{1, 7}, "5.3.4"}, {X400{1, 13}, "5.3.4"}, {X400{1, 16}, "5.5.3"}, {X400{2, 8}, "5.6.0"},
	{X400{2, 12}, "5.6.0"}, {X400{5, -1}, "5.7.1"},
}
