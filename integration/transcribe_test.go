package integration

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"backbone/connectors/x400/cotp"
	"backbone/connectors/x400/golden"
	"backbone/connectors/x400/p1"
	"backbone/connectors/x400/pcap"
	"backbone/connectors/x400/rtse"
	"backbone/connectors/x400/session"
	"backbone/connectors/x400/tpkt"
)

// transfers are the octets of the activities in a recording of X.410 mode or 1984, connection by connection.
func (r *recording) transfers() [][]byte {
	r.t.Helper()
	b, err := os.ReadFile(r.file)
	if err != nil {
		r.t.Fatal(err)
	}
	conversations, err := pcap.Read(b)
	if err != nil {
		r.t.Fatal(err)
	}
	var out [][]byte
	for _, c := range conversations {
		var said bytes.Buffer // by the caller; callers transfer, answerers confirm
		for _, turn := range c.Turns {
			if turn.FromCaller {
				said.Write(turn.Octets)
			}
		}
		packets := tpkt.New(struct {
			io.Reader
			io.Writer
		}{&said, nil})
		var tsdu, transfer []byte
		for {
			packet, err := packets.ReadPacket()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				r.t.Fatal(err)
			}
			tpdu, err := cotp.Parse(packet)
			if err != nil {
				r.t.Fatal(err)
			}
			if tpdu.Code != cotp.DT {
				continue
			}
			if tsdu = append(tsdu, tpdu.Data...); !tpdu.EOT {
				continue
			}
			spdus, err := session.Parse(tsdu)
			if err != nil {
				r.t.Fatal(err)
			}
			tsdu = nil
			for _, s := range spdus {
				switch s.Type {
				case session.AS:
					transfer = nil
				case session.DT:
					transfer = append(transfer, s.UserData...)
				case session.AE:
					out = append(out, transfer)
				}
			}
		}
	}
	return out
}

// discard takes transfers and forgets them.
type discard struct{ io.Writer }

func (discard) Truncate(int64) error { return nil }
func (discard) Commit() error        { return nil }
func (discard) Discard()             {}

// inNormalMode sends APDUs over an association of normal mode and gives the recording of that.
func inNormalMode(t *testing.T, apdus [][]byte) *recording {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := capture(t, ln.Addr().String())
	answered := make(chan error, 1)
	go func() { answered <- answer(ln) }()
	if err := call(ln.Addr().String(), apdus); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	return c.end()
}

func answer(ln net.Listener) error {
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	transport, err := cotp.Accept(tpkt.New(conn))
	if err != nil {
		return err
	}
	confirmed, err := transport.Confirm(2)
	if err != nil {
		return err
	}
	incoming, err := rtse.Accept(session.New(confirmed))
	if err != nil {
		return err
	}
	bind, err := p1.Bind{Name: "SITEB", Password: []byte("secret")}.Encode(true, true)
	if err != nil {
		return err
	}
	a, err := incoming.Accept(rtse.Terms{Mode: rtse.Normal, Checkpoint: 30, Window: 5, User: bind})
	if err != nil {
		return err
	}
	for {
		ev, err := a.Receive(func() (rtse.Sink, error) { return discard{io.Discard}, nil }, nil)
		if err != nil || ev == rtse.Released {
			return err
		}
	}
}

func call(addr string, apdus [][]byte) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	transport, err := cotp.Connect(tpkt.New(conn), nil, nil, 1)
	if err != nil {
		return err
	}
	bind, err := p1.Bind{Name: "SITEA", Password: []byte("secret")}.Encode(false, true)
	if err != nil {
		return err
	}
	a, err := rtse.Open(session.New(transport), rtse.Terms{Mode: rtse.Normal, Checkpoint: 30, Window: 5, Name: "SITEA", Time: time.Now(), Unique: 1, User: bind})
	if err != nil {
		return err
	}
	for _, b := range apdus {
		if err := a.Send(&rtse.Transfer{Content: bytes.NewReader(b), Size: int64(len(b))}); err != nil {
			return err
		}
	}
	return a.Release()
}

// foreignTransfer is PP's own message in PP's own X.410 mode connection, from its captures: the bind as it was recorded, then
// the message as one segment.
func foreignTransfer(t *testing.T) *recording {
	t.Helper()
	message, err := os.ReadFile("../connectors/x400/p1/testdata/pp-message.ber")
	if err != nil {
		t.Fatal(err)
	}
	c := golden.Conversations(t, "pp-ping88o.pcap")[0]
	bound := -1 // turns up to the accept
	for i, turn := range c.Turns {
		if !turn.FromCaller && bytes.Contains(turn.Octets, []byte("mta-b")) {
			bound = i + 1
		}
	}
	if bound < 0 {
		t.Fatal("the capture has lost its bind")
	}
	segment := append([]byte{3, 0, 0, 0, 2, 0xf0, 0x80, 1, 0, 1, 0}, message...) // TPKT, DT TPDU, GIVE TOKENS, DATA TRANSFER
	segment[2], segment[3] = byte(len(segment)>>8), byte(len(segment))
	c.Turns = append(c.Turns[:bound:bound], pcap.Turn{FromCaller: true, Octets: segment})
	r := &recording{t: t, file: t.TempDir() + "/foreign.pcap", ports: []string{"20002"}}
	if err := os.WriteFile(r.file, pcap.Append(nil, c, time.Unix(1e9, 0)), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}
