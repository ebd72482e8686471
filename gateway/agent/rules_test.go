package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"backbone/gateway/address"
	"backbone/gateway/directory"
	"backbone/gateway/directory/dirsync"
	"backbone/gateway/mail"

	"github.com/google/go-cmp/cmp"
)

// in runs a test in a world of its own, in virtual time.
func in(t *testing.T, do func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir(), false)
		defer w.close()
		do(t, w)
	})
}

// statusOf is a post office's line.
func statusOf(t *testing.T, s *site, po string) PostOfficeStatus {
	t.Helper()
	st, err := s.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range st.PostOffices {
		if p.PostOffice == po {
			return p
		}
	}
	t.Fatalf("%s is not in the status", po)
	return PostOfficeStatus{}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, from, body string
		source           mail.Source
		code             string // of the refusal that goes back; "" when nothing does
		status           string // what the status says of NET/PO1
	}{
		{"an unregistered requestor", "NET/PO1", "[dirsync]\r\nTASK=EXPORT\r\nREQNAME=PCM:NET/PO9\r\n", mail.Source{Connector: "msmail", Peer: "NET/PO1", Authenticated: true}, "[136]", ""},
		{"one post office that speaks for another", "NET/PO1", "[dirsync]\r\nTASK=EXPORT\r\nREQNAME=PCM:NET/PO2\r\n", mail.Source{Connector: "msmail", Peer: "NET/PO1", Authenticated: true}, "[136]", ""},
		{"an unknown task", "NET/PO1", "[dirsync]\r\nTASK=DANCE\r\nREQNAME=PCM:NET/PO1\r\n", mail.Source{Connector: "msmail", Peer: "NET/PO1", Authenticated: true}, "[155]", "unknown TASK"},
		{"text that can't be read", "NET/PO1", "[dirsync]\r\nTASK=EXPORT\r\nREQNAME=PCM:NET/PO1\r\nSRVSEQ=x\r\n", mail.Source{Connector: "msmail", Peer: "NET/PO1", Authenticated: true}, "[124]", "is no number"},
		{"a name that came by the wrong drop", "NET/PO1", "[dirsync]\r\nTASK=EXPORT\r\nREQNAME=PCM:NET/PO1\r\n", mail.Source{Connector: "msmail", Peer: "NET/PO2", Authenticated: true}, "", ""},
		{"a name that nobody checked", "NET/PO1", "[dirsync]\r\nTASK=EXPORT\r\nREQNAME=PCM:NET/PO1\r\n[dirsync-transactions]\r\nA Evil PCM:NET/PO1/EVIL\r\n", mail.Source{Connector: "imc", Peer: "192.0.2.1"}, "", ""},
		{"an ordinary letter", "NET/PO1", "Hello\r\n", mail.Source{Connector: "msmail", Peer: "NET/PO1", Authenticated: true}, "", ""},
		{"an answer from who is no server of ours", "NET/PO1", "[dirsync]\r\nTASK=XBB-ANSWER\r\nREQNAME=PCM:NET/SITEA\r\n", mail.Source{Connector: "msmail", Peer: "NET/PO1", Authenticated: true}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				s := w.sites["SITEA"]
				w.submit(s, tt.from, "NET/SITEA/$SYSTEM", "x", tt.body)
				w.mail[0].t.Envelope.Source = tt.source
				w.deliver(0, false)
				if (len(w.mail) == 1) != (tt.code != "") {
					t.Fatalf("%d messages go back", len(w.mail))
				}
				w.flush()
				if got := w.pos["NET/PO1"].Refusal; !strings.HasPrefix(got, tt.code) {
					t.Errorf("refusal %q, want %s", got, tt.code)
				}
				if got := statusOf(t, s, "NET/PO1"); !strings.Contains(got.Error, tt.status) || tt.status == "" && got.Error != "" {
					t.Errorf("status %q, want %q", got.Error, tt.status)
				}
				if n := s.d.Size(); n != 0 {
					t.Errorf("%d entries were taken", n)
				}
			})
		})
	}
}

