package integration

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/connectors/smtp"
	"backbone/connectors/x400"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// opened opens a kind of connector for SITEA or SITEB; what its sources take is forgotten.
func opened(b *testing.B, name string, kind connectors.Kind, cfg connectors.Config) connectors.Opened {
	b.Helper()
	if bad := cfg.Check(); len(bad) > 0 {
		b.Fatal(bad)
	}
	or, err := address.ParseORAddress("c=US;a= ;p=Northwind;o=" + name)
	if err != nil {
		b.Fatal(err)
	}
	dir, domain := b.TempDir(), strings.ToLower(name)+".example"
	o, err := kind.Open(connectors.Env{Site: connectors.Site{Name: name, Domains: []string{domain}, X400: or}, Book: &connectortest.Book{Domain: domain},
		Dir: func(string) (string, error) { return dir, nil }}, []connectors.Config{cfg})
	if err != nil {
		b.Fatal(err)
	}
	gw := &connectortest.Acceptor{}
	gw.DiscardContent()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	for _, src := range o.Sources {
		serving.Go(func() {
			if err := src.Serve(ctx, gw); err != nil {
				b.Errorf("%s: %v", src.Name(), err)
			}
		})
	}
	b.Cleanup(func() {
		cancel()
		serving.Wait()
		if err := o.Close(); err != nil {
			b.Error(err)
		}
	})
	return o
}

func p1Section(local, remote string) *x400.Config {
	c := x400.NewConfig()
	c.Name, c.Type, c.LocalMTA, c.RemoteMTA, c.LocalPassword, c.RemotePassword = "x400", "x400", local, remote, "secret", "secret"
	c.RemoteAddress = "c=US;a= ;p=Northwind;o=" + remote
	c.MaxAssociations = 1
	return c
}

// BenchmarkOneAssociationBesideSMTP hands the same message over one P1 association and over one SMTP connection in turn,
// connector to connector on the loopback interface. What it gives is the ratio: how many times as long P1 takes.
func BenchmarkOneAssociationBesideSMTP(b *testing.B) {
	for _, size := range []int{4 << 10, 100 << 10, 10 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			there := p1Section("SITEB", "SITEA")
			there.Listen = "127.0.0.1:0"
			here := p1Section("SITEA", "SITEB")
			here.Peer = opened(b, "SITEB", x400.Kind, there).Sources[0].(interface{ Addr() net.Addr }).Addr().String()
			server := smtp.NewConfig()
			server.Name, server.Type, server.Hostname, server.Listen = "in", "smtp", "mx.siteb.example", []string{"127.0.0.1:0"}
			client := smtp.NewConfig()
			client.Name, client.Type, client.Hostname, client.ReuseMessages, client.TLS = "out", "smtp", "mx.sitea.example", 1<<30, "off"
			client.Smarthosts = []string{opened(b, "SITEB", smtp.Kind, server).Sources[0].(*smtp.Source).Addrs()[0].String()}
			ways := []connectors.Connector{opened(b, "SITEA", x400.Kind, here).Connectors[0], opened(b, "SITEA", smtp.Kind, client).Connectors[0]}

			content := connectortest.Message(size, 1)
			to := address.Address{Type: address.SMTP, Value: "user@siteb.example"}
			var took [2]time.Duration
			b.SetBytes(2 * int64(size))
			n := 0
			for ; b.Loop(); n++ {
				for i, way := range ways {
					hop, err := way.NextHop(to)
					if err != nil {
						b.Fatal(err)
					}
					key := fmt.Sprintf("M%d-%d", i, n)
					t := &connectors.Transfer{Key: key, NextHop: hop, Attempt: 1, Note: func(mail.Note) {}, Content: connectortest.Bytes(content),
						Envelope: mail.Envelope{ID: key, Kind: mail.KindMessage, Originator: address.Address{Type: address.SMTP, Value: "o@sitea.example"},
							Recipients: []mail.Recipient{{Address: to}}, Arrived: time.Now(), ContentType: "message/rfc822"}}
					began := time.Now()
					if out := way.Deliver(b.Context(), t)[0]; out.State != mail.Delivered {
						b.Fatal(out.Failure)
					}
					took[i] += time.Since(began)
				}
			}
			b.ReportMetric(float64(took[0])/float64(took[1]), "p1/smtp")
			b.ReportMetric(float64(n)/took[0].Seconds(), "p1-msg/s")
			b.ReportMetric(float64(n)/took[1].Seconds(), "smtp-msg/s")
		})
	}
}
