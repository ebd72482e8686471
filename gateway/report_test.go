package gateway_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/gateway"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/gateway/mail/dsn"
	"backbone/queue"
)

var unknownThere = &mail.Failure{Class: mail.Permanent, Scope: mail.ScopeRecipient, Code: 550, Enhanced: "5.1.1", Reason: 1, Diagnostic: 1, MSMail: 1, Peer: "550 5.1.1 no such user", Text: "no such user"}

// fromKim makes a message one that an SMTP peer brought.
func fromKim(t testing.TB, notify mail.Notify) func(*connectors.Submission) {
	return func(s *connectors.Submission) {
		s.Envelope.Originator = addr(t, "SMTP:kim@elsewhere.example")
		s.Envelope.Source = mail.Source{Connector: "imc", Peer: "mx.elsewhere.example"}
		for i := range s.Envelope.Recipients {
			s.Envelope.Recipients[i].Notify = notify
		}
	}
}

func TestARecipientThatCannotBeServedIsReportedOnWhileTheOthersArrive(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.must("MS:NET/PO2/JLEE,MS:NET/PO9/NOBODY", nil)
		r.expect("arrived", len(r.site.received()), 1)
		reps := r.reports()
		if len(reps) != 1 || len(reps[0].Recipients) != 1 || reps[0].Recipients[0].Final.String() != "MS:NET/PO9/NOBODY" {
			t.Fatalf("%+v, want one report on NOBODY alone", reps)
		}
		r.expect("MS Mail code", reps[0].Recipients[0].MSMail, 1)
	})
}

func TestEachRecipientOfARefusalIsNamedOnceWithThePeersWords(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.does(func(tr *connectors.Transfer) []mail.Outcome {
			out := repeated(unknownThere, len(tr.Envelope.Recipients))
			out[1] = mail.Outcome{State: mail.Delivered}
			return out
		})
		r.must("MS:NET/PO2/A,MS:NET/PO2/B,MS:NET/PO2/C", nil)
		r.after(time.Minute)
		reps := r.reports()
		if len(reps) != 1 || len(reps[0].Recipients) != 2 {
			t.Fatalf("%+v, want one report on two recipients", reps)
		}
		for i, who := range []string{"MS:NET/PO2/A", "MS:NET/PO2/C"} {
			rc := reps[0].Recipients[i]
			if rc.Final.String() != who || rc.Status != "5.1.1" || !strings.Contains(rc.Diagnostic, "no such user") {
				t.Errorf("%+v, want %s, 5.1.1 and the peer's words", rc, who)
			}
		}
		r.expect("left", len(r.waiting()), 0)
	})
}

func TestAReportNeverCausesAReport(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, s *connectors.Submission)
	}{
		{"a null originator", func(_ *testing.T, s *connectors.Submission) { s.Envelope.Originator = address.Address{} }},
		{"a report", func(_ *testing.T, s *connectors.Submission) { s.Envelope.Kind = mail.KindReport }},
		{"a receipt", func(_ *testing.T, s *connectors.Submission) { s.Envelope.Kind = mail.KindReceipt }},
		{"from POSTMASTER", func(t *testing.T, s *connectors.Submission) {
			s.Envelope.Originator = addr(t, "MS:NET/PO1/POSTMASTER")
		}},
		{"from mailer-daemon", func(t *testing.T, s *connectors.Submission) {
			s.Envelope.Originator = addr(t, "SMTP:MAILER-DAEMON@elsewhere.example")
		}},
		{"system mail", func(_ *testing.T, s *connectors.Submission) {
			s.Envelope.Extra = map[string]string{"system": "dirsync"}
		}},
		{"who wants none", func(_ *testing.T, s *connectors.Submission) { s.Envelope.Recipients[0].Notify = mail.NotifyNever }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.site.says(unknownThere)
				r.must("MS:NET/PO2/JLEE", func(s *connectors.Submission) { c.change(t, s) })
				r.after(time.Hour)
				for _, w := range []*wire{r.po1, r.imc} {
					if got := w.received(); len(got) != 0 {
						t.Errorf("%s got %d messages: %+v", w.name, len(got), got[0].env)
					}
				}
				r.expect("left", len(r.waiting()), 0)
			})
		})
	}
}

