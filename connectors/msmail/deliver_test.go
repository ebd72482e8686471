package msmail

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/connectors/connectortest"
	"backbone/connectors/msmail/translate"
	"backbone/gateway/address"
	"backbone/gateway/mail"
	"backbone/shadowpo/mmff"
)

// message is a transfer of a small message for PO2's recipients.
func message(to ...address.Address) *connectors.Transfer {
	env := mail.Envelope{ID: "SITEA-1", MessageID: "1@example.org", Kind: mail.KindMessage, Originator: smtp("ben@example.org"), Arrived: time.Now(),
		Trace: []mail.Hop{{Site: "SITEA", At: time.Now()}}}
	for _, a := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: a})
	}
	return &connectors.Transfer{Key: "K1", NextHop: "NORTHWIND/PO2", Envelope: env, Content: connectortest.Bytes(connectortest.Message(1000, 1)), Attempt: 1, Note: func(mail.Note) {}}
}

// panicking is a stored body that breaks the program: any bug of translation stands for it.
type panicking struct {
	mail.Content
	opens *int
	from  int
}

func (p panicking) Open() (io.ReadSeekCloser, error) {
	if *p.opens++; *p.opens > p.from {
		panic("a bug")
	}
	return p.Content.Open()
}

func TestDeliverOutcomes(t *testing.T) {
	mira, system, accent := ms("NORTHWIND/PO2/MKUMAR"), ms("NORTHWIND/PO2/$SYSTEM"), ms("NORTHWIND/PO2/Ωmega")
	trace := func(sites ...string) (hops []mail.Hop) {
		for _, s := range sites {
			hops = append(hops, mail.Hop{Site: s})
		}
		return hops
	}
	tests := []struct {
		name    string
		to      []address.Address
		change  func(*connectors.Transfer)
		want    []mail.State
		class   mail.Class // of the last outcome
		scope   mail.Scope
		msmail  int
		arrived int
	}{
		{"all is well", []address.Address{mira}, func(*connectors.Transfer) {}, []mail.State{mail.Relayed}, "", "", 0, 1},
		{"an address that the code page lacks fails alone", []address.Address{mira, accent}, func(*connectors.Transfer) {}, []mail.State{mail.Relayed, mail.Failed}, mail.Permanent, mail.ScopeRecipient, 2, 1},
		{"nobody left to deliver to", []address.Address{accent}, func(*connectors.Transfer) {}, []mail.State{mail.Failed}, mail.Permanent, mail.ScopeRecipient, 2, 0},
		{"larger than the post office takes", []address.Address{mira}, func(t *connectors.Transfer) { t.Content = connectortest.Bytes(connectortest.Message(9000, 1)) },
			[]mail.State{mail.Failed}, mail.Policy, mail.ScopeMessage, 9, 0},
		{"directory synchronisation may be large", []address.Address{system}, func(t *connectors.Transfer) {
			t.Content = connectortest.Bytes(connectortest.Message(9000, 1))
			t.Envelope.Extra = map[string]string{translate.ExtraSystem: "dirsync"}
		}, []mail.State{mail.Relayed}, "", "", 0, 1},
		{"home once is no loop", []address.Address{mira}, func(t *connectors.Transfer) { t.Envelope.Trace = trace("NORTHWIND/PO2", "SITEA") }, []mail.State{mail.Relayed}, "", "", 0, 1},
		{"home twice is a loop", []address.Address{mira}, func(t *connectors.Transfer) {
			t.Envelope.Trace = trace("NORTHWIND/PO2", "SITEA", "northwind/po2", "SITEA")
		}, []mail.State{mail.Failed}, mail.Permanent, mail.ScopeMessage, 4, 0},
		{"a name that begins alike is no loop", []address.Address{mira}, func(t *connectors.Transfer) {
			t.Envelope.Trace = trace("NORTHWIND/PO2", "NORTHWIND/PO21", "NORTHWIND/PO22")
		}, []mail.State{mail.Relayed}, "", "", 0, 1},
		{"a post office that was configured once", []address.Address{mira}, func(t *connectors.Transfer) { t.NextHop = "NORTHWIND/PO9" }, []mail.State{mail.Deferred}, mail.Transient, mail.ScopeLink, 5, 0},
		{"translation that panics at once", []address.Address{mira}, func(t *connectors.Transfer) { t.Content = panicking{t.Content, new(int), 0} },
			[]mail.State{mail.Failed}, mail.Permanent, mail.ScopeMessage, 29, 0},
		{"a body that cannot be opened", []address.Address{mira}, func(t *connectors.Transfer) {
			t.Content = &connectortest.Synthetic{Length: 10, OpenFail: io.ErrClosedPipe}
		},
			[]mail.State{mail.Deferred}, mail.Local, mail.ScopeMessage, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, func(c *Config) { c.PostOffices[1].MaxSize = 5000 })
			defer s.close()
			tr := message(tt.to...)
			tt.change(tr)
			out := s.Deliver(context.Background(), tr)
			var got []mail.State
			for _, o := range out {
				got = append(got, o.State)
			}
			if !slices.Equal(got, tt.want) {
				t.Fatalf("got %v, want %v: %v", got, tt.want, out[len(out)-1].Failure)
			}
			if f := out[len(out)-1].Failure; f != nil && (f.Class != tt.class || f.Scope != tt.scope || f.MSMail != tt.msmail) || (f == nil) != (tt.class == "") {
				t.Errorf("failure %+v, want class %s, scope %s, code %d", f, tt.class, tt.scope, tt.msmail)
			}
			if n := len(s.files("NORTHWIND.PO2", "deliver", ".MSG")); n != tt.arrived {
				t.Errorf("%d files for PO2, want %d", n, tt.arrived)
			}
			if n := len(s.files("NORTHWIND.PO2", "deliver", ".WRT")); n != 0 {
				t.Errorf("%d unfinished files are left", n)
			}
		})
	}
}

