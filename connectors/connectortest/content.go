package connectortest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"backbone/gateway/mail"
)

// Bytes is a stored body in memory.
func Bytes(b []byte) mail.Content { return memory(b) }

type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }
func (m memory) Open() (io.ReadSeekCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(m), io.NopCloser(nil)}, nil
}

// Octets are n octets of every value that look random and depend only on seed.
func Octets(n int, seed uint64) []byte {
	b := make([]byte, n)
	(&Synthetic{Length: int64(n), Seed: seed}).fill(b, 0)
	return b
}

// Message is a canonical RFC 5322 message with a text body of n octets: CRLF lines of at most 76 characters, ending in
// CRLF when n is 2 or more, with dots at line starts and blanks at line ends among them. A body of one octet is "x".
func Message(n int, seed uint64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Origin <origin@sitea.example>\r\nTo: User <user1@siteb.example>\r\n"+
		"Subject: test %d of %d octets\r\nDate: Fri, 14 Mar 1997 09:30:00 +0000\r\nMessage-ID: <test-%d-%d@sitea.example>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", seed, n, seed, n)
	b.WriteString(text(n, seed))
	return b.Bytes()
}

// Body is the part of a message that follows its header.
func Body(message []byte) []byte {
	_, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	return body
}

func text(n int, seed uint64) string {
	if n < 2 {
		return strings.Repeat("x", n)
	}
	const line = ".The quick brown fox, number %08d, jumps over the lazy dog. "
	var b strings.Builder
	for i := seed; b.Len() < n; i++ {
		fmt.Fprintf(&b, line+"\r\n", i%100000000)
	}
	body := b.String()[:n-2]
	if strings.HasSuffix(body, "\r") { // never a bare CR
		body = body[:n-3] + "x"
	}
	return body + "\r\n"
}

// Report is a canonical non-delivery report (RFC 3464) about mail to rcpt.
func Report(rcpt string) []byte {
	return []byte(strings.ReplaceAll(fmt.Sprintf(`From: Postmaster <postmaster@sitea.example>
To: User <user1@siteb.example>
Subject: Undeliverable: figures
Date: Fri, 14 Mar 1997 09:30:00 +0000
Message-ID: <report-1@sitea.example>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b1

--b1
Content-Type: text/plain; charset=us-ascii

Your message did not reach the following recipient(s): %[1]s
--b1
Content-Type: message/delivery-status

Reporting-MTA: dns; sitea.example

Final-Recipient: rfc822; %[1]s
Action: failed
Status: 5.1.1

--b1
Content-Type: text/rfc822-headers

From: user1@siteb.example
Subject: figures

--b1--
`, rcpt), "\n", "\r\n"))
}

// Synthetic is a stored body that exists nowhere: octets that depend on Seed and place alone, so that a test can send
// gigabytes without holding them. When Fail is set, reading fails with it once After octets were given; OpenFail makes
// Open fail.
type Synthetic struct {
	Length   int64
	Seed     uint64
	After    int64
	Fail     error
	OpenFail error
}

func (s *Synthetic) Size() int64 { return s.Length }

// Open gives a reader at the beginning.
func (s *Synthetic) Open() (io.ReadSeekCloser, error) {
	if s.OpenFail != nil {
		return nil, s.OpenFail
	}
	return &synthetic{s: s}, nil
}

// fill writes the octets that stand at place from onwards: splitmix64's words, numbered from Seed.
func (s *Synthetic) fill(p []byte, from int64) {
	var word [8]byte
	for len(p) > 0 {
		x := s.Seed*0x9E3779B97F4A7C15 + uint64(from/8) + 0x9E3779B97F4A7C15
		x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
		x = (x ^ x>>27) * 0x94D049BB133111EB
		binary.LittleEndian.PutUint64(word[:], x^x>>31)
		n := copy(p, word[from%8:])
		p, from = p[n:], from+int64(n)
	}
}

type synthetic struct {
	s  *Synthetic
	at int64
}

func (r *synthetic) Read(p []byte) (int, error) {
	end := r.s.Length
	if r.s.Fail != nil {
		end = min(end, r.s.After)
	}
	if r.at >= end {
		if r.s.Fail != nil {
			return 0, r.s.Fail
		}
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), end-r.at))
	r.s.fill(p[:n], r.at)
	r.at += int64(n)
	return n, nil
}

func (r *synthetic) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.s.Length
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d", offset)
	}
	r.at = offset
	return offset, nil
}

func (r *synthetic) Close() error { return nil }
