package dsn

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"

	"backbone/gateway/mail"
)

// Describe reads from a message's header what a report tells of it.
func Describe(original mail.Content) (Original, error) {
	src, err := original.Open()
	if err != nil {
		return Original{}, fmt.Errorf("dsn: open original: %w", err)
	}
	defer src.Close()
	h, err := readHeader(src)
	if err != nil {
		return Original{}, fmt.Errorf("dsn: read original: %w", err)
	}
	return describe(h), nil
}

// describe is as tolerant as can be: the header is a stranger's.
func describe(header []byte) Original {
	var o Original
	block, _ := readBlock(bufio.NewReader(bytes.NewReader(header)))
	for _, f := range block {
		switch f.name {
		case "message-id":
			o.MessageID = strings.Trim(clean(f.value), "<>")
		case "subject":
			o.Subject = decodeText(f.value)
		case "from":
			o.From = decodeText(f.value)
		case "date":
			o.Sent = parseTime(f.value)
		}
	}
	return o
}

// readHeader reads up to the empty line, at most MaxHeader octets, cut at a line's end.
func readHeader(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxHeader))
	if err != nil {
		return nil, err
	}
	if end := bytes.Index(b, []byte("\r\n\r\n")); end >= 0 {
		return b[:end+2], nil
	}
	return b[:bytes.LastIndexByte(b, '\n')+1], nil
}

// boundaryFor finds a boundary that does not occur in the part of src that the report returns, tells whether that part
// has octets above 127, and leaves src at its beginning. It reads src once for each candidate; a second candidate is
// needed only when someone guessed the first.
func boundaryFor(src io.ReadSeeker, full bool, id string) (boundary string, eightBit bool, err error) {
	for n := range 4 {
		boundary = fmt.Sprintf("=_%x", sha256.Sum256(fmt.Appendf(nil, "%d %s", n, id)))[:42]
		if src == nil || !full {
			return boundary, false, nil // the header goes out quoted-printable, where "=_" can't stand
		}
		found, eight, err := scan(src, "--"+boundary)
		if err != nil {
			return "", false, fmt.Errorf("dsn: read original: %w", err)
		}
		if _, err := src.Seek(0, io.SeekStart); err != nil {
			return "", false, fmt.Errorf("dsn: rewind original: %w", err)
		}
		if !found {
			return boundary, eight, nil
		}
	}
	return "", false, errors.New("dsn: the original contains every boundary that was tried")
}

// scan reads r to its end, looking for a string and for octets above 127.
func scan(r io.Reader, s string) (found, eightBit bool, err error) {
	buf := make([]byte, 32<<10)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		for _, c := range buf[kept : kept+n] {
			eightBit = eightBit || c > 127
		}
		found = found || bytes.Contains(buf[:kept+n], []byte(s))
		if err == io.EOF {
			return found, eightBit, nil
		}
		if err != nil {
			return found, eightBit, err
		}
		keep := min(kept+n, len(s)-1) // the string may straddle two reads
		copy(buf, buf[kept+n-keep:kept+n])
		kept = keep
	}
}

// quoted writes text quoted-printable.
func quoted(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, text); err != nil {
		return err
	}
	return q.Close()
}

// mailbox formats a header mailbox. net/mail quotes what needs it; what no quoting makes safe is an error rather than
// silently another address.
func mailbox(a netmail.Address) (string, error) {
	if clean(a.Address) != a.Address || !strings.Contains(a.Address, "@") {
		return "", fmt.Errorf("%q is not a mail address", a.Address)
	}
	a.Name = clean(a.Name)
	return a.String(), nil
}
