package rtse

import (
	"errors"
	"fmt"
	"io"
	"time"

	"backbone/connectors/x400/acse"
	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/presentation"
	"backbone/connectors/x400/session"
)

// Session is what reliable transfer needs of the session; *session.Conn gives it.
type Session interface {
	Send(*session.SPDU) error
	// Receive gives the next SPDU, valid until the next call.
	Receive() (*session.SPDU, error)
	// Limit sets the longest TSDU that the peer takes.
	Limit(send uint16)
}

// Abstract syntaxes of P1 (X.419 annex B; section 14 of the notes of the field).
const (
	asRTSE ber.OID = "2.6.0.2.12" // id-as-mta-rtse: reliable transfer with the MTA bind
	asMTSE ber.OID = "2.6.0.2.7"  // id-as-mtse: the MTS-APDU
)

// Terms are what one side proposes or is content with.
type Terms struct {
	Mode       Mode
	Checkpoint int  // KB between sync points; 0 for none
	Window     int  // sync points that may wait for their confirmation
	TWA        bool // two-way alternate; else monologue
	// SessionSelectors and PresentationSelectors are sent in normal mode only (KB Q152932).
	CallingSession, CalledSession           []byte
	CallingPresentation, CalledPresentation []byte
	// User is the bind argument or result, one element.
	User []byte
	// Name and Time identify the association, for a recovery.
	Name string
	Time time.Time
	// Unique tells associations of one second apart.
	Unique uint16
	// Recover names the association whose interrupted transfer is to be resumed on the new one.
	Recover *session.Ref
}

// Association is an open association. One goroutine at a time uses it.
type Association struct {
	s          Session
	mode       Mode
	initiator  bool
	turn       bool // ours to transfer
	wanted     *int64
	twa        bool
	checkpoint int // octets; 0 none
	window     int
	ref        session.Ref
	contexts   struct{ acse, rtse, mtse int64 }
	activities int // begun by us

	user    []byte
	in      *incoming // begun by the peer
	version byte      // of the session
}

// Mode is what the association runs in.
func (a *Association) Mode() Mode { return a.mode }

// User is the bind argument or result that the peer sent.
func (a *Association) User() []byte { return a.user }

// Ref identifies the association for a recovery.
func (a *Association) Ref() session.Ref { return a.ref }

// Terms are what was agreed: KB between checkpoints, window, two-way alternate.
func (a *Association) Terms() (checkpoint, window int, twa bool) {
	return a.checkpoint / 1024, a.window, a.twa
}

// MayTransfer tells whether the turn is ours.
func (a *Association) MayTransfer() bool { return a.turn }

// reference is the calling SS-user reference and its companions as ISODE writes them: each a BER element.
func (t Terms) reference() session.Ref {
	name := t.Name
	if len(name) > 62 { // X.225: 64 octets with the header
		name = name[:62]
	}
	var w, c, u ber.Writer
	w.Text(ber.TeletexString, name)
	c.Time(ber.UTCTime, t.Time)
	u.Octets(ber.TeletexString, []byte{byte(t.Unique >> 8), byte(t.Unique)})
	var r session.Ref
	r.Calling, _ = w.Bytes() // strings can't fail
	r.Common, _ = c.Bytes()
	r.Additional, _ = u.Bytes()
	return r
}

// Open asks the peer for an association on t. A refusal is a *Refused.
func Open(s Session, t Terms) (*Association, error) {
	a := &Association{s: s, mode: t.Mode, initiator: true, turn: true, ref: t.reference()}
	a.contexts.acse, a.contexts.rtse, a.contexts.mtse = 1, 3, 5
	o := open{checkpoint: int64(t.Checkpoint), window: int64(max(t.Window, 1)), twa: t.TWA, protocol: -1, user: t.User, recover: t.Recover}
	switch t.Mode {
	case X410:
		o.protocol = protocol1988
	case P1984:
		o.protocol = protocol1984
	}
	cp, err := a.connect(t, o)
	if err != nil {
		return nil, err
	}
	needs := session.ForRTSE
	cn := &session.SPDU{Type: session.CN, Ref: a.ref, Versions: session.Version1 | session.Version2, Requirements: &needs, UserData: cp}
	if t.Mode == Normal {
		cn.Calling, cn.Called = t.CallingSession, t.CalledSession
	}
	if len(cp) > session.MaxVersion1 {
		cn.Versions = session.Version2
	}
	if err := s.Send(cn); err != nil {
		return nil, err
	}
	answer, err := s.Receive()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("rtse: waiting for the association to be accepted: %w", err)
	}
	switch answer.Type {
	case session.AC:
		return a, a.opened(answer, o)
	case session.RF:
		return nil, a.refused(answer)
	case session.AB:
		return nil, a.aborted(answer)
	}
	return nil, fmt.Errorf("rtse: %s where the association was to be accepted", answer)
}

// connect is the presentation connect around the RTORQ.
func (a *Association) connect(t Terms, o open) ([]byte, error) {
	var w ber.Writer
	if a.mode != Normal {
		o.members(&w, true)
		members, err := w.Bytes()
		if err != nil {
			return nil, err
		}
		return presentation.Connect{X410: members}.Append(false)
	}
	w.Cons(ber.Context(tagRTORQ), func() { o.members(&w, true) })
	rtorq, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	aarq, err := acse.APDU{Kind: acse.AARQ, Context: acse.MTSTransfer, User: rtorq, UserContext: a.contexts.rtse}.Append(presentation.BER)
	if err != nil {
		return nil, err
	}
	transfer := []ber.OID{presentation.BER}
	return presentation.Connect{
		Normal: true, Calling: t.CallingPresentation, Called: t.CalledPresentation,
		Contexts: []presentation.Context{{ID: a.contexts.acse, Abstract: acse.AbstractSyntax, Transfer: transfer},
			{ID: a.contexts.rtse, Abstract: asRTSE, Transfer: transfer}, {ID: a.contexts.mtse, Abstract: asMTSE, Transfer: transfer}},
		UserData: []presentation.PDV{{Context: a.contexts.acse, Single: aarq}},
	}.Append(false)
}

