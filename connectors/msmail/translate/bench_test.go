package translate

import (
	"io"
	"testing"

	"backbone/connectors/connectortest"
	"backbone/gateway/address"
	"backbone/shadowpo/mmff"
)

// What a message costs to be carried from one post office to another: both translations, without any disk.
func BenchmarkPass4K(b *testing.B)  { benchmarkPass(b, 4<<10, 0) }
func BenchmarkPass10M(b *testing.B) { benchmarkPass(b, 4<<10, 10<<20) }

func benchmarkPass(b *testing.B, text, attachment int) {
	po := postOffice(b, "NORTHWIND/PO1", 850)
	m := &mmff.Message{From: asmith, To: []address.Address{mkumar}, Subject: "Stückliste", Text: mmff.Bytes(connectortest.Body(connectortest.Message(text, 1))), LineEnd: mmff.CRLF}
	m.SetSent(now)
	if attachment > 0 {
		m.Attachments = []mmff.Attachment{{Name: "A.DAT", Content: &connectortest.Synthetic{Length: int64(attachment)}}}
	}
	b.SetBytes(int64(text + attachment))
	b.ReportAllocs()
	for b.Loop() {
		in, err := po.In(m, nil, arrival("A1"))
		if err != nil {
			b.Fatal(err)
		}
		content, err := io.ReadAll(in.Open())
		if err != nil {
			b.Fatal(err)
		}
		out, err := po.Out(&in.Envelope, connectortest.Bytes(content), &connectortest.Book{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := mmff.Encode(io.Discard, out.Message, po.EncodeOptions()); err != nil {
			b.Fatal(err)
		}
		if err := out.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
