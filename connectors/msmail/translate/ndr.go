package translate

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail/dsn"
	"backbone/shadowpo"
)

// MS Mail's own reports: from POSTMASTER, subject "Mail failure"; the original's FROM, TO, DATE, TIME and SUBJECT, a dashed
// line, "[nnn] text", the recipients, the original text (KB Q147471, Q131852).
const subjectFailed = "Mail failure"

// codes are MS Mail's [nnn] with the status that says the same to others. Texts are ours after the conditions of the KB
// articles; the pairing is ours where mail.Failure does not fix it.
var codes = []struct {
	code   int
	status string
	text   string
}{
	{1, "5.4.4", "The message could not be delivered."},                           // Q264331
	{2, "5.1.1", "The message was addressed to unknown addresses."},               // Q127919
	{3, "5.4.6", "The message has passed more post offices than is allowed."},     // Q147471
	{4, "5.4.6", "The message was going round in a circle between post offices."}, // Q128627
	{5, "5.4.7", "The retry count was exceeded sending the message on."},          // Q119884
	{7, "5.1.1", "The group that the message was addressed to no longer exists."}, // Q117895
	{8, "5.2.2", "The mailbag could not be opened for a long time."},              // Q163020
	{9, "5.3.4", "The message exceeds the maximum size."},                         // Q131852
	{12, "5.6.0", "The message is corrupt."},                                      // Q121733
	{16, "5.3.0", "The message file is missing."},                                 // Q136004
	{17, "5.2.2", "The mailbag is full."},                                         // Q138054
	{18, "5.3.0", "An attachment of the message is missing."},                     //
	{21, "5.3.0", "The routing file of the message is missing."},                  // Q136379
	{23, "5.6.0", "The message file is corrupt."},                                 //
	{24, "5.3.0", "The routing file of the message is corrupt."},                  //
	{29, "5.6.0", "The message could not be parsed."},                             //
	{30, "5.1.4", "More than one recipient has this e-mail address."},             // Q165396
}

// codeFor is the [nnn] for a recipient: the one that came with the failure, or the first with its status.
func codeFor(r dsn.Recipient) int {
	if r.MSMail > 0 {
		return r.MSMail
	}
	_, want, _ := strings.Cut(r.Status, ".")
	for _, c := range codes {
		if _, got, _ := strings.Cut(c.status, "."); got == want {
			return c.code
		}
	}
	switch subject, _, _ := strings.Cut(want, "."); subject {
	case "1":
		return 2
	case "4":
		return 5
	case "6":
		return 29
	}
	return 1
}

func codeText(code int) string {
	for _, c := range codes {
		if c.code == code {
			return c.text
		}
	}
	return codes[0].text
}

var (
	codeLine = regexp.MustCompile(`^\[(\d{3})\] *(.*)`)
	// A recipient stands as "Display (NET/PO/MBX)" or bare.
	inBrackets = regexp.MustCompile(`^\s*(.*?)\s*\(([^()/\s]+/[^()/\s]+/[^()/\s]+)\)`)
	bare       = regexp.MustCompile(`^\s*([^()/\s]+/[^()/\s]+/[^()/\s]+)\s*$`)
)

// maxNDR is how much of a report's text is searched for its recipients.
const maxNDR = 64 << 10

// readNDR finds in a post office's report who did not get the message. Nil when the text names nobody: then it travels as
// a plain text. An error is the reader's.
func (in *inbound) readNDR() (*dsn.Report, error) {
	if in.m.Text == nil {
		return nil, nil
	}
	src, err := in.m.Text.Open()
	if err != nil {
		return nil, fmt.Errorf("open body: %w", err)
	}
	defer src.Close()
	b, err := io.ReadAll(io.LimitReader(src, maxNDR))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	text, _ := in.page.Decode(b)
	r := &dsn.Report{ReportingMTA: dsn.MTA{Type: "x-msmail", Name: in.po.Name.PostOffice().String()}, Arrival: in.env.Sent, About: in.side.Get(shadowpo.SideAbout)}
	r.Recipients = failedIn(text)
	if len(r.Recipients) == 0 {
		return nil, nil
	}
	return r, nil
}

// failedIn reads the recipients behind the [nnn] line. An empty line behind them ends the list, unless another [nnn]
// follows at once; so does any line that is no recipient: the original text comes next, which may hold anything.
func failedIn(text string) []dsn.Recipient {
	var out []dsn.Recipient
	code, reason, open := 0, "", false
	for line := range strings.SplitSeq(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n") {
		if m := codeLine.FindStringSubmatch(line); m != nil && (code == 0 || len(out) > 0) {
			code, _ = strconv.Atoi(m[1])
			reason, open = shown(m[2]), true
			continue
		}
		if strings.TrimSpace(line) == "" {
			open = len(out) == 0
			continue
		}
		if code == 0 {
			continue
		}
		r, ok := failedLine(line)
		switch {
		case ok && open:
			r.MSMail, r.Text, r.Status = code, reason, statusOf(code)
			out = append(out, r)
		case len(out) > 0:
			return out
		}
	}
	return out
}

// failedLine reads "Display (NET/PO/MBX)" or "NET/PO/MBX".
func failedLine(line string) (r dsn.Recipient, ok bool) {
	name, value := "", ""
	if m := inBrackets.FindStringSubmatch(line); m != nil {
		name, value = shown(m[1]), m[2]
	} else if m := bare.FindStringSubmatch(line); m != nil {
		value = m[1]
	}
	a, err := address.ParseMSMail(value)
	if err != nil {
		return r, false
	}
	final, err := a.Address()
	return dsn.Recipient{Final: final, Name: name, Action: dsn.Failed}, err == nil
}

func statusOf(code int) string {
	for _, c := range codes {
		if c.code == code {
			return c.status
		}
	}
	return "5.0.0"
}
