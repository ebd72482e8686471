package agent

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"backbone/gateway/directory"
	"backbone/gateway/directory/dirsync/dirsynctest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// wanted is what a post office's list must hold: every user of every other post office.
func (w *world) wanted(po string) map[string]string {
	out := map[string]string{}
	for name, p := range w.pos {
		if name != po {
			for mailbox, full := range p.Users {
				out["MS:"+name+"/"+mailbox] = full
			}
		}
	}
	return out
}

func (w *world) check(fatalf func(string, ...any)) {
	for _, po := range slices.Sorted(maps.Keys(w.pos)) {
		if diff := cmp.Diff(w.wanted(po), w.pos[po].List); diff != "" {
			fatalf("the list of %s is not what the others have (-want +got):\n%s", po, diff)
		}
	}
	a, b := w.sites["SITEA"].entries(w), w.sites["SITEB"].entries(w)
	if diff := cmp.Diff(a, b); diff != "" {
		fatalf("the sites' directories differ:\n%s", diff)
	}
}

func (s *site) entries(w *world) []string {
	page, more, err := s.d.List(directory.Filter{}, "", 10000)
	if err != nil || more != "" {
		w.t.Fatal(more, err)
	}
	var out []string
	for _, e := range page {
		out = append(out, fmt.Sprint(e.ID(), " ", e.Version, " ", e.Display, " ", e.Target, " ", e.Secondary))
	}
	return out
}

func TestAChangeAtPO1AppearsInPO4sListInOneCycle(t *testing.T) {
	for _, byMail := range []bool{false, true} {
		t.Run(fmt.Sprintf("replication by mail %v", byMail), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, t.TempDir(), byMail)
				defer w.close()
				for _, po := range w.pos {
					po.Set("POSTMASTER", "Postmaster of "+po.Name[4:])
				}
				w.cycle()
				w.check(t.Fatalf)
				w.pos["NET/PO1"].Set("MKUMAR", "Kumar, Mira")
				w.cycle()
				if got := w.pos["NET/PO4"].List["MS:NET/PO1/MKUMAR"]; got != "Kumar, Mira" {
					t.Errorf("PO4 knows her as %q", got)
				}
				w.pos["NET/PO1"].Rename("MKUMAR", "MIRAK", "Kumar-Lee, Mira")
				w.pos["NET/PO3"].Delete("POSTMASTER")
				w.cycle()
				w.check(t.Fatalf)
				s := w.sites["SITEB"]
				defer func() { // a new user may get the mailbox
					w.pos["NET/PO1"].Set("MKUMAR", "Kumar, Max")
					w.cycle()
					w.check(t.Fatalf)
				}()
				for _, a := range []string{"NET/PO1/MKUMAR", "NET/PO1/MIRAK"} {
					if r, err := s.d.Resolve(ms(a)); err != nil || r.Target != ms("NET/PO1/MIRAK") {
						t.Errorf("%s leads to %v, %v: a renamed mailbox keeps its old address", a, r.Target, err)
					}
				}
			})
		})
	}
}

// Whatever is lost, repeated, reordered, cut off or restored from a backup: once it is quiet, every post office lists
// every other one's users and both directories are the same.
func TestAddressListsConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var stopped any // rapid ends a check by a panic, which has to leave the bubble
		synctest.Test(t, func(t *testing.T) {
			defer func() { stopped = recover() }()
			converge(t, rt)
		})
		if fmt.Sprintf("%T", stopped) == "rapid.invalidData" {
			panic(stopped) // on a line of its own: rapid tells failures apart by the stack
		}
		if stopped != nil {
			panic(stopped)
		}
	})
}

func converge(t *testing.T, rt *rapid.T) {
	dir, err := os.MkdirTemp(t.TempDir(), "w")
	if err != nil {
		rt.Fatal(err)
	}
	w := newWorld(t, dir, rapid.Bool().Draw(rt, "replication by mail"))
	defer w.close()
	pos := slices.Sorted(maps.Keys(w.pos))
	backups := map[string]*dirsynctest.PostOffice{}
	ctx := context.Background()
	for range rapid.IntRange(5, 40).Draw(rt, "steps") {
		po := rapid.SampledFrom(pos).Draw(rt, "post office")
		s := w.sites[rapid.SampledFrom([]string{"SITEA", "SITEB"}).Draw(rt, "site")]
		mailbox := fmt.Sprintf("U%d", rapid.IntRange(1, 3).Draw(rt, "mailbox"))
		switch op := rapid.SampledFrom([]string{"set", "set", "delete", "rename", "T1", "T1", "T2", "T2", "mail", "mail", "mail", "repeat", "lose", "pull", "pull", "cut",
			"backup", "restore", "po backup", "po restore", "days"}).Draw(rt, "op"); op {
		case "set":
			w.pos[po].Set(mailbox, fmt.Sprintf("User %d of %s", rapid.IntRange(1, 3).Draw(rt, "name"), po[4:])+mailbox)
		case "delete":
			w.pos[po].Delete(mailbox)
		case "rename":
			if _, there := w.pos[po].Users[mailbox]; there && w.pos[po].Users["N"+mailbox] == "" {
				w.pos[po].Rename(mailbox, "N"+mailbox, "New user of "+po[4:]+mailbox)
			}
		case "T1":
			w.export(po)
		case "T2":
			if err := s.answer(ctx, ""); err != nil {
				rt.Fatal(err)
			}
		case "mail", "repeat", "lose":
			if len(w.mail) == 0 {
				continue
			}
			if i := rapid.IntRange(0, len(w.mail)-1).Draw(rt, "which"); op == "lose" {
				w.mail = slices.Delete(w.mail, i, i+1)
			} else {
				w.deliver(i, op == "repeat")
			}
		case "pull":
			if err := s.Pull(ctx, other(s.name)); err != nil && !w.cut {
				rt.Fatal(err)
			}
		case "cut":
			w.cut = !w.cut
		case "backup":
			s.copyTo(s.file, s.file+".backup")
		case "restore":
			if _, err := os.Stat(s.file + ".backup"); err == nil {
				s.copyTo(s.file+".backup", s.file)
			}
		case "po backup":
			backups[po] = w.pos[po].Backup()
		case "po restore":
			if b := backups[po]; b != nil {
				*w.pos[po] = *b.Backup()
			}
		case "days":
			time.Sleep(time.Duration(rapid.IntRange(1, 30).Draw(rt, "days")) * 24 * time.Hour)
		}
		time.Sleep(time.Second)
	}
	w.cut = false
	w.flush()
	time.Sleep(patience * time.Minute)
	for range 5 {
		w.cycle()
	}
	w.check(rt.Fatalf)
}
