package integration

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// overWire is overX400 in a mode, and from Site A three ways more: to PO8, which Site B knows nothing of, to PO7 with a wrong
// password, and with the responder at another address than the caller, since tshark keeps the two directions of a
// connection apart by address only.
func overWire(mode string) func(self, peer *site, selfName, peerName, peerPO string) string {
	return func(self, peer *site, selfName, peerName, peerPO string) string {
		for _, s := range []*site{self, peer} {
			s.link = strings.Replace(s.link, "127.0.0.1:", "127.0.0.2:", 1)
		}
		s := overX400In(mode)(self, peer, selfName, peerName, peerPO)
		if selfName == "SITEA" {
			s = strings.Replace(s, `{ address = "MS:NET/PO2" }`, `{ address = "MS:NET/PO2" }, { address = "MS:NET/PO8" }`, 1)
			s += fmt.Sprintf("\n[connector.wrong]\ntype = \"x400\"\nmode = %q\npeer = %q\nremote_mta = \"SITEB\"\nlocal_password = \"guess\"\nremote_password = \"secret\"\nspace = [ { address = \"MS:NET/PO7\" } ]\n",
				mode, peer.link)
		}
		return s
	}
}

// apdu is an MTS-APDU as it was sent, and as tshark shows it.
type apdu struct {
	Kind, ID, Originator, Recipients, ContentType, Subject string
	About                                                  string // reports
}