func TestAPasswordIsAskedFor(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		s := w.sites["SITEA"]
		s.o.Requestors[0].Password = "open sesame"
		w.export("NET/PO1")
		w.flush()
		if got := w.pos["NET/PO1"].Refusal; !strings.HasPrefix(got, "[156]") {
			t.Errorf("without it: %q", got)
		}
		w.submit(s, "NET/PO1", "NET/SITEA/$SYSTEM", "x", "[dirsync]\r\nTASK=EXPORT\r\nREQNAME=NET/PO1\r\nXBB-PASSWORD=open sesame\r\n[dirsync-transactions]\r\n1 A Kumar, Mira PCM:NET/PO1/MKUMAR\r\n")
		w.mail[0].t.Envelope.Source = mail.Source{Connector: "imc", Peer: "192.0.2.1"} // it is as good as the right way
		w.flush()
		if n := s.d.Size(); n != 1 {
			t.Errorf("with it %d entries, want 1", n)
		}
	})
}

func TestAWholeListThatTakesAwayTooMuchIsRefusedUntilAnOperatorAgrees(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		s, po := w.sites["SITEA"], w.pos["NET/PO1"]
		for i := range 30 {
			po.Set(fmt.Sprintf("U%d", i), fmt.Sprintf("User %d", i))
		}
		w.cycle()
		for i := range 20 {
			po.Delete(fmt.Sprintf("U%d", i))
		}
		po.State.Whole = true
		w.export("NET/PO1")
		w.flush()
		if got := statusOf(t, s, "NET/PO1"); !strings.Contains(got.Error, "[166]") || !strings.Contains(got.Error, "20 of the 30") || s.d.Size() != 30 {
			t.Fatalf("status %q, %d entries", got.Error, s.d.Size())
		}
		if err := s.Run(context.Background(), "NET/PO1", false, true); err != nil {
			t.Fatal(err)
		}
		w.flush()
		po.State.Whole = true
		w.export("NET/PO1")
		w.flush()
		if got := statusOf(t, s, "NET/PO1"); got.Error != "" || s.d.Size() != 10 {
			t.Errorf("after --accept-deletes: %q, %d entries", got.Error, s.d.Size())
		}
	})
}

func TestNamesAreUniqueInEachPostOfficesList(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		long := strings.Repeat("L", 40)
		for i, e := range []directory.Entry{
			{Name: "A", Display: "Lee, Jin", Target: ms("NET/PO2/A")}, {Name: "B", Display: "Lee, Jin", Target: ms("NET/PO2/B")},
			{Name: "C", Display: "Lee, Jin", Target: ms("NET/PO9/C")}, {Name: "D", Display: long, Target: ms("NET/PO2/D")}, {Name: "E", Display: long + "x", Target: ms("NET/PO2/E")},
			{Name: "H", Display: "Hidden", Target: ms("NET/PO2/H"), Hidden: true},
		} {
			if _, err := w.sites["SITEA"].d.Add(e); err != nil {
				t.Fatal(i, err)
			}
		}
		w.cycle()
		want := map[string]string{"MS:NET/PO2/A": "Lee, Jin", "MS:NET/PO2/B": "Lee, Jin001", "MS:NET/PO9/C": "Lee, Jin",
			"MS:NET/PO2/D": strings.Repeat("L", 30), "MS:NET/PO2/E": strings.Repeat("L", 26) + "001"}
		if diff := cmp.Diff(want, w.pos["NET/PO1"].List); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestForeignUsersAreListedUnderTheirMSProxyOrATypeThatThePostOfficeCanUse(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		s := w.sites["SITEA"]
		for _, e := range []directory.Entry{
			{Name: "BEN", Display: "Ben", Target: address.Address{Type: address.SMTP, Value: "ben@example.org"}, Proxies: []address.Address{ms("NET/SITEA/BEN")}},
			{Name: "EVA", Display: "Eva", Target: address.Address{Type: address.SMTP, Value: "eva@example.org"}},
		} {
			if _, err := s.d.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		s.o.Requestors[1].Types = []address.Type{address.SMTP}
		w.cycle()
		if diff := cmp.Diff(map[string]string{"MS:NET/SITEA/BEN": "Ben"}, w.pos["NET/PO1"].List); diff != "" {
			t.Errorf("PO1: -want +got:\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"MS:NET/SITEA/BEN": "Ben", "SMTP:eva@example.org": "Eva"}, w.pos["NET/PO2"].List); diff != "" {
			t.Errorf("PO2, which can write SMTP: -want +got:\n%s", diff)
		}
	})
}

func TestAnAddressListComesBackAsItWentOut(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for i := range 20 {
			w.pos["NET/PO2"].Set(fmt.Sprintf("U%d", i), fmt.Sprintf("User, Number %d", i))
		}
		w.cycle()
		var list strings.Builder
		a := w.sites["SITEA"]
		if err := a.ExportList(context.Background(), &list, "NET/PO1"); err != nil {
			t.Fatal(err)
		}
		if head := fmt.Sprintf("R PCM:NET/PO2\r\nA %-30s PCM:NET/PO2/U0\r\n", "User, Number 0"); !strings.HasPrefix(list.String(), head) {
			t.Errorf("the list begins\n%.200s\nwant\n%s", list.String(), head)
		}
		fresh := newWorld(t, t.TempDir(), false)
		defer fresh.close()
		b := fresh.sites["SITEA"]
		if n, problems, err := b.ImportList(list.String(), "NET/PO2", true); err != nil || len(problems) > 0 || n.Added != 20 || b.d.Size() != 0 {
			t.Errorf("dry run: %+v %v %v, %d entries", n, problems, err, b.d.Size())
		}
		if n, problems, err := b.ImportList(list.String(), "NET/PO2", false); err != nil || len(problems) > 0 || n.Added != 20 {
			t.Errorf("%+v %v %v", n, problems, err)
		}
		var again strings.Builder
		if err := b.ExportList(context.Background(), &again, "NET/PO1"); err != nil || again.String() != list.String() {
			t.Errorf("%v: the list comes out as\n%s", err, again.String())
		}
	})
}