func TestACancelledAttemptWritesNothing(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if o := s.Deliver(ctx, message(ms("NORTHWIND/PO2/MKUMAR")))[0]; o.State != mail.Deferred {
		t.Errorf("got %s %v", o.State, o.Failure)
	}
	if n := len(s.files("NORTHWIND.PO2", "deliver", ".*")); n != 0 {
		t.Errorf("%d files for PO2", n)
	}
}

func TestAPanicWhileWritingLeavesTheDropInOrder(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	tr := message(ms("NORTHWIND/PO2/MKUMAR"))
	whole := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Disposition: attachment; filename=a.dat\r\n\r\n" + strings.Repeat("y", 100_000) + "\r\n--b--\r\n"
	opens := new(int)
	tr.Content = panicking{connectortest.Bytes([]byte(whole)), opens, 2} // layout, text; then the attachments
	if o := s.Deliver(context.Background(), tr)[0]; o.State != mail.Failed || o.Failure.MSMail != 29 || *opens != 3 {
		t.Fatalf("got %s %v after %d opens", o.State, o.Failure, *opens)
	}
	if !strings.Contains(s.logged(), "translation panicked") {
		t.Error("the log does not say so")
	}
	if left := s.files("NORTHWIND.PO2", "deliver", ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	tr.Content = connectortest.Bytes([]byte(whole))
	if o := s.Deliver(context.Background(), tr)[0]; o.State != mail.Relayed {
		t.Fatalf("the next attempt: %s %v", o.State, o.Failure)
	}
}

func TestTheLedgerTellsWhatChangedOnceForEachMessage(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	tr := message(ms("NORTHWIND/PO2/MKUMAR"))
	tr.Content = connectortest.Bytes([]byte("Subject: =?utf-8?q?=E2=98=83?=" + strings.Repeat(" y", 200) + "\r\nCc: ann@example.org\r\n\r\n\xe2\x98\x83\r\n"))
	var notes []string
	tr.Note = func(n mail.Note) { notes = append(notes, n.Action+" "+n.Field) }
	for range 2 {
		if o := s.Deliver(context.Background(), tr)[0]; o.State != mail.Relayed {
			t.Fatal(o.Failure)
		}
	}
	for _, want := range []string{"changed Cc", "lost text", "lost SUBJECT", "changed SUBJECT"} {
		if n := len(slices.DeleteFunc(slices.Clone(notes), func(s string) bool { return s != want })); n != 1 {
			t.Errorf("%d notes %q, want 1: %v", n, want, notes)
		}
	}
}

func TestSideFilesAreLeftOutWhereAgentsStumbleOverThem(t *testing.T) {
	for _, off := range []bool{false, true} {
		s := open(t, func(c *Config) { c.PostOffices[1].NoSideFiles = off })
		if o := s.Deliver(context.Background(), message(ms("NORTHWIND/PO2/MKUMAR")))[0]; o.State != mail.Relayed {
			t.Fatal(o.Failure)
		}
		if got := len(s.files("NORTHWIND.PO2", "deliver", ".X")); got != map[bool]int{false: 1, true: 0}[off] {
			t.Errorf("no_side_files %v: %d side files", off, got)
		}
		s.close()
	}
}

func TestASideFileCarriesTheTraceAcross(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	if o := s.Deliver(context.Background(), message(ms("NORTHWIND/PO2/MKUMAR")))[0]; o.State != mail.Relayed {
		t.Fatal(o.Failure)
	}
	// PO2's agent sends the message on with its side file, as a forwarding post office would.
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(s.files("NORTHWIND.PO2", "deliver", ".X")[0], s.folder("NORTHWIND.PO2", "submit")+"/FWD.X")
	move(s.files("NORTHWIND.PO2", "deliver", ".MSG")[0], s.folder("NORTHWIND.PO2", "submit")+"/FWD.MSG")
	gw := &connectortest.Acceptor{}
	stop := s.serve(gw)
	defer stop()
	e := gw.Wait(t, 1)[0].Envelope
	var sites []string
	for _, h := range e.Trace {
		sites = append(sites, h.Site)
	}
	if !slices.Equal(sites, []string{"SITEA", "NORTHWIND/PO2"}) || e.ID != "SITEA-1" || e.MessageID != "1@example.org" {
		t.Errorf("trace %v, id %q, message id %q", sites, e.ID, e.MessageID)
	}
}

func TestOnePostOfficeThatIsGoneDoesNotStopTheOthers(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	away := s.folder("NORTHWIND.PO1", "") + ".away"
	if err := os.Rename(s.folder("NORTHWIND.PO1", ""), away); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "post office NORTHWIND/PO1") || strings.Contains(err.Error(), "PO2") {
		t.Errorf("Check: %v", err)
	}
	gw := &connectortest.Acceptor{}
	stop := s.serve(gw)
	defer stop()
	f := file("Hello\r\n", "TO:NORTHWIND/PO1/ASMITH", "FROM:NORTHWIND/PO2/MKUMAR")
	s.submit("NORTHWIND.PO2", "MMFF1.MSG", f)
	gw.Wait(t, 1)
	if err := os.Rename(away, s.folder("NORTHWIND.PO1", "")); err != nil {
		t.Fatal(err)
	}
	s.submit("NORTHWIND.PO1", "MMFF1.MSG", f)
	gw.Wait(t, 2)
	if err := s.Check(context.Background()); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestQuarantineIsListedReadRepairedAndDiscarded(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	ctx := context.Background()
	gw := &connectortest.Acceptor{}
	stop := s.serve(gw)
	defer stop()
	good := file("Hello\r\n", "TO:NORTHWIND/PO2/MKUMAR", "FROM:NORTHWIND/PO1/ASMITH")
	bad := []byte(strings.Replace(string(good), "TO:", "CC:", 1))
	for _, name := range []string{"BAD1.MSG", "BAD2.MSG"} {
		s.submit("NORTHWIND.PO1", name, bad)
	}
	s.submit("NORTHWIND.PO1", "GOOD.MSG", good)
	gw.Wait(t, 1)
	var list []connectors.Quarantined
	connectortest.Until(t, "two entries", func() bool {
		var err error
		if list, err = s.Quarantined(ctx); err != nil {
			t.Fatal(err)
		}
		return len(list) == 2
	})
	if e := list[0]; e.Place != "NORTHWIND/PO1" || !strings.HasPrefix(e.Reason, "141-001-002") || !strings.HasPrefix(e.ID, "NORTHWIND.PO1/") || e.Size != int64(len(bad)) {
		t.Errorf("entry %+v", e)
	}
	if b, err := s.QuarantinedBytes(ctx, list[0].ID, 12); err != nil || string(b) != string(bad[:12]) {
		t.Errorf("bytes %q, %v", b, err)
	}
	if err := s.ReplayQuarantined(ctx, list[0].ID, good); err != nil {
		t.Fatal(err)
	}
	gw.Wait(t, 2)
	if err := s.DiscardQuarantined(ctx, list[1].ID); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{list[1].ID, "NORTHWIND.PO9/X", "NORTHWIND.PO1/../X", "nonsense"} {
		if _, err := s.QuarantinedBytes(ctx, id, 10); err == nil || !strings.Contains(err.Error(), connectors.ErrNoQuarantine.Error()) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if list, err := s.Quarantined(ctx); err != nil || len(list) != 0 {
		t.Errorf("left %v, %v", list, err)
	}
}

func TestAReportForAMailboxIsInMSMailsForm(t *testing.T) {
	s := open(t, nil)
	defer s.close()
	tr := message(ms("NORTHWIND/PO2/MKUMAR"))
	tr.Envelope.Kind, tr.Envelope.Originator = mail.KindReport, address.Address{}
	tr.Content = connectortest.Bytes(connectortest.Report("gone@example.org"))
	if o := s.Deliver(context.Background(), tr)[0]; o.State != mail.Relayed {
		t.Fatal(o.Failure)
	}
	m := s.collected("NORTHWIND.PO2", mmff.CP850)[0]
	if m.From != ms("NORTHWIND/SITEA/POSTMASTER") || m.Subject != "Mail failure" || !strings.Contains(text(t, m), "[002]") || !strings.Contains(text(t, m), "gone@example.org") {
		t.Errorf("from %s, subject %q\n%s", m.From, m.Subject, text(t, m))
	}
}
