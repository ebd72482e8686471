package decode

import "backbone/connectors/x400/ber"

func c(n uint32) ber.Tag { return ber.Context(n) }
func a(n uint32) ber.Tag { return ber.Application(n) }

var (
	tTime = &asn{}
	tInt  = &asn{}
	tOID  = &asn{}
	tT61  = &asn{t61: true}
)

// Connection establishment: X.226, X.227, X.228, X.411 clause 12.1.
var (
	tCredentials = &asn{secret: true}
	tBindFields  = &asn{members: map[ber.Tag]member{c(0): {name: "mta-name"}, c(1): {name: "credentials", t: tCredentials, explicit: true}, c(2): {name: "security-context"}}}
	tBind        = &asn{name: "CHOICE", members: map[ber.Tag]member{c(1): {t: tBindFields}, c(16): {t: tBindInner}, c(17): {t: tBindInner}, c(18): {t: tBindErr}}}
	tBindInner   = &asn{members: map[ber.Tag]member{c(1): {name: "authenticated", t: tBindFields}, ber.Null: {name: "unauthenticated"}}}
	tBindErr     = &asn{members: map[ber.Tag]member{ber.Integer: {name: "mta-bind-error", t: &asn{values: map[int64]string{0: "busy", 2: "authentication-error",
		3: "unacceptable-dialogue-mode", 4: "unacceptable-security-context", 5: "inadequate-association-confidentiality"}}}}}
	tConnectionData = &asn{members: map[ber.Tag]member{c(0): {name: "open", t: tBind, explicit: true}, c(1): {name: "recover"}}}
	tRefuse         = &asn{values: map[int64]string{0: "rtsBusy", 1: "cannotRecover", 2: "validationFailure", 3: "unacceptableDialogueMode"}}
	tDialogue       = &asn{values: map[int64]string{0: "monologue", 1: "twa"}}
	tRTORQ          = &asn{members: map[ber.Tag]member{c(0): {name: "checkpointSize", t: tInt}, c(1): {name: "windowSize", t: tInt}, c(2): {name: "dialogueMode", t: tDialogue},
		c(3): {name: "connectionData", t: tConnectionData}, c(4): {name: "applicationProtocol", t: tInt}}}
	tRTOAC = &asn{members: map[ber.Tag]member{c(0): {name: "checkpointSize", t: tInt}, c(1): {name: "windowSize", t: tInt}, c(2): {name: "connectionData", t: tConnectionData}}}
	tRTORJ = &asn{members: map[ber.Tag]member{c(0): {name: "refuseReason", t: tRefuse}, c(1): {name: "userDataRJ", t: tRJ, explicit: true}}}
	tRJ    = &asn{name: "CHOICE", members: map[ber.Tag]member{c(18): {t: tBindErr}}}
	tRTAB  = &asn{members: map[ber.Tag]member{c(0): {name: "abortReason", t: &asn{values: map[int64]string{0: "localSystemProblem", 1: "invalidParameter", 2: "unrecognizedActivity",
		3: "temporaryProblem", 4: "protocolError", 5: "permanentProblem", 6: "userError", 7: "transferCompleted"}}}}}
	tRTSE     = &asn{name: "CHOICE", members: map[ber.Tag]member{c(16): {t: tRTORQ}, c(17): {t: tRTOAC}, c(18): {t: tRTORJ}, c(22): {t: tRTAB}}}
	tUserInfo = &asn{of: &member{name: "EXTERNAL", t: &asn{members: map[ber.Tag]member{ber.ObjectIdentifier: {name: "direct-reference"}, ber.Integer: {name: "indirect-reference"},
		c(0): {name: "reliable transfer", t: tRTSE, explicit: true}}}}}
	tAssociate = &asn{members: map[ber.Tag]member{c(0): {name: "protocol-version"}, c(1): {name: "aSO-context-name", explicit: true},
		c(2):  {name: "result", t: &asn{values: map[int64]string{0: "accepted", 1: "rejected-permanent", 2: "rejected-transient"}}, explicit: true},
		c(3):  {name: "result-source-diagnostic", t: &asn{members: map[ber.Tag]member{c(1): {name: "acse-service-user", explicit: true}, c(2): {name: "acse-service-provider", explicit: true}}}},
		c(30): {name: "user-information", t: tUserInfo}}}
	tRequest = &asn{members: map[ber.Tag]member{c(1): {name: "aSO-context-name", explicit: true}, c(30): {name: "user-information", t: tUserInfo}}}
	tRelease = &asn{members: map[ber.Tag]member{c(0): {name: "reason", t: tInt}, c(30): {name: "user-information", t: tUserInfo}}}
	tABRT    = &asn{members: map[ber.Tag]member{c(0): {name: "abort-source", t: &asn{values: map[int64]string{0: "acse-service-user", 1: "acse-service-provider"}}}, c(30): {name: "user-information", t: tUserInfo}}}
	tACSE    = &asn{name: "CHOICE", members: map[ber.Tag]member{a(0): {name: "AARQ", t: tRequest}, a(1): {name: "AARE", t: tAssociate}, a(2): {name: "RLRQ", t: tRelease},
		a(3): {name: "RLRE", t: tRelease}, a(4): {name: "ABRT", t: tABRT}}}
	tPDV = &asn{members: map[ber.Tag]member{ber.ObjectIdentifier: {name: "transfer-syntax-name"}, ber.Integer: {name: "presentation-context-identifier"},
		c(0): {name: "value", t: &asn{members: tACSE.members}}}}
	tUserData = &asn{name: "user-data", of: &member{name: "PDV-list", t: tPDV}}
	tNormal   = &asn{members: map[ber.Tag]member{c(1): {name: "calling-presentation-selector"}, c(2): {name: "called-presentation-selector"}, c(3): {name: "responding-presentation-selector"},
		c(4): {name: "presentation-context-definition-list", t: &asn{of: &member{name: "context", t: &asn{order: []member{{name: "identifier"}, {name: "abstract-syntax-name"}, {name: "transfer-syntax-names"}}}}}},
		c(5): {name: "presentation-context-definition-result-list", t: &asn{of: &member{name: "context", t: &asn{members: map[ber.Tag]member{
			c(0): {name: "result", t: &asn{values: map[int64]string{0: "acceptance", 1: "user-rejection", 2: "provider-rejection"}}}, c(1): {name: "transfer-syntax-name", t: tOID},
			c(2): {name: "provider-reason", t: tInt}}}}}},
		c(10): {name: "provider-reason", t: tInt}, a(1): {name: "user-data", t: tUserData}}}
	tMode = &asn{members: map[ber.Tag]member{c(0): {name: "mode-value", t: &asn{values: map[int64]string{0: "x410-mode", 1: "normal-mode"}}}}}
	tCP   = &asn{name: "presentation connect", members: map[ber.Tag]member{c(0): {name: "mode-selector", t: tMode}, c(1): {name: "x410-mode-parameters", t: tX410},
		c(2): {name: "normal-mode-parameters", t: tNormal}}}
	// The members of RTORQ and RTOAC share tags: [2] is a number in one and connection data in the other.
	tX410 = &asn{members: map[ber.Tag]member{c(0): {name: "checkpointSize", t: tInt}, c(1): {name: "windowSize", t: tInt}, c(2): {name: "dialogueMode or connectionData", t: tConnectionData},
		c(3): {name: "connectionData", t: tConnectionData}, c(4): {name: "applicationProtocol", t: tInt}}}
	tCPR   = &asn{name: "presentation refuse", members: merged(tNormal.members, tRTORJ.members)}
	tAbort = &asn{name: "presentation abort", members: map[ber.Tag]member{a(1): {name: "user-data", t: tUserData}, c(0): {name: "reason or contexts"}}}
)