func TestASilentRequestorGetsNothingAndALateOneTheWholeList(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		s := w.sites["SITEA"]
		w.cycle()
		if err := s.answer(context.Background(), ""); err != nil || len(w.mail) != 0 {
			t.Fatalf("%v, %d answers to nobody's question", err, len(w.mail))
		}
		for i := range 3 {
			if _, err := s.d.Add(directory.Entry{Name: fmt.Sprint("X", i), Target: ms(fmt.Sprintf("NET/PO9/X%d", i))}); err != nil {
				t.Fatal(err)
			}
			if err := s.refresh(time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(40 * 24 * time.Hour)
		}
		w.export("NET/PO1")
		w.flush()
		if err := s.answer(context.Background(), "NET/PO1"); err != nil {
			t.Fatal(err)
		}
		w.flush()
		if st := statusOf(t, s, "NET/PO1"); !st.OutWhole || len(w.pos["NET/PO1"].List) != 3 {
			t.Errorf("%+v, list %v", st, w.pos["NET/PO1"].List)
		}
	})
}

func TestReplicationByMailNeedsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir(), true)
		defer w.close()
		a, b := w.sites["SITEA"], w.sites["SITEB"]
		a.peers["SITEB"].Key = []byte("another")
		if _, err := a.d.Add(directory.Entry{Name: "X", Target: ms("NET/PO1/X")}); err != nil {
			t.Fatal(err)
		}
		if err := b.Pull(context.Background(), "SITEA"); err != nil {
			t.Fatal(err)
		}
		w.flush()
		if peers, err := a.Peers(); err != nil || !strings.Contains(peers[0].Error, "seal") || b.d.Size() != 0 {
			t.Errorf("%+v, %v; SITEB has %d entries", peers, err, b.d.Size())
		}
	})
}

