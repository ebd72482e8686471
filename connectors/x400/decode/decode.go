// Package decode prints what two MTAs said as an indented tree with the names that the standards give: a whole capture
// file, layer by layer, or any one APDU.
//
// It is for people. It knows nothing that the layers' codecs do not, prints what it can of a broken encoding and says where
// that breaks, and cuts long strings. Output order is that of the octets, so that a tree can be laid beside a hex dump.
package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"backbone/connectors/x400/acse"
	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/cotp"
	"backbone/connectors/x400/pcap"
	"backbone/connectors/x400/presentation"
	"backbone/connectors/x400/rtse"
	"backbone/connectors/x400/session"
	"backbone/connectors/x400/tpkt"
)

// MaxInput bounds what is decoded, in octets.
const MaxInput = 256 << 20

// ErrNothing says that no part of the input could be decoded.
var ErrNothing = errors.New("decode: nothing of it is X.400")

// Write decodes b and prints it: a capture file (pcap, pcapng), the octets of one direction of a connection (TPKTs), a
// transfer (an EXTERNAL), an MTS-APDU, an interpersonal message or notification, or an association control or presentation
// APDU; all but a capture file also as hex text. The error says that part of it could not be decoded, and everything else
// was printed; with ErrNothing there was nothing else.
func Write(w io.Writer, b []byte) error {
	if len(b) > MaxInput {
		return fmt.Errorf("decode: %d octets are more than %d", len(b), MaxInput)
	}
	p := &printer{w: w}
	if !pcap.Magic(b) {
		var err error
		if b, err = octets(b); err != nil {
			return errors.Join(ErrNothing, err)
		}
	}
	switch {
	case pcap.Magic(b):
		p.capture(b)
	case len(b) > 4 && b[0] == 3 && b[1] == 0 && int(b[2])<<8|int(b[3]) <= len(b):
		f := newFlow()
		p.stream(f, b)
		p.leftOver("the connection", f)
	default:
		p.apdu(b)
	}
	if p.decoded == 0 && p.werr == nil {
		p.errs = append([]error{ErrNothing}, p.errs...)
	}
	return errors.Join(append(p.errs, p.werr)...)
}

type printer struct {
	w       io.Writer
	depth   int
	decoded int // TPDUs and APDUs that could be read
	errs    []error
	werr    error
}

func (p *printer) line(format string, args ...any) {
	if p.werr == nil {
		_, p.werr = fmt.Fprintf(p.w, "%s%s\n", strings.Repeat("  ", p.depth), fmt.Sprintf(format, args...))
	}
}

func (p *printer) in(f func()) { p.depth++; f(); p.depth-- }

func (p *printer) fail(err error) {
	p.line("!! %v", err)
	if len(p.errs) < 20 {
		p.errs = append(p.errs, err)
	}
}

func (p *printer) capture(b []byte) {
	all, err := pcap.Read(b)
	if err != nil {
		p.fail(err)
	}
	for i, c := range all {
		p.line("connection %d: %s calls %s", i+1, c.Caller, c.Answerer)
		f := newFlow()
		p.in(func() {
			for _, t := range c.Turns {
				who := c.Caller
				if !t.FromCaller {
					who = c.Answerer
				}
				p.line("%s:", who)
				p.in(func() { p.stream(f.side(t.FromCaller), t.Octets) })
			}
			p.leftOver(c.Caller.String(), f)
			p.leftOver(c.Answerer.String(), f.other)
		})
	}
}

// leftOver prints what one side had begun when the octets ended: a transfer that was cut, half a packet.
func (p *printer) leftOver(who string, f *flow) {
	if n := len(f.rest) + len(f.tsdu); n > 0 {
		p.fail(fmt.Errorf("%s breaks off within a packet, after %d octets of it", who, n))
	}
	if len(f.transfer) > 0 {
		p.line("transfer of %s, not ended: %d octets", who, len(f.transfer))
		p.in(func() { p.transferred(f.transfer) })
	}
}

// flow is what is remembered of a connection: what has been agreed, and the transfer under way in each direction.
type flow struct {
	agreed   *agreed
	tsdu     []byte
	rest     []byte // of a TPKT that the turn cut
	transfer []byte
	other    *flow
}

type agreed struct {
	bare     bool // X.410 mode
	known    bool
	contexts map[int64]ber.OID
}

func newFlow() *flow {
	a := &agreed{contexts: map[int64]ber.OID{}}
	return &flow{agreed: a, other: &flow{agreed: a}}
}

func (f *flow) side(caller bool) *flow {
	if caller {
		return f
	}
	return f.other
}

func (p *printer) stream(f *flow, b []byte) {
	b = append(f.rest, b...)
	f.rest = nil
	for len(b) > 0 {
		if len(b) >= 4 && b[0] == 3 && int(b[2])<<8|int(b[3]) > len(b) {
			f.rest = b
			return
		}
		packet, err := tpkt.New(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), nil}).ReadPacket()
		if err != nil {
			p.fail(err)
			return
		}
		b = b[4+len(packet):]
		p.tpdu(f, packet)
	}
}

func (p *printer) tpdu(f *flow, b []byte) {
	t, err := cotp.Parse(b)
	if err != nil {
		p.fail(err)
		return
	}
	p.decoded++
	switch t.Code {
	case cotp.CR, cotp.CC:
		p.line("COTP %s  source %04x, destination %04x, TPDU size %d%s%s", t.Code, t.Src, t.Dst, t.Size, selector("called", t.Called), selector("calling", t.Calling))
	case cotp.DR, cotp.ER:
		p.line("COTP %s  %s", t.Code, t.Reason)
	case cotp.DT:
		f.tsdu = append(f.tsdu, t.Data...)
		if t.EOT {
			tsdu := f.tsdu
			f.tsdu = nil
			p.tsdu(f, tsdu)
		}
	}
}

