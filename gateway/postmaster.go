package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/queue"
)

// postmasterDest is where mail for postmaster at our own domains goes when the configuration names nobody: every
// domain must have one (RFC 5321 4.5.1).
var postmasterDest = queue.Dest{Connector: "postmaster", Host: "mbox"}

func (g *Gateway) isLocalPostmaster(a address.Address) bool {
	if a.Type != address.SMTP {
		return false
	}
	local, domain, ok := cutLast(a.Value, '@')
	return ok && strings.EqualFold(local, "postmaster") && g.isOurDomain(domain) && g.members()[postmasterDest.Connector].Connector != nil
}

// PostmasterFile is the connector that appends mail for postmaster to a mailbox file (mboxrd), readable with any mail
// program. A crash may leave a message in it twice, never half: a torn end is cut off before the next one.
type PostmasterFile struct {
	path string
	mu   sync.Mutex
}

// NewPostmasterFile uses the file at path, made at the first delivery.
func NewPostmasterFile(path string) *PostmasterFile { return &PostmasterFile{path: path} }

func (*PostmasterFile) Name() string                            { return postmasterDest.Connector }
func (*PostmasterFile) Spaces() []address.Space                 { return nil }
func (*PostmasterFile) NextHop(address.Address) (string, error) { return postmasterDest.Host, nil }

// Deliver appends the message and syncs the file.
func (p *PostmasterFile) Deliver(_ context.Context, t *connectors.Transfer) []mail.Outcome {
	out := make([]mail.Outcome, len(t.Envelope.Recipients))
	err := p.append(t)
	for i := range out {
		if err != nil {
			out[i] = mail.Outcome{State: mail.Deferred, Failure: mail.LocalFault("postmaster mailbox not written", err)}
		} else {
			out[i] = mail.Outcome{State: mail.Delivered, Peer: "appended to " + p.path}
		}
	}
	return out
}

func (p *PostmasterFile) append(t *connectors.Transfer) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	src, err := t.Content.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, f.Close()) }()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err = writeMbox(f, src, t.Envelope.Originator, time.Now()); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	return nil
}

// writeMbox writes one message in mboxrd form.
func writeMbox(w io.Writer, src io.Reader, from address.Address, now time.Time) error {
	b := bufio.NewWriter(w)
	who := "MAILER-DAEMON"
	if from.Type == address.SMTP && !strings.ContainsAny(from.Value, " \t") {
		who = from.Value
	}
	fmt.Fprintf(b, "From %s %s\n", who, now.UTC().Format(time.ANSIC))
	in := bufio.NewReaderSize(src, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		body := line
		if err == nil || err == io.EOF {
			body = bytes.TrimRight(line, "\r\n")
		}
		if bytes.HasPrefix(bytes.TrimLeft(body, ">"), []byte("From ")) {
			b.WriteByte('>')
		}
		b.Write(body)
		if err == nil || (err == io.EOF && len(line) > 0) {
			b.WriteByte('\n')
		}
		if err == io.EOF {
			break
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
	b.WriteByte('\n')
	return b.Flush()
}