// traffic makes Site A send one of everything, waits until Site B has done its part, and gives what must have gone over the
// wire.
func traffic(t *testing.T, a, b *site, mode string) []apdu {
	t.Helper()
	content := map[string]string{"1984": "2"}[mode]
	if content == "" {
		content = "22"
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, []byte("Subject: ten megabytes\nFrom: <asmith@sitea.example>\n\n"+strings.Repeat(strings.Repeat("0123456789", 7)+"\n", 10<<20/71+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	var want []apdu
	send := func(subject string, args []string, to ...string) string {
		args = append([]string{"send", "--from", "MS:NET/PO1/ASMITH", "--subject", subject}, args...)
		for _, r := range to {
			args = append(args, "--to", "MS:"+r)
		}
		id := strings.TrimSpace(a.backbone(args...))
		want = append(want, apdu{Kind: "message", ID: id, Originator: "NET/PO1/ASMITH", Recipients: strings.Join(to, " "), ContentType: content, Subject: subject})
		return id
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("Hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	send("plain", []string{"--file", text}, "NET/PO2/MKUMAR")
	send("several recipients", []string{"--file", text}, "NET/PO2/MKUMAR", "NET/PO2/JLEE", "NET/PO2/RIVERA")
	send("ten megabytes", []string{"--file", large}, "NET/PO2/MKUMAR")
	good := send("with a report", []string{"--file", text, "--notify", "success"}, "NET/PO2/MKUMAR")
	bad := send("to nobody", []string{"--file", text}, "NET/PO8/NOBODY")
	code, p, stderr := a.probe("MS:NET/PO2/MKUMAR", "--from", "MS:NET/PO1/ASMITH")
	if code != 0 {
		t.Fatalf("probe: %d, %+v, %s", code, p, stderr)
	}
	want = append(want, apdu{Kind: "probe", ID: p.ID, Originator: "NET/PO1/ASMITH", Recipients: "NET/PO2/MKUMAR", ContentType: content})
	for _, about := range []struct{ id, rcpt string }{{good, "NET/PO2/MKUMAR"}, {bad, "NET/PO8/NOBODY"}, {p.ID, "NET/PO2/MKUMAR"}} {
		want = append(want, apdu{Kind: "report", Originator: "NET/PO1/ASMITH", Recipients: about.rcpt, About: about.id})
	}
	if code, p, _ := a.probe("MS:NET/PO7/X"); code != 3 || !strings.Contains(p.Failure.Text, "refused the bind") {
		t.Fatalf("a wrong password: %d, %+v", code, p)
	}
	until(t, 30*time.Second, "everything arrives", func() bool {
		return len(delivered(t, b.po("NET/PO2"))) == 4 && len(delivered(t, a.po("NET/PO1"))) == 2
	})
	return want
}

// noPDV is what tshark says of each DATA TRANSFER in X.410 mode and 1984. Its presentation dissector looks for a PDV there, which
// these modes do not have, and stops.
const noPDV = "PRES: Internal error:can't get spdu type from session dissector"

// complaints are tshark's expert infos but for those about TCP's own business, with how often each stands.
func (r *recording) complaints() map[string]int {
	r.t.Helper()
	out := map[string]int{}
	line := regexp.MustCompile(`^ +(\d+) +(\S+) +(\S+) +(.*)$`)
	for l := range strings.Lines(r.tshark("-q", "-z", "expert")) {
		m := line.FindStringSubmatch(strings.TrimRight(l, "\n"))
		if m == nil || m[1] == "Frequency" || (m[3] == "TCP" && m[2] == "Sequence") {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			r.t.Fatal(err)
		}
		switch what := m[3] + ": " + m[4]; {
		case strings.HasPrefix(what, "COTP: Disconnect Request"): // how an association ends
		case strings.HasPrefix(what, "P22: BER: Dissector for OID not implemented"): // our own heading extensions, X.420 7.2.18
		default:
			out[what] += n
		}
	}
	return out
}

// decodedWhole checks that every octet to and from the ports was decoded as far as session or, with a handshake, further.
func (r *recording) decodedWhole() {
	r.t.Helper()
	// Only a second pass (-2) knows which fragments were put together later. What the kernel sends again was decoded before.
	filter := "tcp.len > 0 and not tpkt and not tcp.segment_data and not tcp.analysis.retransmission and not tcp.analysis.spurious_retransmission or tpkt and not cotp or tcp and data" +
		" or cotp.type == 0x0f and not ses and not cotp.reassembled_in or _ws.unreassembled or _ws.malformed.dissector_bug or _ws.malformed.reassembly"
	if got := r.tshark("-2", "-Y", filter); got != "" {
		r.t.Errorf("tshark shows packets that it does not decode or reassemble:\n%.2000s", got)
	}
}

// apdus are the MTS-APDUs that tshark finds.
func (r *recording) apdus() []apdu {
	r.t.Helper()
	var out []apdu
	for _, m := range r.rows("tpkt and cotp and ses and rtse and p1.MTS_APDU", "p1.MTS_APDU", "p1.local_identifier", "p1.value", "p1.originally_specified_recipient_number", "p1.built_in", "p22.subject", "p1.printable.type") {
		v := apdu{Kind: map[string]string{"0": "message", "1": "report", "2": "probe"}[m.one("p1.MTS_APDU")], ID: m.one("p1.local_identifier"),
			Originator: m.one("p1.value"), ContentType: m.one("p1.built_in"), Subject: m.one("p22.subject")}
		n := len(m["p1.originally_specified_recipient_number"])
		if len(m["p1.value"]) < 1+n || m.one("p1.printable.type") != "MS" {
			r.t.Errorf("an APDU without its names: %v", m)
			continue
		}
		v.Recipients = strings.Join(m["p1.value"][1:1+n], " ")
		if v.Kind == "report" && len(m["p1.local_identifier"]) > 1 {
			v.About = m["p1.local_identifier"][1]
		}
		out = append(out, v)
	}
	return out
}

// sameAPDUs compares, in any order. The reports' own identifiers are Site B's to give.
func sameAPDUs(t *testing.T, want, got []apdu) {
	t.Helper()
	for i := range got {
		if got[i].Kind == "report" {
			if !strings.HasPrefix(got[i].ID, "SITEB-") {
				t.Errorf("a report is named %q", got[i].ID)
			}
			got[i].ID = ""
		}
	}
	order := cmpopts.SortSlices(func(a, b apdu) bool { return a.Kind+a.ID+a.About < b.Kind+b.ID+b.About })
	if diff := cmp.Diff(want, got, order); diff != "" {
		t.Errorf("sent (-) and shown by tshark (+):\n%s", diff)
	}
}

// values are those of fields in a whole recording, each once.
func (r *recording) values(fields ...string) map[string][]string {
	r.t.Helper()
	out := map[string][]string{}
	for _, m := range r.rows(strings.Join(fields, " or "), fields...) {
		for f, v := range m {
			out[f] = append(out[f], v...)
		}
	}
	for f := range out {
		slices.Sort(out[f])
		out[f] = slices.Compact(out[f])
	}
	return out
}

func TestAnotherDecoderReadsALiveCaptureOfEachMode(t *testing.T) {
	for mode, protocol := range map[string]string{"normal": "", "x410": "12", "1984": "1"} {
		t.Run(mode, func(t *testing.T) {
			a, b := pair(t, overWire(mode))
			c := capture(t, a.link, b.link)
			want := traffic(t, a, b, mode)
			a.stop() // which releases its associations
			b.stop()
			r := c.end()

			r.decodedWhole()
			wantFields := map[string][]string{
				"p1.authenticated.initiator-name": {"SITEA", "SITEB"}, "p1.authenticated.responder-name": {"SITEA", "SITEB"},
				"rtse.checkpointSize": {"30"}, "rtse.windowSize": {"5"}, "rtse.dialogueMode": {"0"},
				"p1.MTABindError":           {"2"}, // authentication-error
				"rtse.refuseReason":         nil,
				"rtse.applicationProtocol":  nil,
				"acse.aSO_context_name":     {"2.6.0.1.6"},                            // id-ac-mts-transfer
				"pres.abstract_syntax_name": {"2.2.1.0.1", "2.6.0.2.12", "2.6.0.2.7"}, // ACSE, RTSE with the bind, MTSE
			}
			if mode != "normal" {
				wantFields["acse.aSO_context_name"], wantFields["pres.abstract_syntax_name"] = nil, nil
				wantFields["p1.MTABindError"], wantFields["rtse.refuseReason"] = nil, []string{"2"} // validationFailure
				wantFields["rtse.applicationProtocol"] = []string{protocol}
			}
			got := r.values(slices.Collect(maps.Keys(wantFields))...)
			for field, want := range wantFields {
				if !slices.Equal(got[field], want) {
					t.Errorf("%s: %q, want %q", field, got[field], want)
				}
			}
			points := 0
			for _, m := range r.rows("ses.type == 49", "ses.type") {
				points += strings.Count(strings.Join(m["ses.type"], " "), "49")
			}
			if points < 10<<20/(30<<10) {
				t.Errorf("%d checkpoints, ten megabytes have %d", points, 10<<20/(30<<10))
			}
			complaints := r.complaints()
			if mode == "normal" {
				if len(complaints) > 0 {
					t.Errorf("tshark complains: %v", complaints)
				}
				sameAPDUs(t, want, r.apdus())
				return
			}
			if got := complaints[noPDV]; got <= points || len(complaints) != 1 {
				t.Errorf("tshark complains of more than the missing PDVs: %v", complaints)
			}
			if got := r.tshark("-Y", "_ws.malformed and not ses.type == 1"); got != "" {
				t.Errorf("malformed, and no DATA TRANSFER:\n%.2000s", got)
			}
			// The same octets in a connection that it can read.
			again := inNormalMode(t, r.transfers())
			again.decodedWhole()
			if got := again.complaints(); len(got) > 0 {
				t.Errorf("tshark complains of the transfers: %v", got)
			}
			sameAPDUs(t, want, again.apdus())
		})
	}
}

func TestTheOtherDecoderCantReadForeignTransfersInX410ModeEither(t *testing.T) {
	r := foreignTransfer(t)
	if got := r.complaints(); got[noPDV] != 1 || len(got) != 1 {
		t.Errorf("tshark says of PP's transfer: %v; if it can read it now, let it read ours", got)
	}
}
