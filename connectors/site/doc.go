// Package site is the direct link between two Backbone gateways, as Exchange's Site Connector was between two sites:
// it hands messages over whole, in native addresses, without encapsulation, and each arrives exactly once.
//
// It owns the protocol (package sitev1), the trust between two sites (pinned certificates or a CA and a name, TLS 1.3
// both ways) and the spool of contents that have arrived in part. It never retries, never looks at content, and never
// believes what a message says about who sent it: that comes from the certificate of the connection.
//
// Exactly once: the receiving side asks the gateway to Accept under the key "site/SENDER/KEY" and acknowledges only
// after Accept returned nil. When the acknowledgement is lost, the next offer with the same key is answered from the
// gateway's memory of that key and stores nothing. A content that was cut off is kept and resumed where it stopped.
//
// How it fails: nothing that is wrong with the connection, the certificates or the versions is ever final; it comes
// back as a transient failure of link scope and is logged as an error where an operator has to act. The far gateway's
// refusal of a message comes back as it classified it, except that a local fault there is transient here.
package site

//go:generate protoc -I backbone/site/v1=sitev1 --go_out=../.. --go_opt=module=backbone --connect-go_out=../.. --connect-go_opt=module=backbone,simple backbone/site/v1/site.proto