func selector(name string, b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return fmt.Sprintf(", %s selector %s", name, text(b))
}

func (p *printer) tsdu(f *flow, b []byte) {
	all, err := session.Parse(b)
	if err != nil {
		p.fail(err)
		return
	}
	for _, s := range all {
		p.spdu(f, s)
	}
}

func (p *printer) spdu(f *flow, s *session.SPDU) {
	extra := selector("called", s.Called) + selector("calling", s.Calling)
	if s.Requirements != nil {
		extra += fmt.Sprintf(", versions %02x, functional units %04x", s.Versions, uint16(*s.Requirements))
	}
	if len(s.ActivityID) > 0 {
		extra += fmt.Sprintf(", activity %x", s.ActivityID)
	}
	if s.Type == session.DT {
		extra += fmt.Sprintf(", %d octets", len(s.UserData))
	}
	p.line("session %s%s", s, extra)
	p.in(func() {
		switch s.Type {
		case session.CN, session.AC:
			p.connect(f, s, false)
		case session.RF:
			if len(s.UserData) > 0 {
				p.connect(f, s, true)
			}
		case session.AS, session.AD:
			f.transfer = nil
		case session.DT:
			p.data(f, s.UserData)
		case session.AE:
			whole := f.transfer
			f.transfer = nil
			p.line("transfer of %d octets", len(whole))
			p.in(func() { p.transferred(whole) })
		case session.FN, session.DN, session.PT, session.AB:
			if len(s.UserData) > 0 {
				p.tree(s.UserData, releaseType(s))
			}
		}
	})
}

func releaseType(s *session.SPDU) *asn {
	if s.Type == session.AB {
		return tAbort
	}
	return tUserData
}

// connect prints a presentation connect and remembers what it settles.
func (p *printer) connect(f *flow, s *session.SPDU, refuse bool) {
	c, err := presentation.ParseConnect(s.UserData, refuse)
	if err != nil {
		p.fail(err)
	} else {
		f.agreed.known, f.agreed.bare = true, !c.Normal
		for _, def := range c.Contexts {
			f.agreed.contexts[def.ID] = def.Abstract
		}
	}
	t := tCP
	if refuse {
		t = tCPR
	}
	p.tree(s.UserData, t)
}

// data adds a segment to the transfer under way.
func (p *printer) data(f *flow, b []byte) {
	if f.agreed.bare || len(b) == 0 || (b[0] != 0x61 && b[0] != 0x40) {
		f.transfer = append(f.transfer, b...)
		return
	}
	pdvs, err := presentation.ParseUserData(b)
	if err != nil {
		p.fail(err)
		return
	}
	for _, v := range pdvs {
		if name := f.agreed.contexts[v.Context]; name != "" && name != acse.AbstractSyntax && oidNames[name] == "" {
			p.line("context %d (%s): %d octets", v.Context, name, len(v.Single)+len(v.Octets))
			continue
		}
		octets := v.Octets
		if v.Single != nil {
			d := ber.NewDecoder(v.Single, ber.Limits{Depth: 96, Elements: 1 << 20, Joined: MaxInput})
			if root := d.Root(); root.Is(ber.OctetString) {
				octets = root.Octets()
			} else {
				p.tree(v.Single, nil)
				continue
			}
		}
		f.transfer = append(f.transfer, octets...)
	}
}

// transferred prints a transfer.
func (p *printer) transferred(b []byte) {
	b, done := p.mended(b)
	defer done()
	apdu, err := rtse.Value(b)
	if err != nil {
		p.fail(err)
		return
	}
	p.tree(apdu, tMTSAPDU)
}

// apdu prints octets of which nobody said what they are.
func (p *printer) apdu(b []byte) {
	came := len(b)
	b, done := p.mended(b)
	defer done()
	d := ber.NewDecoder(b, ber.Limits{Depth: 96, Elements: 4 << 20, Joined: MaxInput})
	root := d.Root()
	if d.Err() != nil {
		p.fail(d.Err())
		return
	}
	if len(b) != came && !root.First().Present() {
		return // the beginning of anything
	}
	p.decoded++
	switch {
	case root.Is(ber.ExternalType):
		p.transferred(b)
	case root.Tag.Class == ber.ClassApplication && root.Tag.Number <= 4 && root.Tag.Number != 1:
		p.tree(b, tACSE)
	case root.Is(ber.Application(1)):
		if inner := root.First(); inner.Is(ber.Sequence) {
			p.tree(b, tUserData)
		} else {
			p.tree(b, tACSE)
		}
	case root.Is(ber.Set):
		p.tree(b, tCP)
	case root.Is(ber.Context(0)) && enveloped(root), root.Is(ber.Context(1)) && enveloped(root), root.Is(ber.Context(2)):
		p.tree(b, tMTSAPDU)
	case root.Is(ber.Context(0)), root.Is(ber.Context(1)):
		p.tree(b, tInformationObject)
	default:
		p.tree(b, nil)
	}
}

// mended is b, completed where it breaks off; done says so behind what was printed of it.
func (p *printer) mended(b []byte) (whole []byte, done func()) {
	whole, missing := ber.Mend(b)
	if !missing {
		return b, func() {}
	}
	return whole, func() { p.fail(fmt.Errorf("decode: the encoding breaks off after %d octets", len(b))) }
}

// enveloped tells an MTS-APDU from an information object: an envelope comes first, and has an MTS identifier.
func enveloped(root ber.Element) bool {
	envelope := root.First()
	if !envelope.Is(ber.Set) {
		return false
	}
	for m := range envelope.All() {
		if m.Is(ber.Application(4)) {
			return true
		}
	}
	return false
}
