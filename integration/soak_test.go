package integration

import (
	"bufio"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"backbone/integration/loopback"
)

// steady keeps mail moving both ways through a pair of sites, with no more under way than a bound, and has a ledger of it.
type steady struct {
	t    *testing.T
	a, b *site
	rnd  *rand.Rand
	n    int
	// open is what was handed over and has not arrived, by subject; owed is what SMTP may have taken although it did not say so.
	open  map[string]letter
	owed  map[string]bool
	seen  map[string]int
	kinds map[string]int
}

type letter struct {
	at   time.Time
	body string
}

// maxOpen bounds what is under way: the load is as fast as the sites are, and no faster.
const maxOpen = 400

// send hands over one message of each kind: drop to drop both ways over the site link, over X.400, and by SMTP.
func (l *steady) send() {
	l.t.Helper()
	for _, w := range []struct {
		kind, from, to string
		s              *site
	}{{"A to B", "NET/PO1", "NET/PO2", l.a}, {"B to A", "NET/PO2", "NET/PO1", l.b}, {"B to A over X.400", "NET/PO2", "NET/PO3", l.b}} {
		subject := fmt.Sprintf("Soak %08d", l.n)
		body := strings.Repeat(subject+" and nothing else.\r\n", 1+l.rnd.IntN(400))
		l.open[subject] = letter{time.Now(), body}
		drop(l.t, w.s.po(w.from), fmt.Sprintf("S%07d", l.n%10_000_000), message(w.from+"/ASMITH", w.to+"/MKUMAR", subject, body, nil))
		l.n++
		l.kinds[w.kind]++
	}
	subject := fmt.Sprintf("Soak %08d", l.n)
	body := strings.Repeat(subject+" and nothing else.\r\n", 1+l.rnd.IntN(400))
	l.n++
	if sendSMTP(l.a.smtp, subject, body, "IMCEAMS-NET_PO3_JLEE@sitea.example") == nil {
		l.open[subject] = letter{time.Now(), body}
		l.kinds["SMTP"]++
	} else {
		l.owed[subject] = true // refused, or the answer was lost
	}
}