func TestASuccessReportGoesToWhoAskedUnlessThePeerSendsIt(t *testing.T) {
	for _, c := range []struct {
		name   string
		out    mail.Outcome
		notify mail.Notify
		want   dsn.Action // "": none
	}{
		{"delivered", mail.Outcome{State: mail.Delivered}, mail.NotifySuccess, dsn.Delivered},
		{"relayed into the unknown", mail.Outcome{State: mail.Relayed}, mail.NotifySuccess, dsn.Relayed},
		{"the peer reports", mail.Outcome{State: mail.Delivered, PeerReports: true}, mail.NotifySuccess, ""},
		{"not asked", mail.Outcome{State: mail.Delivered}, mail.NotifyFailure, ""},
		{"nothing said", mail.Outcome{State: mail.Delivered}, mail.NotifyDefault, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.site.does(func(*connectors.Transfer) []mail.Outcome { return []mail.Outcome{c.out} })
				r.must("MS:NET/PO2/JLEE", func(s *connectors.Submission) {
					fromKim(t, c.notify)(s)
					s.Envelope.EnvID = "QQ314"
				})
				r.after(time.Minute)
				reps := parsed(t, r.imc)
				if c.want == "" {
					r.expect("reports", len(reps), 0)
					return
				}
				if len(reps) != 1 {
					t.Fatalf("%d reports, want one", len(reps))
				}
				r.expect("action", reps[0].Recipients[0].Action, c.want)
				r.expect("ENVID", reps[0].EnvID, "QQ314")
			})
		})
	}
}

func TestAReportNamesTheRecipientAsTheOriginatorWroteHim(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(unknownThere)
		r.must("SMTP:IMCEAMS-NET_PO2_JLEE@sitea.example", fromKim(t, mail.NotifyDefault))
		r.after(time.Minute)
		reps := parsed(t, r.imc)
		if len(reps) != 1 {
			t.Fatalf("%d reports, want one", len(reps))
		}
		r.expect("original recipient", reps[0].Recipients[0].Original, "SMTP:IMCEAMS-NET_PO2_JLEE@sitea.example")
		r.expect("final recipient", reps[0].Recipients[0].Final, "MS:NET/PO2/JLEE")
	})
}

func TestAConnectorThatPanicsOrAnswersTooLittleHasItsMessageHeld(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*connectors.Transfer) []mail.Outcome
	}{
		{"panic", func(*connectors.Transfer) []mail.Outcome { panic("index out of range") }},
		{"no outcome", func(*connectors.Transfer) []mail.Outcome { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.site.does(c.do)
				r.must("MS:NET/PO2/POISON", nil)
				r.after(time.Hour)
				items := r.waiting()
				if len(items) != 1 || items[0].State != queue.Held || !strings.Contains(items[0].Reason, "poison") {
					t.Fatalf("%+v, want one held as poison", items)
				}
				r.expect("attempts", items[0].Attempts, 2)
				r.site.says(nil)
				r.must("MS:NET/PO2/JLEE", nil)
				r.expect("the next one arrives", len(r.site.received()), 1)
			})
		})
	}
}

