// Package connectortest is the conformance suite of the connectors.Connector contract, and the fakes that tests of
// connectors and sources share: Acceptor stands for the gateway, Book for its address book, Content for stored bodies.
//
// A connector's own tests fill in a Harness, which opens the connector against peers that behave in a given way, and
// call Run:
//
//	func TestConformance(t *testing.T) {
//		connectortest.Run(t, connectortest.Harness{
//			Recipients: connectortest.SMTPRecipients(4),
//			Working:    func(t testing.TB) connectortest.Link { ... },
//			Dead:       func(t testing.TB) connectortest.Link { ... },
//			Refusing:   func(t testing.TB, k int, f *mail.Failure) connectortest.Link { ... },
//		})
//	}
//
// The suite knows nothing of any protocol: what a kind adds to the contract is tested by the kind. It owns no
// connector and touches neither network nor disk itself. A check that does not apply is left out by leaving the
// Harness field nil, with the reason that the field's comment demands.
package connectortest
