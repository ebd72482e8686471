package address

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MSMail is a Microsoft Mail address in its three elements, each 1 to 10 characters (KB Q116466, Q123398). An empty
// Mailbox is the post office itself.
//
// Network and postoffice are letters and digits (KB Q96003). A mailbox is letters, digits and, since post offices
// live in a code page, letters beyond ASCII (KB Q199676 forbids only ASCII punctuation, and 145-148, the curly
// quotes of the Windows page); the boxes $SYSTEM and *SPECIAL are the two exceptions. In memory all of it is UTF-8
// and counted in characters; whether a code page can hold a mailbox is the MMFF codec's question.
//
// Canonical text has a-z raised. A high letter keeps its case, because code pages lack capitals (437 has no À):
// Equal and Key do not tell the two apart.
type MSMail struct{ Net, PO, Mailbox string }

// maxElement is the 10 of 10/10/10.
const maxElement = 10

// ParseMSMail reads NET/PO/MBX.
func ParseMSMail(s string) (MSMail, error) {
	v, err := msMailText(s)
	if err != nil {
		return MSMail{}, err
	}
	return splitElements(v), nil
}

// ParsePostOffice reads NET/PO, the name of a post office. The result's Mailbox is empty.
func ParsePostOffice(s string) (MSMail, error) {
	p := splitElements(s)
	if strings.Count(s, "/") != 1 {
		return MSMail{}, bad(s, PartAddress, "is not NETWORK/POSTOFFICE")
	}
	for _, e := range []struct{ part, text string }{{PartNetwork, p.Net}, {PartPO, p.PO}} {
		if err := checkElement(s, e.part, e.text); err != nil {
			return MSMail{}, err
		}
	}
	return MSMail{Net: upperASCII(p.Net), PO: upperASCII(p.PO)}, nil
}

// String is NET/PO/MBX in canonical text, or NET/PO for a post office.
func (m MSMail) String() string {
	s := m.Net + "/" + m.PO
	if m.Mailbox != "" {
		s += "/" + m.Mailbox
	}
	return upperASCII(s)
}

// Address is the typed address. It fails when an element breaks the rules of ParseMSMail.
func (m MSMail) Address() (Address, error) {
	return parseTyped(MS, m.Net+"/"+m.PO+"/"+m.Mailbox)
}

// PostOffice is m without its mailbox.
func (m MSMail) PostOffice() MSMail { return MSMail{Net: m.Net, PO: m.PO} }

// System tells the boxes of directory synchronisation: $SYSTEM and, on further connectors of a site, SYSTEM1..n
// (KB Q150828, Q106623).
func (m MSMail) System() bool {
	name := upperASCII(m.Mailbox)
	n, ok := strings.CutPrefix(name, "SYSTEM")
	return name == "$SYSTEM" || ok && n != "" && allFunc(n, isDigit)
}

// Special tells *SPECIAL, the box of user-list exports. Mail for it must never be bounced (KB Q112879).
func (m MSMail) Special() bool { return equalASCII(m.Mailbox, "*SPECIAL") }

// Postmaster tells the originator of Microsoft Mail's non-delivery reports. A report to it would loop (KB Q175447).
func (m MSMail) Postmaster() bool { return equalASCII(m.Mailbox, "POSTMASTER") }

func splitElements(s string) (m MSMail) {
	m.Net, s, _ = strings.Cut(s, "/")
	m.PO, m.Mailbox, _ = strings.Cut(s, "/")
	return m
}

// msMailText checks s and gives its canonical text, s itself when it already is.
func msMailText(s string) (string, error) {
	if strings.Count(s, "/") != 2 {
		return "", bad(s, PartAddress, "is not NETWORK/POSTOFFICE/MAILBOX")
	}
	m := splitElements(s)
	if err := checkElement(s, PartNetwork, m.Net); err != nil {
		return "", err
	}
	if err := checkElement(s, PartPO, m.PO); err != nil {
		return "", err
	}
	if err := checkElement(s, PartMailbox, m.Mailbox); err != nil {
		return "", err
	}
	return upperASCII(s), nil
}

func checkElement(input, part, e string) error {
	switch {
	case e == "":
		return bad(input, part, "is empty")
	case utf8.RuneCountInString(e) > maxElement:
		return badf(input, part, "has more than %d characters", maxElement)
	case allFunc(e, isAlnum):
		return nil
	case part != PartMailbox:
		return bad(input, part, "has a character that is neither letter nor digit")
	case equalASCII(e, "$SYSTEM"), equalASCII(e, "*SPECIAL"):
		return nil
	}
	for _, r := range e {
		if r < utf8.RuneSelf && !isAlnum(byte(r)) || r >= utf8.RuneSelf && !unicode.IsLetter(r) || r == utf8.RuneError {
			return badf(input, part, "has the character %q, which no mailbox name may hold (KB Q199676)", r)
		}
	}
	return nil
}

// reservedNetworks are the names of gateways, which the Microsoft Mail Connector refuses as network names (KB Q175978).
var reservedNetworks = map[string]bool{
	"ATTMAIL": true, "COMPUSERVE": true, "DISOSS": true, "EASYLINK": true, "ENVOY": true, "FAX": true,
	"GTE": true, "MCI": true, "MHS": true, "MSMAIL": true, "OV": true, "PROFS": true,
	"SMTP": true, "SNADS": true, "SOURCE": true, "VMGATE": true, "X400": true, "*EMS": true,
}

// ReservedNetwork tells a name that no Microsoft Mail network may have (KB Q175978). It is for checking a
// configuration; an address with such a network still parses, since a gateway may answer to it.
func ReservedNetwork(name string) bool { return reservedNetworks[upperASCII(name)] }