func TestWhatAcceptRefusesTheSourceCanTellItsPeer(t *testing.T) {
	many := "MS:NET/PO2/U1"
	for range 100 {
		many += ",MS:NET/PO2/U1"
	}
	for _, c := range []struct {
		name   string
		to     string
		change func(*connectors.Submission)
		code   int
		class  mail.Class
	}{
		{"too large", "MS:NET/PO2/JLEE", func(s *connectors.Submission) { s.Content = bytes.NewReader(make([]byte, 1<<20+1)) }, 552, mail.Policy},
		{"too many recipients", many, nil, 554, mail.Policy},
		{"was here before", "MS:NET/PO2/JLEE", func(s *connectors.Submission) { s.Envelope.Trace = []mail.Hop{{Site: "sitea"}, {Site: "SITEB"}} }, 554, mail.Permanent},
		{"too many hops", "MS:NET/PO2/JLEE", func(s *connectors.Submission) { s.Envelope.Trace = make([]mail.Hop, 32) }, 554, mail.Permanent},
		{"nobody to send to", "MS:NET/PO2/JLEE", func(s *connectors.Submission) { s.Envelope.Recipients = nil }, 554, mail.Permanent},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				_, err := r.send(c.to, c.change)
				var f *mail.Failure
				if !errors.As(err, &f) {
					t.Fatalf("%v, want a failure", err)
				}
				if f.Code != c.code || f.Class != c.class {
					t.Errorf("%d %s (%v), want %d %s", f.Code, f.Class, f, c.code, c.class)
				}
				r.expect("left", len(r.waiting()), 0)
				r.expect("reports", len(r.reports()), 0)
			})
		})
	}
}

func TestSystemMailIsExemptFromSizeLimits(t *testing.T) {
	small := &wire{name: "x400", typ: "x400", hop: "SITEC", maxSize: 100, spaces: []address.Space{space(t, "MS:NET/PO3")}}
	inBubble(t, func(r *rig) {
		r.must("MS:NET/PO3/JLEE", nil)
		r.expect("an ordinary message is too large for the link", len(r.reports()), 1)
		r.must("MS:NET/PO3/$SYSTEM", func(s *connectors.Submission) {
			s.Envelope.Extra = map[string]string{"system": "dirsync"}
			s.Content = bytes.NewReader(connectortest.Message(2<<20, 1))
		})
		r.expect("system mail is not (KB Q133719)", len(small.received()), 1)
	}, small)
}

func TestASecondHandOverWithTheSameKeyStoresNothing(t *testing.T) {
	inBubble(t, func(r *rig) {
		dedup := func(s *connectors.Submission) { s.Dedup = "SITEB/4711" }
		first := r.must("MS:NET/PO2/JLEE,MS:NET/PO9/NOBODY", dedup)
		if known, err := r.g.Known(t.Context(), "SITEB/4711"); err != nil || !known {
			t.Errorf("Known: %v, %v", known, err)
		}
		r.must("MS:NET/PO2/JLEE,MS:NET/PO9/NOBODY", dedup)
		r.expect("arrived", len(r.site.received()), 1)
		r.expect("reports", len(r.reports()), 1)
		if first == "" {
			t.Error("no identifier")
		}
	})
}

func TestAReplyFindsTheWayBackWithoutReplicationOrAddressSpace(t *testing.T) {
	inBubble(t, func(r *rig) {
		if _, err := r.send("MS:FAR/PO8/MKIM", nil); err != nil {
			t.Fatal(err)
		}
		r.expect("before, nobody knows the way", len(r.reports()), 1)
		r.must("MS:NET/PO1/ASMITH", func(s *connectors.Submission) {
			s.Envelope.Originator = addr(t, "MS:FAR/PO8/MKIM")
			s.Envelope.Source = mail.Source{Connector: "site", Peer: "SITEB", Authenticated: true}
		})
		r.must("MS:FAR/PO8/MKIM", nil)
		r.expect("the reply goes back over the link", len(r.site.received()), 1)
		x := r.g.Explain(addr(t, "MS:FAR/PO8/MKIM"))
		if x.Decision.Chosen == nil || !strings.Contains(x.Decision.Chosen.Space.Origin, "learned") {
			t.Errorf("explain does not say that the way was learned: %+v", x.Decision.Chosen)
		}
	})
}