func merged(all ...map[ber.Tag]member) map[ber.Tag]member {
	out := map[ber.Tag]member{}
	for _, m := range all {
		for t, x := range m {
			if _, there := out[t]; !there {
				out[t] = x
			}
		}
	}
	return out
}

// Message transfer: X.411 clause 12.2 and annex A.
var (
	tORName   = &asn{order: []member{{name: "built-in-standard-attributes", t: tStandard}, {name: "built-in-domain-defined-attributes", t: tDDAs}}, members: map[ber.Tag]member{ber.Set: {name: "extension-attributes", t: tAttributes}, c(0): {name: "directory-name"}}}
	tStandard = &asn{members: map[ber.Tag]member{a(1): {name: "country-name", explicit: true}, a(2): {name: "administration-domain-name", explicit: true}, c(0): {name: "network-address"},
		c(1): {name: "terminal-identifier"}, c(2): {name: "private-domain-name", explicit: true}, c(3): {name: "organization-name"}, c(4): {name: "numeric-user-identifier"},
		c(5): {name: "personal-name", t: &asn{members: map[ber.Tag]member{c(0): {name: "surname"}, c(1): {name: "given-name"}, c(2): {name: "initials"}, c(3): {name: "generation-qualifier"}}}},
		c(6): {name: "organizational-unit-names", t: &asn{of: &member{name: "organizational-unit-name"}}}}}
	tDDAs       = &asn{of: &member{name: "domain-defined-attribute", t: &asn{order: []member{{name: "type"}, {name: "value"}}}}}
	tAttributes = &asn{of: &member{name: "extension-attribute", t: &asn{members: map[ber.Tag]member{c(0): {name: "type", t: &asn{values: attributeNames}}, c(1): {name: "value", explicit: true}}}}}
	tGDI        = &asn{members: map[ber.Tag]member{a(1): {name: "country-name", explicit: true}, a(2): {name: "administration-domain-name", explicit: true}}, order: []member{{name: "private-domain-identifier"}}}
	tMTSID      = &asn{members: map[ber.Tag]member{a(3): {name: "global-domain-identifier", t: tGDI}, ber.IA5String: {name: "local-identifier"}}}
	tAction     = &asn{values: map[int64]string{0: "relayed", 1: "rerouted"}}
	tSupplied   = &asn{members: map[ber.Tag]member{c(0): {name: "arrival-time", t: tTime}, c(2): {name: "routing-action", t: tAction}, a(3): {name: "attempted-domain", t: tGDI},
		c(1): {name: "deferred-time", t: tTime}, a(5): {name: "converted-encoded-information-types", t: tEITs}, c(3): {name: "other-actions", t: &asn{bits: []string{"redirected", "dl-operation"}}}}}
	tTrace = &asn{of: &member{name: "TraceInformationElement", t: &asn{members: map[ber.Tag]member{a(3): {name: "global-domain-identifier", t: tGDI}, ber.IA5String: {name: "mta-name"},
		ber.Set: {name: "supplied-information", t: tSupplied}}}}}
	tEITs        = &asn{members: map[ber.Tag]member{c(0): {name: "built-in", t: &asn{bits: []string{"unknown", "telex", "ia5-text", "g3-facsimile", "g4-class-1", "teletex", "videotex", "voice", "sfd", "mixed-mode"}}}, c(4): {name: "extended", t: &asn{of: &member{}}}}}
	tContentType = &asn{values: map[int64]string{0: "unidentified", 1: "external", 2: "interpersonal-messaging-1984", 22: "interpersonal-messaging-1988", 35: "edi-messaging", 40: "voice-messaging"}}
	tExtensions  = &asn{of: &member{name: "ExtensionField", t: &asn{members: map[ber.Tag]member{c(0): {name: "standard-extension", t: &asn{values: extensionNames}, explicit: true}, c(3): {name: "private-extension", t: tOID, explicit: true},
		c(1): {name: "criticality", t: &asn{bits: []string{"for-submission", "for-transfer", "for-delivery"}}}, c(2): {name: "value", explicit: true}}}}}
	tIndicators = &asn{bits: []string{"responsibility", "originating-MTA-report", "originating-MTA-non-delivery-report", "originator-report", "originator-non-delivery-report"}}
	tRecipient  = &asn{members: map[ber.Tag]member{a(0): {name: "recipient-name", t: tORName}, c(0): {name: "originally-specified-recipient-number", t: tInt},
		c(1): {name: "per-recipient-indicators", t: tIndicators}, c(2): {name: "explicit-conversion", t: tInt}, c(3): {name: "extensions", t: tExtensions}}}
	perMessage = map[ber.Tag]member{a(4): {name: "message-identifier", t: tMTSID}, a(0): {name: "originator-name", t: tORName}, a(5): {name: "original-encoded-information-types", t: tEITs},
		a(6): {name: "content-type", t: tContentType}, ber.ObjectIdentifier: {name: "content-type"}, a(10): {name: "content-identifier"},
		a(7): {name: "priority", t: &asn{values: map[int64]string{0: "normal", 1: "non-urgent", 2: "urgent"}}},
		a(8): {name: "per-message-indicators", t: &asn{bits: []string{"disclosure-of-other-recipients", "implicit-conversion-prohibited", "alternate-recipient-allowed", "content-return-request"}}},
		c(0): {name: "deferred-delivery-time", t: tTime}, c(1): {name: "per-domain-bilateral-information"}, a(9): {name: "trace-information", t: tTrace},
		c(3): {name: "extensions", t: tExtensions}, c(2): {name: "per-recipient-fields", t: &asn{of: &member{name: "recipient", t: tRecipient}}}}
	tEnvelope       = &asn{members: perMessage}
	tProbe          = &asn{members: merged(map[ber.Tag]member{a(4): {name: "probe-identifier", t: tMTSID}, c(0): {name: "content-length", t: tInt}}, perMessage)}
	tMessage        = &asn{members: map[ber.Tag]member{ber.Set: {name: "envelope", t: tEnvelope}, ber.OctetString: {name: "content", t: tContent}}}
	tContent        = &asn{content: tInformationObject}
	tReport         = &asn{order: []member{{name: "envelope", t: tReportEnvelope}, {name: "content", t: tReportContent}}}
	tReportEnvelope = &asn{members: map[ber.Tag]member{a(4): {name: "report-identifier", t: tMTSID}, a(0): {name: "report-destination-name", t: tORName}, a(9): {name: "trace-information", t: tTrace}, c(1): {name: "extensions", t: tExtensions}}}
	tReportContent  = &asn{members: map[ber.Tag]member{a(4): {name: "subject-identifier", t: tMTSID}, a(9): {name: "subject-intermediate-trace-information", t: tTrace}, a(5): {name: "original-encoded-information-types", t: tEITs},
		a(6): {name: "content-type", t: tContentType}, a(10): {name: "content-identifier"}, c(1): {name: "returned-content", t: tContent}, c(2): {name: "additional-information"}, c(3): {name: "extensions", t: tExtensions},
		c(0): {name: "per-recipient-fields", t: &asn{of: &member{name: "recipient", t: tReported}}}}}
	tReported = &asn{members: map[ber.Tag]member{c(0): {name: "actual-recipient-name", t: tORName}, c(1): {name: "originally-specified-recipient-number", t: tInt}, c(2): {name: "per-recipient-indicators", t: tIndicators},
		c(3): {name: "last-trace-information", t: &asn{members: map[ber.Tag]member{c(0): {name: "arrival-time", t: tTime}, a(5): {name: "converted-encoded-information-types", t: tEITs},
			c(1): {name: "report-type", t: &asn{members: map[ber.Tag]member{c(0): {name: "delivery", t: &asn{members: map[ber.Tag]member{c(0): {name: "message-delivery-time", t: tTime}, c(1): {name: "type-of-MTS-user", t: tInt}}}},
				c(1): {name: "non-delivery", t: &asn{members: map[ber.Tag]member{c(0): {name: "non-delivery-reason-code", t: &asn{values: reasonNames}}, c(1): {name: "non-delivery-diagnostic-code", t: &asn{values: diagnosticNames}}}}}}}}}}},
		c(4): {name: "originally-intended-recipient-name", t: tORName}, c(5): {name: "supplementary-information"}, c(6): {name: "extensions", t: tExtensions}}}
	tMTSAPDU = &asn{name: "CHOICE", members: map[ber.Tag]member{c(0): {name: "message", t: tMessage}, c(1): {name: "report", t: tReport}, c(2): {name: "probe", t: tProbe}}}
)

