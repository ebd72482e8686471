package rtse

import (
	"bytes"
	"fmt"
	"slices"

	"backbone/connectors/x400/acse"
	"backbone/connectors/x400/ber"
	"backbone/connectors/x400/presentation"
	"backbone/connectors/x400/session"
)

// Call is a peer's wish for an association, which waits for its answer.
type Call struct {
	// Mode is what the peer speaks; in X.410 mode the application protocol tells 1984 from 1988, and Odd that it was
	// neither, as PP's byte order makes it: then the listener's own configuration decides.
	Mode Mode
	Odd  bool
	// TWA and Checkpoint (KB) are what it asks for; User is its bind argument.
	TWA                bool
	Checkpoint, Window int
	User               []byte
	// CalledSession and CalledPresentation are the selectors that it called.
	CalledSession, CalledPresentation []byte
	// Recover names the association whose transfer it wants to resume. Then there is no bind.
	Recover *session.Ref

	s        Session
	ref      session.Ref
	versions byte
	needs    session.Requirements
	maxTSDU  [2]uint16
	results  []presentation.Result
	contexts struct{ acse, rtse, mtse int64 }
	asked    open
}

// Accept waits for a peer's connect and reads it. When it can't be answered with an association, it has been refused
// and the error says why.
func Accept(s Session) (*Call, error) {
	cn, err := s.Receive()
	if err != nil {
		return nil, err
	}
	if cn.Type != session.CN {
		return nil, fmt.Errorf("rtse: %s where a connect was due", cn)
	}
	c := &Call{s: s, versions: cn.Versions, maxTSDU: cn.MaxTSDU, CalledSession: bytes.Clone(cn.Called)}
	c.ref = session.Ref{Calling: bytes.Clone(cn.Ref.Calling), Common: bytes.Clone(cn.Ref.Common), Additional: bytes.Clone(cn.Ref.Additional)}
	c.needs = session.HalfDuplex | session.MinorSync | session.Activity | session.CapabilityData | session.Exceptions // X.225's default
	if cn.Requirements != nil {
		c.needs = *cn.Requirements
	}
	if c.needs&session.ForRTSE != session.ForRTSE {
		return nil, c.refuse(0x80, nil, fmt.Errorf("rtse: the caller's session lacks functional units: %04x", uint16(c.needs)))
	}
	if cn.Versions&(session.Version1|session.Version2) == 0 {
		return nil, c.refuse(0x84, nil, fmt.Errorf("rtse: session versions %02x", cn.Versions))
	}
	if cn.Versions&session.Version2 == 0 && len(cn.UserData) > session.MaxVersion1 {
		return nil, c.refuse(0x80, nil, fmt.Errorf("rtse: %d octets of user data in session version 1", len(cn.UserData)))
	}
	wrongContext, err := c.read(bytes.Clone(cn.UserData))
	if err != nil {
		return nil, c.refuse(2, wrongContext, err)
	}
	return c, nil
}

// refuse sends a session refusal for err, which it gives back.
func (c *Call) refuse(reason byte, user []byte, err error) error {
	release := byte(1)
	needs := session.ForRTSE
	rf := &session.SPDU{Type: session.RF, Ref: c.answeredRef(), Transport: &release, Requirements: &needs, Reason: []byte{reason}, UserData: user}
	if sendErr := c.s.Send(rf); sendErr != nil && err == nil {
		return sendErr
	}
	return err
}

// answeredRef echoes the caller's references: its calling one as the called one.
func (c *Call) answeredRef() session.Ref {
	return session.Ref{Called: c.ref.Calling, Common: c.ref.Common, Additional: c.ref.Additional}
}

// read reads the connect. With an error may come what to answer it with.
func (c *Call) read(userData []byte) (answer []byte, err error) {
	cp, err := presentation.ParseConnect(userData, false)
	if err != nil {
		return nil, err
	}
	if !cp.Normal {
		if c.asked, err = bare(cp.X410, true); err != nil {
			return nil, err
		}
		c.Mode = X410
		switch c.asked.protocol {
		case protocol1984:
			c.Mode = P1984
		case protocol1988:
		default:
			c.Odd = true
		}
		c.fill()
		return nil, nil
	}
	c.CalledPresentation = cp.Called
	for _, def := range cp.Contexts {
		r := presentation.Result{Result: presentation.ResultAccepted, Transfer: presentation.BER, Reason: -1}
		var to *int64
		switch def.Abstract {
		case acse.AbstractSyntax:
			to = &c.contexts.acse
		case asRTSE:
			to = &c.contexts.rtse
		case asMTSE:
			to = &c.contexts.mtse
		}
		switch {
		case to == nil:
			r = presentation.Result{Result: presentation.ResultProviderRejected, Reason: 1}
		case !slices.Contains(def.Transfer, presentation.BER):
			r = presentation.Result{Result: presentation.ResultProviderRejected, Reason: 2}
		default:
			*to = def.ID
		}
		c.results = append(c.results, r)
	}
	if c.contexts.acse == 0 || c.contexts.rtse == 0 || c.contexts.mtse == 0 {
		return nil, fmt.Errorf("rtse: the caller does not offer the presentation contexts of P1")
	}
	aarq, err := association(cp.UserData, acse.AARQ)
	if err != nil {
		return nil, err
	}
	if aarq.Context != acse.MTSTransfer {
		answer, err := c.aare(acse.APDU{Result: acse.RejectedPermanent, Diagnostic: acse.DiagnosticContextUnknown}, true)
		if err == nil {
			err = fmt.Errorf("rtse: the caller wants application context %q", aarq.Context)
		}
		return answer, err
	}
	d := ber.NewDecoder(aarq.User, ber.DefaultLimits)
	root := d.Root()
	if !root.Is(ber.Context(tagRTORQ)) {
		root.Failf("no RTORQ")
	}
	c.asked = parseOpen(root, true)
	if d.Err() != nil {
		return nil, fmt.Errorf("rtse: RTORQ: %w", d.Err())
	}
	c.fill()
	return nil, nil
}

