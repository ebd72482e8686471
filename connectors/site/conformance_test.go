package site

import (
	"context"
	"net"
	"sync"
	"testing"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

func TestConformance(t *testing.T) {
	link := func(t testing.TB, change func(*world)) connectortest.Link {
		w := newWorld(t, change)
		return connectortest.Link{
			Connector: w.link,
			Received: func() []connectortest.Received {
				var out []connectortest.Received
				for _, a := range w.gw.Taken() {
					m := connectortest.Received{Originator: a.Envelope.Originator, Content: a.Content}
					for _, r := range a.Envelope.Recipients {
						m.Recipients = append(m.Recipients, r.Address)
					}
					out = append(out, m)
				}
				return out
			},
			Close: func() error { w.close(); return nil },
		}
	}
	connectortest.Run(t, connectortest.Harness{
		Recipients: []address.Address{
			{Type: address.MS, Value: "NORTHWIND/PO2/MKUMAR"}, {Type: address.SMTP, Value: "mira@siteb.example"},
			{Type: address.X400, Value: "c=US;a= ;p=Northwind;o=SITEB;s=Kumar;g=Mira;"}, {Type: "FAX", Value: "+1 555 0100"},
		},
		ExactlyOnce: true, Binary: true,
		Working: func(t testing.TB) connectortest.Link { return link(t, nil) },
		Dead: func(t testing.TB) connectortest.Link {
			l := link(t, nil)
			l.Connector.(*Link).cfg.Peer = deadAddress(t)
			return l
		},
		Refusing: func(t testing.TB, _ int, f *mail.Failure) connectortest.Link {
			return link(t, func(w *world) {
				w.gw.OnAccept(func(context.Context, connectors.Submission) error { return f })
			})
		},
		Silent: func(t testing.TB) connectortest.Link {
			l := link(t, nil)
			addr, stop := silentAddress(t)
			l.Connector.(*Link).cfg.Peer = addr
			shut := l.Close
			l.Close = func() error { stop(); return shut() }
			return l
		},
		LosingAnswer: func(t testing.TB) connectortest.Link {
			var once sync.Once
			var l connectortest.Link
			var w *world
			l = link(t, func(made *world) {
				w = made
				w.gw.OnTaken(func(context.Context, connectortest.Accepted) error {
					once.Do(w.proxy.cut)
					return nil
				})
			})
			return l
		},
	})
}

// deadAddress is where nobody listens.
func deadAddress(t testing.TB) string {
	t.Helper()
	s, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Addr().String()
}

// silentAddress takes connections and says nothing.
func silentAddress(t testing.TB) (addr string, stop func()) {
	t.Helper()
	s, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	})
	return s.Addr().String(), func() {
		s.Close()
		wg.Wait()
		for _, c := range conns {
			c.Close()
		}
	}
}