// Interpersonal messages: X.420.
var (
	tIPMID      = &asn{members: map[ber.Tag]member{a(0): {name: "user", t: tORName}, ber.PrintableString: {name: "user-relative-identifier"}}}
	tDescriptor = &asn{members: map[ber.Tag]member{a(0): {name: "formal-name", t: tORName}, c(0): {name: "free-form-name", t: tT61}, c(1): {name: "telephone-number"}}}
	tSpecifier  = &asn{members: map[ber.Tag]member{c(0): {name: "recipient", t: tDescriptor}, c(1): {name: "notification-requests", t: &asn{bits: []string{"rn", "nrn", "ipm-return"}}}, c(2): {name: "reply-requested"}, c(3): {name: "recipient-extensions"}}}
	specifiers  = &asn{of: &member{name: "recipient-specifier", t: tSpecifier}}
	descriptors = &asn{of: &member{name: "or-descriptor", t: tDescriptor}}
	identifiers = &asn{of: &member{name: "ipm-identifier", t: tIPMID}}
	tHeading    = &asn{members: map[ber.Tag]member{a(11): {name: "this-IPM", t: tIPMID}, c(0): {name: "originator", t: tDescriptor}, c(1): {name: "authorizing-users", t: descriptors}, c(2): {name: "primary-recipients", t: specifiers},
		c(3): {name: "copy-recipients", t: specifiers}, c(4): {name: "blind-copy-recipients", t: specifiers}, c(5): {name: "replied-to-IPM", t: tIPMID}, c(6): {name: "obsoleted-IPMs", t: identifiers}, c(7): {name: "related-IPMs", t: identifiers},
		c(8): {name: "subject", t: tT61, explicit: true}, c(9): {name: "expiry-time", t: tTime}, c(10): {name: "reply-time", t: tTime}, c(11): {name: "reply-recipients", t: descriptors},
		c(12): {name: "importance", t: &asn{values: map[int64]string{0: "low", 1: "normal", 2: "high"}}}, c(13): {name: "sensitivity", t: &asn{values: map[int64]string{1: "personal", 2: "private", 3: "company-confidential"}}},
		c(14): {name: "auto-forwarded"}, c(15): {name: "extensions", t: &asn{of: &member{name: "extension", t: &asn{order: []member{{name: "type"}, {name: "value"}}}}}}}}
	tText     = &asn{order: []member{{name: "parameters"}, {name: "data"}}}
	tExternal = &asn{members: map[ber.Tag]member{ber.ObjectIdentifier: {name: "direct-reference"}, ber.Integer: {name: "indirect-reference"}, c(0): {name: "single-ASN1-type", explicit: true}, c(1): {name: "octet-aligned"}, c(2): {name: "arbitrary"}}}
	tExtended = &asn{members: map[ber.Tag]member{c(0): {name: "parameters", t: tExternal}, ber.ExternalType: {name: "data", t: tExternal}}}
	tForward  = &asn{order: []member{{name: "parameters"}, {name: "data"}}} // of type tIPM: see init
	tBody     = &asn{members: map[ber.Tag]member{c(0): {name: "ia5-text", t: tText}, c(3): {name: "g3-facsimile"}, c(4): {name: "g4-class1"}, c(5): {name: "teletex", t: tText}, c(6): {name: "videotex", t: tText},
		c(7): {name: "nationally-defined"}, c(8): {name: "encrypted"}, c(9): {name: "message", t: tForward}, c(11): {name: "mixed-mode"}, c(14): {name: "bilaterally-defined"}, c(15): {name: "extended", t: tExtended}}}
	tIPM = &asn{order: []member{{name: "heading", t: tHeading}, {name: "body", t: tBody}}}
	tIPN = &asn{members: map[ber.Tag]member{a(11): {name: "subject-ipm", t: tIPMID}, c(1): {name: "ipn-originator", t: tDescriptor}, c(2): {name: "ipm-intended-recipient", t: tDescriptor}, a(5): {name: "conversion-eits", t: tEITs},
		c(0): {name: "choice", t: &asn{members: map[ber.Tag]member{
			c(0): {name: "non-receipt-fields", t: &asn{members: map[ber.Tag]member{c(0): {name: "non-receipt-reason", t: &asn{values: map[int64]string{0: "ipm-discarded", 1: "ipm-auto-forwarded"}}}, c(1): {name: "discard-reason", t: tInt}, c(2): {name: "auto-forward-comment"}, c(3): {name: "returned-ipm", t: tIPM}}}},
			c(1): {name: "receipt-fields", t: &asn{members: map[ber.Tag]member{c(0): {name: "receipt-time", t: tTime}, c(1): {name: "acknowledgment-mode", t: &asn{values: map[int64]string{0: "manual", 1: "automatic"}}}, c(2): {name: "suppl-receipt-info"}}}}}}}}}
	tInformationObject = &asn{name: "CHOICE", members: map[ber.Tag]member{c(0): {name: "ipm", t: tIPM}, c(1): {name: "ipn", t: tIPN}}}
)

// init ties the knot that package variables can't: a forwarded message is a message.
func init() { tForward.order[1].t = tIPM }
