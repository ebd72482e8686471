// Package connectors is the contract between the gateway and whatever joins it to another system: SMTP, X.400 P1,
// the direct site link, the shadow post offices. A connector delivers transfers (Connector), or takes mail in
// (Source), or both. connectors/connectortest is the conformance suite that each implementation runs.
//
// A connector never imports another connector, the queue or package gateway; it is handed what it needs in Env.
// It never decides about retry: it classifies each failure once (mail.Failure) and the gateway acts on the class.
package connectors

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/pace"
)

// Connector hands transfers to a next hop. Methods are safe for concurrent use.
type Connector interface {
	// Name is the name given in the configuration.
	Name() string
	// Spaces are the address spaces that the connector claims: the configured ones and those that follow from its
	// nature (a post office's own NET/PO). The set is fixed for the connector's life.
	Spaces() []address.Space
	// NextHop names the destination that would serve rcpt: an MX domain or smarthost, a site, an MTA, a NET/PO.
	// It must be cheap and must not touch the network. A *mail.Failure says that this connector can't serve it.
	NextHop(rcpt address.Address) (string, error)
	// Deliver tries once to hand t to its destination and returns one outcome per recipient of t, in order.
	// It never returns fewer, and never panics on hostile content. Cancelling ctx ends the attempt with deferred
	// outcomes, unless the peer has already taken responsibility.
	Deliver(ctx context.Context, t *Transfer) []mail.Outcome
}

// Source takes mail in and offers it to the gateway. Serve returns when ctx ends, after the work in hand is
// finished or given back, or with the error that keeps it from serving at all.
type Source interface {
	Name() string
	Serve(ctx context.Context, gw Acceptor) error
}

// Prober is a connector that can ask its next hop whether it would take a message: by an X.411 probe, which is answered by a
// report, or by RCPT. For the others the route is the answer.
type Prober interface {
	Probe(ctx context.Context, t *Transfer) []mail.Outcome
}

// Transfer is one delivery attempt: the content for some recipients that share a destination.
type Transfer struct {
	// Key is the same at every attempt of this transfer and differs between transfers, also across restarts and
	// sites: a peer or drop that remembers it can tell a repeated hand-over from a new message.
	Key string
	// NextHop is what NextHop said for every recipient.
	NextHop string
	// Envelope's Recipients are those of this transfer only. Trace ends with this site.
	Envelope mail.Envelope
	Content  mail.Content
	// Attempt counts from 1. Repeated is true when an earlier attempt's outcome is unknown (crash, lost connection).
	Attempt  int
	Repeated bool
	// Note records what translation mapped, changed or lost, on the message's timeline. Never nil.
	Note func(mail.Note)
}

// Acceptor is the gateway as a source sees it.
type Acceptor interface {
	// Screen asks before the content is there (SMTP's RCPT) whether a recipient would be taken: nil, or a classified
	// failure to answer with. It performs no I/O beyond the directory and is cheap.
	Screen(ctx context.Context, src mail.Source, originator, recipient address.Address) error
	// Accept takes responsibility for a message. Nil means durable: only then may the source answer 250, delete the
	// drop file or end the P1 activity. On error the source still owns the message and the *mail.Failure says what
	// to tell the peer. Recipients that can't be served do not fail a message: the originator gets a report.
	Accept(ctx context.Context, s Submission) (Receipt, error)
	// Known tells whether a message with this Submission.Dedup was taken before, so that a source can answer a
	// repeated offer without fetching its content again. False is always a safe answer: Accept asks the store anyway.
	Known(ctx context.Context, dedup string) (bool, error)
}

// Waker is an Acceptor that wants to know when a next hop has called by itself, over whose call mail can go out: what
// waits for it need not wait for its time.
type Waker interface {
	Called(connector, nextHop string)
}

// Submission is a message offered to the gateway.
type Submission struct {
	// Envelope as the source understood it, in native addresses. ID, Arrived and the local hop are filled in by Accept.
	Envelope mail.Envelope
	// Content is read once, to the end. It is a complete RFC 5322 message unless Envelope.ContentType says otherwise.
	Content io.Reader
	// Dedup, when not empty, identifies this hand-over for all time (sending site and id; post office, claim and
	// ordinal): offering it again is answered with the first receipt and stores nothing.
	Dedup string
	// Notes is the translation ledger of the way in.
	Notes []mail.Note
}

// Receipt is what the gateway calls the message that it took.
type Receipt struct {
	ID        string // the message's identifier on all sites
	Duplicate bool   // Dedup was known: nothing was stored
}

// AddressBook answers how one system's address appears in another, from the directory first (custom recipients and
// their proxies), else by encapsulation. It never fails: a form that works always exists.
type AddressBook interface {
	// As gives a as systems of type t can reply to it: a itself when it has that type, the proxy of the custom
	// recipient that represents a, or a encapsulated for this site (IMCEA@our domain, DDA under our O/R address).
	As(a address.Address, t address.Type) address.Address
	// Native undoes our own or a partner's encapsulation: IMCEAMS-NET_PO_MBX@ours becomes MS:NET/PO/MBX.
	Native(a address.Address) address.Address
	// Name is the display name under which the directory knows a, or "".
	Name(a address.Address) string
}

// Env is what every connector is given.
type Env struct {
	Site Site
	Book AddressBook
	Log  *slog.Logger
	// Base is the folder from which relative paths in a connector's section are taken: that of the configuration.
	Base string
	// Replica answers a question about this site's directory from a site that has shown who it is; nil: nobody answers.
	Replica func(ctx context.Context, site string, question []byte) ([]byte, error)
	// Trace answers a question about a message from a site that has shown who it is; nil: nobody answers. The error says
	// that this site has not handed over such a message.
	Trace func(ctx context.Context, site, id string, asked []string) (Timeline, error)
	// Limits is the count that the gateways of a cluster have in common; nil: each counts for itself.
	Limits pace.Shared
	// Listen opens a listener; nil: net.Listen. The service manager may have bound the address already.
	Listen func(network, address string) (net.Listener, error)
	// Dir makes a folder of this connector's own, on a local filesystem, and returns it.
	Dir func(name string) (string, error)
}

// ListenTCP opens a TCP listener at host:port.
func (e Env) ListenTCP(address string) (net.Listener, error) {
	if e.Listen == nil {
		return net.Listen("tcp", address)
	}
	return e.Listen("tcp", address)
}

// Path is p as a connector's section means it: relative to Base.
func (e Env) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(e.Base, p)
}

// Secret is the value of a secret of a connector's section; a file that it names is taken relative to Base.
func (e Env) Secret(s Secret) (string, error) {
	if name, ok := strings.CutPrefix(string(s), "@"); ok {
		s = Secret("@" + e.Path(name))
	}
	return s.Reveal()
}

// Site is this site's identity, as its configuration gives it.
type Site struct {
	Name         string            // "SITEA": unique among joined sites, 1..32 letters, digits, '-'
	Organization string            // "Northwind"
	Domains      []string          // SMTP domains that are ours; the first is the one written into addresses
	Partners     []string          // SMTP domains of joined sites, whose IMCEA forms are undone like ours
	MS           string            // NET/PO of the shadow post office
	X400         address.ORAddress // the site's O/R address, under which DDA encapsulation is written
	Postmaster   address.Address   // where mail for postmaster goes; zero: kept in the postmaster mailbox file
}
