package p1

import (
	"fmt"
	"time"

	"backbone/connectors/x400/ber"
)

// Numbers of the standard extensions (X.411 annex A) that have a meaning here; the others are relayed as they are.
const (
	ExtReassignmentProhibited   = 1
	ExtAlternateRecipient       = 2
	ExtDLExpansionProhibited    = 3
	ExtConversionLossProhibited = 4
	ExtLatestDelivery           = 5
	ExtRequestedDeliveryMethod  = 6
	ExtOriginatorReturnAddress  = 13
	ExtContentCorrelator        = 23
	ExtRedirectionHistory       = 25
	ExtDLExpansionHistory       = 26
	ExtOriginatorAndDLHistory   = 30
	ExtReportingDLName          = 31
	ExtTrace                    = 37
	ExtInternalTrace            = 38
	ExtReportingMTAName         = 39
	ExtBlindCopyRecipients      = 41
	ExtDLExemptedRecipients     = 42
)

// extensionNames are for those who read a decoded APDU.
var extensionNames = map[int64]string{
	1: "recipient-reassignment-prohibited", 2: "originator-requested-alternate-recipient", 3: "dl-expansion-prohibited",
	4: "conversion-with-loss-prohibited", 5: "latest-delivery-time", 6: "requested-delivery-method", 7: "physical-forwarding-prohibited",
	8: "physical-forwarding-address-request", 9: "physical-delivery-modes", 10: "registered-mail-type", 11: "recipient-number-for-advice",
	12: "physical-rendition-attributes", 13: "originator-return-address", 14: "physical-delivery-report-request", 15: "originator-certificate",
	16: "message-token", 17: "content-confidentiality-algorithm-identifier", 18: "content-integrity-check",
	19: "message-origin-authentication-check", 20: "message-security-label", 21: "proof-of-submission-request", 22: "proof-of-delivery-request",
	23: "content-correlator", 24: "probe-origin-authentication-check", 25: "redirection-history", 26: "dl-expansion-history",
	27: "physical-forwarding-address", 28: "recipient-certificate", 29: "proof-of-delivery", 30: "originator-and-DL-expansion-history",
	31: "reporting-DL-name", 32: "reporting-MTA-certificate", 33: "report-origin-authentication-check", 34: "originating-MTA-certificate",
	35: "proof-of-submission", 37: "trace-information", 38: "internal-trace-information", 39: "reporting-MTA-name",
	40: "multiple-originator-certificates", 41: "blind-copy-recipients", 42: "dl-exempted-recipients", 45: "certificate-selectors",
	46: "certificate-selectors-override",
}

// Criticality bits: an element that does not understand a critical extension must not do what the bit names.
const (
	CriticalForSubmission = 0
	CriticalForTransfer   = 1
	CriticalForDelivery   = 2
)

// Extension is an ExtensionField.
type Extension struct {
	Number   int64   // of a standard extension, when Private is ""
	Private  ber.OID // of a private one
	Critical ber.Bits
	Value    []byte // one element; nil is NULL
}

// String is the extension's name.
func (x Extension) String() string {
	if x.Private != "" {
		return "private " + string(x.Private)
	}
	if n := extensionNames[x.Number]; n != "" {
		return n
	}
	return fmt.Sprintf("extension %d", x.Number)
}

// Find gives the standard extension n.
func Find(all []Extension, n int64) (Extension, bool) {
	for _, x := range all {
		if x.Private == "" && x.Number == n {
			return x, true
		}
	}
	return Extension{}, false
}