// opened takes the peer's acceptance.
func (a *Association) opened(ac *session.SPDU, asked open) error {
	if ac.Requirements == nil || *ac.Requirements&session.ForRTSE != session.ForRTSE {
		return fmt.Errorf("rtse: the peer's session has not the functional units that reliable transfer needs")
	}
	a.s.Limit(ac.MaxTSDU[0])
	cpa, err := presentation.ParseConnect(ac.UserData, false)
	if err != nil {
		return err
	}
	var rtoac open
	switch {
	case cpa.Normal != (a.mode == Normal):
		return fmt.Errorf("rtse: the peer answered in another mode")
	case cpa.Normal:
		for i, r := range cpa.Results {
			if r.Result != presentation.ResultAccepted {
				return fmt.Errorf("rtse: the peer did not accept presentation context %d", 2*i+1)
			}
		}
		aare, err := association(cpa.UserData, acse.AARE)
		if err != nil {
			return err
		}
		if aare.Result != acse.Accepted {
			return &Refused{Reason: refuseNotSaid, Where: "association control"}
		}
		d := ber.NewDecoder(aare.User, ber.DefaultLimits)
		root := d.Root()
		if !root.Is(ber.Context(tagRTOAC)) {
			root.Failf("no RTOAC")
		}
		rtoac = parseOpen(root, false)
		if d.Err() != nil {
			return fmt.Errorf("rtse: RTOAC: %w", d.Err())
		}
	default:
		if rtoac, err = bare(cpa.X410, false); err != nil {
			return err
		}
	}
	a.user = rtoac.user
	a.twa = asked.twa
	a.agree(rtoac)
	a.version = ac.Versions
	return nil
}

// bare reads the members of an RTORQ or RTOAC that stand without a header of their own.
func bare(members []byte, request bool) (open, error) {
	d := ber.NewDecoder(append(ber.AppendHeader(nil, ber.Set, true, len(members)), members...), ber.DefaultLimits)
	o := parseOpen(d.Root(), request)
	if d.Err() != nil {
		return o, fmt.Errorf("rtse: %w", d.Err())
	}
	return o, nil
}

// association finds the association control APDU among the values of a connect.
func association(values []presentation.PDV, want acse.Kind) (acse.APDU, error) {
	if len(values) != 1 || values[0].Single == nil {
		return acse.APDU{}, fmt.Errorf("rtse: %d values where the %s is", len(values), want)
	}
	apdu, err := acse.Parse(values[0].Single)
	if err == nil && apdu.Kind != want {
		err = fmt.Errorf("rtse: %s where the %s was due", apdu.Kind, want)
	}
	if err == nil && (want == acse.AARQ || want == acse.AARE) && apdu.User == nil && apdu.Result == acse.Accepted {
		err = fmt.Errorf("rtse: %s without user information", want)
	}
	return apdu, err
}

// agree settles checkpoints and window (X.228 7.1.4). The answerer decides; when it names a size although none was
// asked for, as some do (KB Q118566), then so be it.
func (a *Association) agree(answered open) {
	const most = 1 << 20 // KB; beyond it there are no checkpoints to speak of
	a.checkpoint = int(min(answered.checkpoint, most)) * 1024
	a.window = int(min(answered.window, 1000))
}

// refused reads a refusal, whose reason may come from any layer.
func (a *Association) refused(rf *session.SPDU) error {
	r := &Refused{Reason: refuseNotSaid}
	if len(rf.Reason) > 0 && rf.Reason[0] != 2 {
		r.Where = fmt.Sprintf("session (reason %d)", rf.Reason[0])
		if rf.Reason[0] == 1 || rf.Reason[0] == 0x80+3 {
			r.Reason = Busy
		}
		return r
	}
	if len(rf.UserData) == 0 {
		r.Where = "session user"
		return r
	}
	cpr, err := presentation.ParseConnect(rf.UserData, true)
	if err != nil {
		return err
	}
	members := cpr.X410
	if cpr.Normal {
		if cpr.Refused != nil {
			r.Where = fmt.Sprintf("presentation (reason %d)", *cpr.Refused)
			return r
		}
		aare, err := association(cpr.UserData, acse.AARE)
		if err != nil {
			return err
		}
		if aare.User == nil {
			r.Where = fmt.Sprintf("association control (result %d, diagnostic %d)", aare.Result, aare.Diagnostic)
			return r
		}
		members = aare.User
	} else {
		members = append(ber.AppendHeader(nil, ber.Set, true, len(members)), members...)
	}
	d := ber.NewDecoder(members, ber.DefaultLimits)
	for m := range d.Root().All() {
		switch m.Tag {
		case ber.Context(0):
			r.Reason = RefuseReason(m.Int())
		case ber.Context(1):
			r.User = m.Only().Raw
		}
	}
	if d.Err() != nil {
		return fmt.Errorf("rtse: RTORJ: %w", d.Err())
	}
	return r
}
