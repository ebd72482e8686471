package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/integration/loopback"
	"backbone/shadowpo"
)

// everyWay joins two sites by the site link, for PO1 and PO2, and by X.400 for a second post office of site A, PO3.
func everyWay(t *testing.T) func(self, peer *site, selfName, peerName, peerPO string) string {
	link, other := overSite(t), map[*site]string{}
	return func(self, peer *site, selfName, peerName, peerPO string) string {
		for _, s := range []*site{self, peer} {
			if other[s] == "" {
				other[s] = loopback.Port(t)
			}
		}
		x400 := strings.TrimPrefix(overX400(self, peer, selfName, peerName, "NET/PO3"), smtpIn(self))
		x400 = strings.Replace(strings.Replace(x400, self.link, other[self], 1), peer.link, other[peer], 1)
		text := link(self, peer, selfName, peerName, peerPO)
		if selfName == "SITEB" {
			return text + x400
		}
		po, err := address.ParsePostOffice("NET/PO3")
		if err != nil {
			t.Fatal(err)
		}
		if err := shadowpo.Create(self.po("NET/PO3"), po); err != nil {
			t.Fatal(err)
		}
		x400 = strings.Replace(x400, "NET/PO3", "NET/PO4", 1)
		return text + x400 + "[[connector.msmail.postoffice]]\naddress = \"NET/PO3\"\ngateways = [\"SMTP\", \"X400\"]\n"
	}
}

// TestKilledWith9WithMailFromAllSourcesAtOnce kills site A, and now and then its peer, while A takes mail from its drop, by
// SMTP, over the site link and over X.400: what was in a drop arrives once, and so does what SMTP answered with 250.
func TestKilledWith9WithMailFromAllSourcesAtOnce(t *testing.T) {
	a, b := pair(t, everyWay(t))
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 9))
	n := kills(t, 6)
	want := map[string]map[string]bool{a.po("NET/PO1"): {}, a.po("NET/PO3"): {}, b.po("NET/PO2"): {}} // by folder: subjects
	text := map[string]string{}
	drops := func(from *site, po, to, dir, subject string) {
		want[dir][subject] = true
		text[subject] = strings.Repeat(subject+" and nothing else.\r\n", 1+rnd.IntN(200))
		drop(t, from.po(po), strings.ReplaceAll(subject, " ", ""), message(po+"/ASMITH", to+"/MKUMAR", subject, text[subject], nil))
	}
	acked := 0
	for k := range n {
		done := make(chan []string)
		go func() { // SMTP runs into the kill
			var taken []string
			for i := range 20 {
				subject := fmt.Sprintf("SMTP %04d %02d", k, i)
				if sendSMTP(a.smtp, subject, "Hello from "+subject+"\r\n", "IMCEAMS-NET_PO3_JLEE@sitea.example") == nil {
					taken = append(taken, subject)
				}
			}
			done <- taken
		}()
		for i := range 5 {
			drops(a, "NET/PO1", "NET/PO2", b.po("NET/PO2"), fmt.Sprintf("A%04d%d", k, i))
			drops(b, "NET/PO2", "NET/PO1", a.po("NET/PO1"), fmt.Sprintf("L%04d%d", k, i))
			drops(b, "NET/PO2", "NET/PO3", a.po("NET/PO3"), fmt.Sprintf("X%04d%d", k, i))
		}
		<-time.After(time.Duration(rnd.IntN(300)) * time.Millisecond)
		victim := a
		if k%4 == 3 {
			victim = b
		}
		victim.kill()
		victim.start()
		for _, subject := range <-done {
			acked++
			want[a.po("NET/PO3")][subject] = true
			text[subject] = "Hello from " + subject + "\r\n"
		}
	}
	arrived := func(dir string) map[string]int {
		got := map[string]int{}
		for _, name := range delivered(t, dir) {
			f := read(t, name)
			_, subject, _ := strings.Cut(f, "SUBJECT:")
			subject, _, _ = strings.Cut(subject, "\r\n")
			if got[subject]++; text[subject] != "" && !strings.Contains(f, strings.TrimSuffix(text[subject], "\r\n")) {
				t.Errorf("%s is not what was sent:\n%.200s", subject, f)
			}
		}
		return got
	}
	for dir, subjects := range want {
		until(t, 3*time.Minute, "everything arrives in "+dir, func() bool {
			got := arrived(dir)
			for s := range subjects {
				if got[s] == 0 {
					return false
				}
			}
			return true
		})
		for s, n := range arrived(dir) {
			if n > 1 {
				t.Errorf("%s came %d times", s, n)
			}
			if text[s] == "" && !strings.HasPrefix(s, "SMTP ") {
				t.Errorf("%s was never sent", s)
			}
		}
	}
	t.Logf("%d kills; %d drop files and %d SMTP messages that had been acknowledged, each there once", n, 15*n, acked)
}
