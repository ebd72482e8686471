package smtp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/gateway/mail"

	gosmtp "github.com/emersion/go-smtp"
)

// BenchmarkServer measures taking in, over loopback, with an acceptor that throws away: the protocol's own cost. The
// client is as lean as it can be.
func BenchmarkServer(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := serve(b, nil)
			s.gw.DiscardContent()
			c := s.dial().hello()
			envelope := []byte("MAIL FROM:<alice@far.example> BODY=8BITMIME\r\nRCPT TO:<bob@sitea.example>\r\nDATA\r\n")
			body := append(connectortest.Message(size, 1), ".\r\n"...)
			body = bytes.ReplaceAll(body, []byte("\r\n."), []byte("\r\n.."))
			body = append(body[:len(body)-4], ".\r\n"...)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				mustWrite(b, c.conn, envelope)
				for range 3 {
					mustReadLine(b, c.r)
				}
				mustWrite(b, c.conn, body)
				if l := mustReadLine(b, c.r); l[0] != '2' {
					b.Fatal(l)
				}
			}
		})
	}
}

func mustWrite(b *testing.B, c io.Writer, p []byte) {
	if _, err := c.Write(p); err != nil {
		b.Fatal(err)
	}
}

func mustReadLine(b *testing.B, r *bufio.Reader) string {
	l, err := r.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// sink takes any message as cheaply as it can, with the replies that a pipelining client expects.
func sink(b *testing.B) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				r := bufio.NewReaderSize(c, 64<<10)
				w := bufio.NewWriter(c)
				say := func(s string) {
					if _, err := w.WriteString(s); err != nil {
						log.Print(err)
					}
					if r.Buffered() == 0 {
						w.Flush()
					}
				}
				say("220 sink\r\n")
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					switch string(line[:4]) {
					case "EHLO":
						say("250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
					case "DATA":
						say("354 go on\r\n")
						for {
							line, err := r.ReadSlice('\n')
							if err != nil {
								return
							}
							if string(line) == ".\r\n" {
								break
							}
						}
						say("250 ok\r\n")
					default:
						say("250 ok\r\n")
					}
				}
			})
		}
	})
	b.Cleanup(func() {
		if err := ln.Close(); err != nil {
			b.Error(err)
		}
		wg.Wait()
	})
	return ln.Addr().String()
}

// BenchmarkClient measures handing on to a sink, beside go-smtp's client: why that is not used.
func BenchmarkClient(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		content := connectortest.Message(size, 1)
		b.Run(fmt.Sprintf("ours/%d", size), func(b *testing.B) {
			c, closeOut := outbound(b, sink(b), func(c *Config) { c.ReuseMessages = 1 << 30 })
			tr := transferOf(c, content, smtpAddress("one@siteb.example"))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if out := c.Deliver(b.Context(), tr); out[0].State != mail.Delivered {
					b.Fatal(out[0].Failure)
				}
			}
			b.StopTimer()
			if err := closeOut(); err != nil {
				b.Error(err)
			}
		})
		b.Run(fmt.Sprintf("go-smtp/%d", size), func(b *testing.B) {
			c, err := gosmtp.Dial(sink(b))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := c.SendMail("origin@sitea.example", []string{"one@siteb.example"}, bytes.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if err := c.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
				b.Error(err)
			}
		})
	}
}