func (c *Call) fill() {
	c.TWA, c.User, c.Recover = c.asked.twa, c.asked.user, c.asked.recover
	c.Checkpoint, c.Window = int(c.asked.checkpoint), int(c.asked.window)
}

// aare wraps an answer for normal mode.
func (c *Call) aare(a acse.APDU, refuse bool) ([]byte, error) {
	a.Kind, a.Context, a.Reason, a.UserContext = acse.AARE, acse.MTSTransfer, -1, c.contexts.rtse
	b, err := a.Append(presentation.BER)
	if err != nil {
		return nil, err
	}
	return presentation.Connect{Normal: true, Results: c.results, UserData: []presentation.PDV{{Context: c.contexts.acse, Single: b}}}.Append(refuse)
}

// Accept opens the association on t, of which the smaller values win: no checkpoints when either side wants none.
// t.Mode stands when the caller's protocol was Odd. A two-way alternate dialogue that t does not allow must be refused.
func (c *Call) Accept(t Terms) (*Association, error) {
	if c.Odd {
		c.Mode = t.Mode
	}
	o := open{protocol: -1, user: t.User, window: int64(max(1, min(c.Window, t.Window))), recover: c.Recover}
	if c.Checkpoint > 0 && t.Checkpoint > 0 {
		o.checkpoint = int64(min(c.Checkpoint, t.Checkpoint))
	}
	a := &Association{s: c.s, mode: c.Mode, ref: c.ref, twa: c.TWA && t.TWA, user: c.User, contexts: c.contexts}
	a.agree(o)
	var w ber.Writer
	var user []byte
	var err error
	if c.Mode == Normal {
		w.Cons(ber.Context(tagRTOAC), func() { o.members(&w, false) })
		rtoac, encErr := w.Bytes()
		if encErr != nil {
			return nil, encErr
		}
		user, err = c.aare(acse.APDU{User: rtoac}, false)
	} else {
		o.members(&w, false)
		members, encErr := w.Bytes()
		if encErr != nil {
			return nil, encErr
		}
		user, err = presentation.Connect{X410: members}.Append(false)
	}
	if err != nil {
		return nil, err
	}
	// One version is chosen; PP chooses 2 when it may.
	a.version = session.Version1
	if c.versions&session.Version2 != 0 {
		a.version = session.Version2
	}
	needs := session.ForRTSE
	ac := &session.SPDU{Type: session.AC, Ref: c.answeredRef(), Versions: a.version, Requirements: &needs, UserData: user}
	if c.Mode == Normal {
		ac.Called = append([]byte{}, c.CalledSession...) // said even when empty, as PP does
	}
	if err := c.s.Send(ac); err != nil {
		return nil, err
	}
	c.s.Limit(c.maxTSDU[1])
	return a, nil
}

// Refuse answers no. In normal mode user is the bind error, one element, or nil; X.410 mode has only the reason.
func (c *Call) Refuse(reason RefuseReason, user []byte) error {
	var w ber.Writer
	var out []byte
	var err error
	if c.Mode == Normal {
		w.Cons(ber.Context(tagRTORJ), func() {
			if user == nil {
				w.Int(ber.Context(0), int64(reason))
			} else {
				w.Cons(ber.Context(1), func() { w.Raw(user) })
			}
		})
		rtorj, encErr := w.Bytes()
		if encErr != nil {
			return encErr
		}
		result := int64(acse.RejectedPermanent)
		if reason == Busy {
			result = acse.RejectedTransient
		}
		out, err = c.aare(acse.APDU{Result: result, Diagnostic: acse.DiagnosticNoReason, User: rtorj}, true)
	} else {
		w.Int(ber.Context(0), int64(reason))
		members, encErr := w.Bytes()
		if encErr != nil {
			return encErr
		}
		out, err = presentation.Connect{X410: members}.Append(true)
	}
	if err != nil {
		return err
	}
	return c.refuse(2, out, nil)
}