// understood are the extensions that this gateway acts on or may hand on in good conscience, in one list for envelopes
// and recipients. Anything else that is critical for what is about to be done forbids it.
var understood = map[int64]bool{
	ExtReassignmentProhibited: true, ExtAlternateRecipient: true, ExtDLExpansionProhibited: true, ExtConversionLossProhibited: true,
	ExtLatestDelivery: true, ExtRequestedDeliveryMethod: true, ExtOriginatorReturnAddress: true, ExtContentCorrelator: true,
	ExtRedirectionHistory: true, ExtDLExpansionHistory: true, ExtOriginatorAndDLHistory: true, ExtReportingDLName: true,
	ExtTrace: true, ExtInternalTrace: true, ExtReportingMTAName: true, ExtBlindCopyRecipients: true, ExtDLExemptedRecipients: true,
}

// Forbids gives the first extension that is critical for what bit names and that is not understood (X.411 9.2).
func Forbids(all []Extension, bit int) (Extension, bool) {
	for _, x := range all {
		if x.Critical.Has(bit) && (x.Private != "" || !understood[x.Number]) {
			return x, true
		}
	}
	return Extension{}, false
}

func readExtensions(e ber.Element) []Extension {
	var out []Extension
	for m := range e.All() {
		var x Extension
		for f := range m.All() {
			switch f.Tag {
			case ber.Context(0):
				if f.Constructed { // [0] EXPLICIT, as the text of 1988 had it
					f = f.Only()
				}
				x.Number = f.Int()
			case ber.Context(3):
				if f.Constructed {
					f = f.Only()
				}
				x.Private = f.OID()
			case ber.Context(1):
				x.Critical = f.Bits()
			case ber.Context(2):
				x.Value = f.Only().Raw
			}
		}
		out = append(out, x)
	}
	return out
}

// writeExtensions writes none as nothing: an empty SET upsets some peers (KB Q164049).
func writeExtensions(w *ber.Writer, t ber.Tag, all []Extension, o Options) {
	if len(all) == 0 || o.Stack1984 {
		return
	}
	w.Cons(t, func() {
		for _, x := range all {
			w.Cons(ber.Sequence, func() {
				switch {
				case x.Private != "":
					w.OID(ber.Context(3), x.Private)
				case o.ExplicitExtensionType:
					w.Cons(ber.Context(0), func() { w.Int(ber.Integer, x.Number) })
				default:
					w.Int(ber.Context(0), x.Number)
				}
				if len(x.Critical.Bytes) > 0 {
					w.Bits(ber.Context(1), x.Critical)
				}
				if x.Value != nil {
					w.Cons(ber.Context(2), func() { w.Raw(x.Value) })
				}
			})
		}
	})
}

// LatestDelivery is the time after which the originator does not want delivery any more.
func LatestDelivery(all []Extension) (time.Time, bool) {
	x, ok := Find(all, ExtLatestDelivery)
	if !ok {
		return time.Time{}, false
	}
	d := ber.NewDecoder(x.Value, ber.DefaultLimits)
	t, ok := d.Root().Time()
	return t, ok && d.Err() == nil
}

// NewLatestDelivery is the extension for t, critical for delivery as X.411 recommends.
func NewLatestDelivery(t time.Time) (Extension, error) {
	var w ber.Writer
	w.Time(ber.UTCTime, t)
	b, err := w.Bytes()
	return Extension{Number: ExtLatestDelivery, Critical: ber.NewBits(8, CriticalForDelivery), Value: b}, err
}

// DLExpansion is one list that a message went through.
type DLExpansion struct {
	List ORName
	At   time.Time
}

// DLExpansionHistory are the lists that a message went through, oldest first.
func DLExpansionHistory(all []Extension) []DLExpansion {
	x, ok := Find(all, ExtDLExpansionHistory)
	if !ok {
		return nil
	}
	d := ber.NewDecoder(x.Value, ber.DefaultLimits)
	var out []DLExpansion
	for e := range d.Root().All() {
		var one DLExpansion
		for m := range e.All() {
			if m.Is(ber.UTCTime) {
				one.At, _ = m.Time()
			} else {
				one.List = ReadORName(m)
			}
		}
		out = append(out, one)
	}
	if d.Err() != nil {
		return nil
	}
	return out
}
