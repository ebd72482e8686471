package connectortest

import (
	"bytes"
	"fmt"
	"testing"

	"backbone/connectors"
	"backbone/gateway/address"
	"backbone/gateway/mail"
)

// Harness opens one kind of connector against peers of known behaviour. Each function is called once for each check
// and gives a connector and a peer of their own.
type Harness struct {
	// Recipients are at least four addresses for which NextHop gives the same answer. Their types are those of the
	// kind's own world, so that the peer receives them as they were sent.
	Recipients []address.Address
	// Originator of the test messages; zero stands for SMTP:origin@sitea.example.
	Originator address.Address

	// Working opens the connector with a peer that takes everything.
	Working func(t testing.TB) Link
	// Dead opens it with a peer that is not there: nothing listens, the folder can't be reached. Received is not used.
	Dead func(t testing.TB) Link
	// Refusing opens it with a peer that refuses Recipients[k] with f's class: f is mail.UnknownRecipient or a
	// transient "try later". A peer that can't tell recipients apart refuses the message: see PerRecipient. Nil only
	// for a kind whose peer can't refuse anything.
	Refusing func(t testing.TB, k int, f *mail.Failure) Link
	// PerRecipient says that a peer's refusal of one recipient leaves the others delivered. Otherwise the suite wants
	// the refusal for every recipient of the transfer.
	PerRecipient bool
	// Silent opens it with a peer that lets itself be called and then says nothing. Nil only for a kind whose peer is
	// not a conversation (a folder).
	Silent func(t testing.TB) Link
	// LosingAnswer opens it with a peer that takes the first message, but whose answer to it never arrives; after that
	// it works. Nil only for a kind between whose peer and itself nothing can be lost.
	LosingAnswer func(t testing.TB) Link
	// ExactlyOnce claims that a transfer's Key keeps a repeated hand-over from arriving twice.
	ExactlyOnce bool

	// Binary says that the kind carries any octets. Otherwise contents are canonical messages (see Message).
	Binary bool
	// Equal compares what was sent with what arrived, for a kind that translates or that its protocol forces to add
	// something (SMTP's trace lines). Nil: every octet is the same.
	Equal func(sent, got []byte) error
}

// Link is a connector that is joined to a peer.
type Link struct {
	Connector connectors.Connector
	// Received is what the peer took responsibility for, in the order in which it did. It may wait a moment for the
	// peer to finish what the connector was already told is done.
	Received func() []Received
	// Close closes the connector, then the peer, and waits for both. The suite calls it once.
	Close func() error
}

// Received is one message as the peer took it.
type Received struct {
	Originator address.Address
	Recipients []address.Address
	Content    []byte
}

func (h Harness) originator() address.Address {
	if h.Originator.IsZero() {
		return address.Address{Type: address.SMTP, Value: "origin@sitea.example"}
	}
	return h.Originator
}

// content is a body of about size octets, of the sort that the kind carries.
func (h Harness) content(size int, seed uint64) []byte {
	if h.Binary {
		return Octets(size, seed)
	}
	return Message(size, seed)
}

func (h Harness) equal(sent, got []byte) error {
	if h.Equal != nil {
		return h.Equal(sent, got)
	}
	if bytes.Equal(sent, got) {
		return nil
	}
	at := 0
	for at < len(sent) && at < len(got) && sent[at] == got[at] {
		at++
	}
	return fmt.Errorf("sent %d octets, got %d, first difference at %d", len(sent), len(got), at)
}

// SMTPRecipients are n SMTP addresses at one domain.
func SMTPRecipients(n int) []address.Address {
	out := make([]address.Address, n)
	for i := range out {
		out[i] = address.Address{Type: address.SMTP, Value: fmt.Sprintf("user%d@siteb.example", i+1)}
	}
	return out
}

// MSRecipients are n mailboxes at NORTHWIND/PO2.
func MSRecipients(n int) []address.Address {
	out := make([]address.Address, n)
	for i := range out {
		out[i] = address.Address{Type: address.MS, Value: fmt.Sprintf("NORTHWIND/PO2/USER%d", i+1)}
	}
	return out
}