func TestARestoredServersRequestorsGetTheWholeList(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		s := w.sites["SITEA"]
		put := func(names ...string) {
			for _, n := range names {
				if _, err := s.d.Add(directory.Entry{Name: n, Target: ms("NET/PO9/" + n)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		put("A", "B")
		w.cycle()
		s.copyTo(s.file, s.file+".backup")
		put("C", "D")
		w.cycle()
		s.copyTo(s.file+".backup", s.file)
		s.o.Partners = nil      // nobody gives C and D back
		put("E", "F", "G", "H") // beyond the number that the requestors have
		for range 2 {
			for _, po := range s.pos {
				w.export(po)
			}
			w.flush()
			if err := s.answer(context.Background(), ""); err != nil {
				t.Fatal(err)
			}
			w.flush()
			time.Sleep(time.Minute)
		}
		want := map[string]string{}
		for _, n := range []string{"A", "B", "E", "F", "G", "H"} {
			want["MS:NET/PO9/"+n] = n
		}
		if diff := cmp.Diff(want, w.pos["NET/PO1"].List); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestByMailOneQuestionIsUnderWayAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir(), true)
		defer w.close()
		a, ctx := w.sites["SITEA"], context.Background()
		for range 10 {
			if err := a.Pull(ctx, "SITEB"); err != nil {
				t.Fatal(err)
			}
		}
		if len(w.mail) != 1 {
			t.Fatalf("%d questions are under way, want one", len(w.mail))
		}
		w.mail = nil // lost
		time.Sleep(patience * time.Minute)
		if err := a.Pull(ctx, "SITEB"); err != nil || len(w.mail) != 1 {
			t.Fatalf("%v, %d questions after the first was lost", err, len(w.mail))
		}
		w.deliver(0, false) // the question
		if err := a.Pull(ctx, "SITEB"); err != nil {
			t.Fatal(err)
		}
		w.deliver(0, false) // the answer
		if len(w.mail) != 1 {
			t.Errorf("%d questions after the answer, want the one that waited for it", len(w.mail))
		}
	})
}

func TestRoutesFollowFromOtherSitesConnectors(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		a := w.sites["SITEA"]
		far := []directory.Entry{
			{Class: directory.Connector, Site: "SITEC", Name: "msmail", Version: 1, Spaces: []address.Space{{Type: address.MS, Pattern: "FAR/PO1", Cost: 2}}},
			{Class: directory.Connector, Site: "SITEB", Name: "toc", Version: 1, Leads: "SITEC", Cost: 5},
			{Class: directory.Connector, Site: "SITED", Name: "msmail", Version: 1, Spaces: []address.Space{{Type: address.MS, Pattern: "GONE/PO1", Cost: 1}}},
		}
		if r, err := a.d.Replicate("SITEB", directory.Batch{Changes: far, Next: directory.Cursor{USN: 1, Stamp: 1}}); err != nil || r.Taken != 3 {
			t.Fatal(r, err)
		}
		var got []string
		for _, e := range a.Routes() {
			got = append(got, fmt.Sprintf("%s %s %d %s", e.Connector, e.Space, e.Space.Cost, e.Space.Origin))
		}
		want := []string{"link MS:FAR/PO1 8 directory: SITEC/connector/msmail, version 1 of 0001-01-01, by way of SITEB"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		var own []string
		for _, e := range a.d.Connectors() {
			if e.Site == "SITEA" {
				own = append(own, fmt.Sprintf("%s leads to %q, %d spaces", e.Name, e.Leads, len(e.Spaces)))
			}
		}
		if diff := cmp.Diff([]string{`directory leads to "", 1 spaces`, `link leads to "SITEB", 0 spaces`, `msmail leads to "", 2 spaces`}, own); diff != "" {
			t.Errorf("what SITEA tells: -want +got:\n%s", diff)
		}
	})
}

func TestTheScheduleRunsByItself(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		s := w.sites["SITEA"]
		at := func(text string) []dirsync.Moment {
			m, err := dirsync.ParseMoment(text)
			if err != nil {
				t.Fatal(err)
			}
			return []dirsync.Moment{m}
		}
		s.o.T2 = at("04:00")
		s.o.Partners = nil
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, gateway{s}) }()
		synctest.Wait()
		w.export("NET/PO1")
		w.flush()
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := w.underWay(); n != 1 {
			t.Errorf("%d answers, want one at 04:00", n)
		}
	})
}

func TestARequestorListsUsersOfItsOwnPostOfficeAndOfThoseBehindIt(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		s := w.sites["SITEA"]
		s.o.Requestors[0].Behind = []string{"NET/PO8"}
		w.pos["NET/PO1"].Set("ASMITH", "Alex Smith")
		w.pos["NET/PO1"].Set("JLEE", "Jin Lee")
		w.pos["NET/PO1"].Set("MKUMAR", "Mira Kumar")
		text, err := w.pos["NET/PO1"].Export(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		body := strings.NewReplacer("NET/PO1/JLEE", "NET/PO8/JLEE", "NET/PO1/MKUMAR", "NET/PO9/MKUMAR").Replace(text.Body)
		w.submit(s, "NET/PO1", s.ms+"/$SYSTEM", text.Subject, body)
		w.flush()
		st := statusOf(t, s, "NET/PO1")
		if st.Applied.Added != 2 || len(st.Problems) != 1 || !strings.Contains(st.Problems[0].Text, "MS:NET/PO9/MKUMAR is not a user of NET/PO1") {
			t.Errorf("%+v, %+v", st.Applied, st.Problems)
		}
	})
}