func TestAStrangersMailTeachesNoWays(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.must("MS:NET/PO1/ASMITH", func(s *connectors.Submission) {
			s.Envelope.Originator = addr(t, "MS:FAR/PO8/MKIM")
			s.Envelope.Source = mail.Source{Connector: "imc", Peer: "203.0.113.9"}
		})
		r.must("MS:FAR/PO8/MKIM", nil)
		r.expect("no way was learned", len(r.reports()), 1)
	})
}

func TestPostmasterOfOurDomainIsAlwaysThere(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.close()
		r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) { o.Site.Postmaster = addr(t, "MS:NET/PO1/ADMIN") })
		r.must("SMTP:Postmaster@sitea.example", fromKim(t, mail.NotifyDefault))
		got := r.po1.received()
		if len(got) != 1 || got[0].env.Recipients[0].Address.String() != "MS:NET/PO1/ADMIN" {
			t.Errorf("%+v, want the mail at NET/PO1/ADMIN", got)
		}
	})
}

// TestMailForThePostmasterThatNobodyIsNamedForGoesToTheFileAtOnce; suspended, it waits there as mail does anywhere.
func TestMailForThePostmasterThatNobodyIsNamedForGoesToTheFileAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.close()
		path := filepath.Join(r.dir, "postmaster.mbox")
		r.open([]*wire{r.po1, r.site, r.imc}, func(o *gateway.Options) {
			o.Members = append(o.Members, gateway.Member{Connector: gateway.NewPostmasterFile(path), Common: connectors.Common{Name: "postmaster", Type: "postmaster"}})
		})
		r.must("SMTP:Postmaster@sitea.example", fromKim(t, mail.NotifyDefault))
		b, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(b), "From kim@elsewhere.example ") {
			t.Errorf("the file has %q, %v; want the message; waiting: %+v", b, err, r.waiting())
		}
		r.expect("waiting", len(r.waiting()), 0)
		var told strings.Builder
		if err := r.g.Explain(addr(t, "SMTP:postmaster@sitea.example")).Decision.Explain(&told); err != nil || !strings.HasPrefix(told.String(), "SMTP:postmaster@sitea.example\n  * postmaster to mbox") {
			t.Errorf("explained as %q, %v", told.String(), err)
		}
		dest := queue.Dest{Connector: "postmaster", Host: "mbox"}
		if err := r.g.Suspend(t.Context(), queue.Suspension{Dest: dest, By: "kim"}); err != nil {
			t.Fatal(err)
		}
		r.must("SMTP:Postmaster@sitea.example", fromKim(t, mail.NotifyDefault))
		r.expect("waiting while it is suspended", len(r.waiting()), 1)
		if err := r.g.Resume(t.Context(), dest, "kim"); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.expect("waiting after that", len(r.waiting()), 0)
	})
}

func TestScreenAnswersWhatAcceptWouldReport(t *testing.T) {
	inBubble(t, func(r *rig) {
		src := mail.Source{Connector: "imc", Peer: "203.0.113.9"}
		for _, c := range []struct {
			to   string
			code int
		}{
			{"MS:NET/PO2/JLEE", 0}, {"SMTP:IMCEAMS-NET_PO2_JLEE@sitea.example", 0}, {"SMTP:nobody@sitea.example", 550}, {"MS:NET/PO9/X", 550},
		} {
			err := r.g.Screen(t.Context(), src, address.Address{}, addr(t, c.to))
			code := 0
			if err != nil {
				code = mail.AsFailure(err).Code
			}
			if code != c.code {
				t.Errorf("%s: %d (%v), want %d", c.to, code, err, c.code)
			}
		}
	})
}

func TestTheSameRecipientUnderTwoSpellingsGetsOneCopy(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.must("MS:NET/PO2/JLEE,MS:net/po2/jlee,SMTP:IMCEAMS-NET_PO2_JLEE@sitea.example", nil)
		got := r.site.received()
		if len(got) != 1 || len(got[0].env.Recipients) != 1 {
			t.Errorf("%+v, want one copy for one recipient", got)
		}
	})
}
