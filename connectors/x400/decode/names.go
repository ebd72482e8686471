package decode

import "backbone/connectors/x400/ber"

var oidNames = map[ber.OID]string{
	"2.1.1": "ber", "2.2.1.0.1": "acse", "2.6.0.1.6": "id-ac-mts-transfer", "2.6.0.2.12": "id-as-mta-rtse", "2.6.0.2.7": "id-as-mtse",
	"2.6.1.4.0": "id-et-ia5-text", "2.6.1.4.2": "id-et-g3-facsimile", "2.6.1.4.4": "id-et-teletex", "2.6.1.4.7": "id-et-message", "2.6.1.4.9": "id-et-bilaterally-defined",
	"2.6.1.4.11": "id-et-general-text", "2.6.1.4.12": "id-et-file-transfer", "2.6.1.11.11": "id-ep-general-text", "2.6.1.11.12": "id-ep-file-transfer",
	"1.0.8571.5.3": "unstructured-binary", "1.3.26.0.4406.0.4.1": "id-nato-mmhs-cont-mm84", "1.2.840.113556.5.1": "Microsoft MDBEF",
}

var attributeNames = map[int64]string{1: "common-name", 2: "teletex-common-name", 3: "teletex-organization-name", 4: "teletex-personal-name", 5: "teletex-organizational-unit-names",
	6: "teletex-domain-defined-attributes", 7: "pds-name", 8: "physical-delivery-country-name", 9: "postal-code", 22: "extended-network-address", 23: "terminal-type",
	24: "universal-common-name", 25: "universal-organization-name", 26: "universal-personal-name", 27: "universal-organizational-unit-names", 28: "universal-domain-defined-attributes"}

var reasonNames = map[int64]string{0: "transfer-failure", 1: "unable-to-transfer", 2: "conversion-not-performed", 3: "physical-rendition-not-performed", 4: "physical-delivery-not-performed",
	5: "restricted-delivery", 6: "directory-operation-unsuccessful", 7: "deferred-delivery-not-performed", 8: "transfer-failure-for-security-reason"}

var diagnosticNames = map[int64]string{0: "unrecognised-OR-name", 1: "ambiguous-OR-name", 2: "mts-congestion", 3: "loop-detected", 4: "recipient-unavailable", 5: "maximum-time-expired",
	6: "encoded-information-types-unsupported", 7: "content-too-long", 8: "conversion-impractical", 9: "implicit-conversion-prohibited", 10: "implicit-conversion-not-subscribed",
	11: "invalid-arguments", 12: "content-syntax-error", 13: "size-constraint-violation", 14: "protocol-violation", 15: "content-type-not-supported", 16: "too-many-recipients",
	17: "no-bilateral-agreement", 18: "unsupported-critical-function", 19: "conversion-with-loss-prohibited", 20: "line-too-long", 21: "page-split", 22: "pictorial-symbol-loss",
	23: "punctuation-symbol-loss", 24: "alphabetic-character-loss", 25: "multiple-information-loss", 26: "recipient-reassignment-prohibited", 27: "redirection-loop-detected",
	28: "dl-expansion-prohibited", 29: "no-dl-submit-permission", 30: "dl-expansion-failure", 46: "secure-messaging-error", 47: "unable-to-downgrade", 48: "unable-to-complete-transfer",
	49: "transfer-attempts-limit-reached"}

var extensionNames = map[int64]string{1: "recipient-reassignment-prohibited", 2: "originator-requested-alternate-recipient", 3: "dl-expansion-prohibited", 4: "conversion-with-loss-prohibited",
	5: "latest-delivery-time", 6: "requested-delivery-method", 13: "originator-return-address", 15: "originator-certificate", 16: "message-token", 20: "message-security-label",
	23: "content-correlator", 25: "redirection-history", 26: "dl-expansion-history", 30: "originator-and-DL-expansion-history", 31: "reporting-DL-name", 37: "trace-information",
	38: "internal-trace-information", 39: "reporting-MTA-name", 41: "blind-copy-recipients", 42: "dl-exempted-recipients"}