// take empties the deliver folders as post offices do, and compares what is there with the ledger.
func (l *steady) take() {
	l.t.Helper()
	for _, po := range []string{l.a.po("NET/PO1"), l.a.po("NET/PO3"), l.b.po("NET/PO2")} {
		for _, name := range delivered(l.t, po) {
			text := read(l.t, name)
			_, subject, _ := strings.Cut(text, "SUBJECT:")
			subject, _, _ = strings.Cut(subject, "\r\n")
			sent, open := l.open[subject]
			l.seen[subject]++
			switch {
			case l.seen[subject] > 1:
				l.t.Errorf("%s came %d times", subject, l.seen[subject])
			case !open && !l.owed[subject]:
				l.t.Errorf("%s was never sent:\n%.400s", subject, text)
			case open && !strings.Contains(text, strings.TrimSuffix(sent.body, "\r\n")):
				l.t.Errorf("%s is not what was sent:\n%.400s", subject, text)
			}
			delete(l.open, subject)
			if err := os.Remove(name); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

// run moves mail until the time is over, and calls between now and then.
func (l *steady) run(d time.Duration, between func()) {
	l.t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			return
		case <-tick.C:
			for range 4 {
				if len(l.open) < maxOpen {
					l.send()
				}
			}
			l.take()
			if between != nil {
				between()
			}
		}
	}
}

// drain waits until everything has arrived.
func (l *steady) drain() {
	l.t.Helper()
	until(l.t, 3*time.Minute, "everything that was handed over arrives", func() bool { l.take(); return len(l.open) == 0 })
}

// cost is what a site's process and queue take.
type cost struct {
	heap, fds, goroutines, disk int64
}

func (c cost) String() string {
	return fmt.Sprintf("heap %d KB, %d descriptors, %d goroutines, %d KB of disk", c.heap>>10, c.fds, c.goroutines, c.disk>>10)
}

func costOf(t *testing.T, s *site, control string) cost {
	t.Helper()
	res, err := http.Get("http://" + control + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var c cost
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		to := map[string]*int64{"go_memstats_heap_inuse_bytes": &c.heap, "process_open_fds": &c.fds, "go_goroutines": &c.goroutines}[name]
		if to == nil {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		*to = int64(v)
	}
	if err := lines.Err(); err != nil || c.heap == 0 || c.fds == 0 || c.goroutines == 0 {
		t.Fatalf("%s: the metrics lack what is compared (%v): %v", control, c, err)
	}
	// The tracking log grows with what is moved until tracking.max_size or its days are over: it is not what leaks.
	for _, part := range []string{"queue", "directory.db"} {
		err = filepath.WalkDir(filepath.Join(s.dir, "data", part), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if i, err := d.Info(); err == nil {
					c.disk += i.Size()
				}
			}
			return nil // files come and go meanwhile
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestSoak keeps two sites under load on every way: first with kill -9 and with outages of either side, then without, to compare
// what they take early and late. It lasts SOAK (make soak: an hour); in every test run a few seconds, of each kind.
func TestSoak(t *testing.T) {
	lasts := 6 * time.Second
	if v := os.Getenv("SOAK"); v != "" {
		var err error
		if lasts, err = time.ParseDuration(v); err != nil {
			t.Fatalf("SOAK=%q: %v", v, err)
		}
	}
	a, b := pair(t, everyWay(t))
	control := map[*site]string{a: loopback.Port(t), b: loopback.Port(t)}
	for s, addr := range control {
		s.stop()
		s.rewrite(func(text string) string {
			return strings.Replace(text, "[control]\nlisten = \"\"", "[control]\nlisten = \""+addr+"\"", 1)
		})
		s.start()
	}
	l := &steady{t: t, a: a, b: b, rnd: rand.New(rand.NewPCG(rand.Uint64(), 8)), open: map[string]letter{}, owed: map[string]bool{}, seen: map[string]int{}, kinds: map[string]int{}}

	kills, outages := 0, 0
	next := time.Now().Add(lasts / 9)
	l.run(lasts/2, func() {
		if time.Now().Before(next) {
			return
		}
		s := []*site{a, b}[kills%2]
		s.kill()
		if kills++; kills%3 == 0 { // it stays away for a while: the link is down, the drops fill
			outages++
			away := min(lasts/20, 30*time.Second)
			if s == a {
				<-time.After(away)
			} else {
				l.run(away, nil)
			}
		}
		s.start()
		next = time.Now().Add(min(lasts/9, time.Duration(10+l.rnd.IntN(20))*time.Second))
	})
	l.drain()
	t.Logf("rough: %d messages %v, %d kills, %d of them with an outage; everything arrived once", l.n, l.kinds, kills, outages)

	before, then := l.n, map[*site]cost{}
	l.run(lasts/8, nil) // caches and pools have their size
	l.drain()
	for s, addr := range control {
		then[s] = costOf(t, s, addr)
	}
	l.run(lasts*3/8, nil)
	l.drain()
	for s, addr := range control {
		was, is := then[s], costOf(t, s, addr)
		t.Logf("%s: %v; later: %v", s.config, was, is)
		if is.heap > 2*was.heap+16<<20 || is.fds > was.fds+20 || is.goroutines > was.goroutines+30 || is.disk > was.disk+100<<20 {
			t.Errorf("%s grows: %v, later %v", filepath.Base(s.dir), was, is)
		}
		if left := strings.TrimSpace(s.backbone("queue", "list", "--json")); left != "" && left != "[]" {
			t.Errorf("%s: left in the queue: %.300s", filepath.Base(s.dir), left)
		}
	}
	lost := 0
	for s := range l.owed {
		if l.seen[s] == 0 {
			lost++
		}
	}
	t.Logf("quiet: %d messages; in all %d, of which SMTP refused %d or lost the answer of; %d of those arrived", l.n-before, l.n, len(l.owed), len(l.owed)-lost)
}
