package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"backbone/gateway/address"
	"backbone/integration/loopback"
	"backbone/queue/pgqueue/pgtest"
	"backbone/shadowpo"
)

// cluster is three gateways of one site on one queue in PostgreSQL, and the site with the drop that they send to.
type cluster struct {
	t                *testing.T
	gateways         []*site
	far              *site
	primary, standby *pgtest.Server
	lines            []*line // between the first gateway and the two servers
}

// database starts a server with a synchronous standby. The first gateway reaches both by lines that can be cut.
func (c *cluster) database() (first, others string) {
	t := c.t
	t.Helper()
	remove := func(s *pgtest.Server) {
		t.Cleanup(func() {
			if err := s.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
	var err error
	if c.primary, err = pgtest.Start(""); err != nil {
		t.Fatal(err)
	}
	remove(c.primary)
	if c.standby, err = c.primary.Standby("s1"); err != nil {
		t.Fatal(err)
	}
	remove(c.standby)
	if err := c.primary.Set(t.Context(), "synchronous_standby_names = 's1'"); err != nil {
		t.Fatal(err)
	}
	c.lines = []*line{newLine(t, c.primary.Port), newLine(t, c.standby.Port)}
	dsn := func(a, b int) string {
		return fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d user=backbone dbname=postgres sslmode=disable target_session_attrs=read-write", a, b)
	}
	return dsn(c.lines[0].Port, c.lines[1].Port), dsn(c.primary.Port, c.standby.Port)
}

// newCluster writes and starts the four sites. The gateways share the site's name, its certificate and its queue; each has a drop
// of its own for what comes in.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	dsn, others := c.database()
	a, far := pair(t, overSite(t))
	a.stop()
	c.far, c.gateways = far, []*site{a}
	base := read(t, a.config)
	for i := 1; i < 3; i++ {
		s := &site{t: t, dir: filepath.Join(filepath.Dir(a.dir), fmt.Sprintf("SITEA%d", i+1)), smtp: loopback.Port(t), link: loopback.Port(t)}
		s.config = filepath.Join(s.dir, "backbone.toml")
		if err := os.CopyFS(filepath.Join(s.dir, "id"), os.DirFS(filepath.Join(a.dir, "id"))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(s.dir, "id", "site.key"), 0o600); err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(a.smtp, s.smtp, a.link, s.link).Replace(base)
		if err := os.WriteFile(s.config, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		po, err := address.ParsePostOffice("NET/PO1")
		if err != nil {
			t.Fatal(err)
		}
		if err := shadowpo.Create(s.po("NET/PO1"), po); err != nil {
			t.Fatal(err)
		}
		if s.log, err = os.Create(filepath.Join(s.dir, "log")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			s.stop()
			if log, err := os.ReadFile(s.log.Name()); err == nil && t.Failed() {
				t.Logf("%s:\n%s", s.config, log)
			}
		})
		c.gateways = append(c.gateways, s)
	}
	for i, s := range c.gateways {
		s.rewrite(func(text string) string {
			return strings.Replace(text, "[control]", fmt.Sprintf("[queue]\nstore = \"postgres\"\ndsn = %q\nnode = \"gw%d\"\nsilence = \"3s\"\n[control]", dsn, i+1), 1)
		})
		s.start()
		dsn = others
	}
	return c
}

// arrived counts the subjects in the far drop.
func (c *cluster) arrived() map[string]int {
	c.t.Helper()
	seen := map[string]int{}
	for _, f := range delivered(c.t, c.far.po("NET/PO2")) {
		text, err := os.ReadFile(f)
		if err != nil {
			c.t.Fatal(err)
		}
		_, subject, _ := bytes.Cut(text, []byte("SUBJECT:"))
		subject, _, _ = bytes.Cut(subject, []byte("\r\n"))
		seen[string(subject)]++
	}
	return seen
}

// failover ends the primary as a power cut would and makes the standby its successor, as an operator or his tools do.
func (c *cluster) failover() {
	c.t.Helper()
	c.primary.Kill()
	if err := c.standby.Promote(); err != nil {
		c.t.Fatal(err)
	}
	c.primary, c.standby = c.standby, nil
}

// takenOver waits until nothing is leased by a gateway any longer, as another lists it.
func (c *cluster) takenOver(by *site, node string) {
	c.t.Helper()
	until(c.t, time.Minute, "the work of "+node+" to be taken over", func() bool {
		out, err := by.try("queue", "list", "--state", "leased", "--limit", "0", "--json")
		if err != nil { // also where nothing is listed
			_, err = by.try("status")
		}
		return err == nil && !strings.Contains(out, `"lease_owner":"`+node+`/`)
	})
}

// messagesOf is how many messages a run has: few in every test run, more with MESSAGES=n (make cluster).
func messagesOf(t *testing.T, few int) int {
	t.Helper()
	v := os.Getenv("MESSAGES")
	if v == "" {
		return few
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 10 {
		t.Fatalf("MESSAGES=%q is no number of messages", v)
	}
	return n
}

// TestThreeGatewaysOnOneQueueLoseNothing cuts a gateway off from the database, lets another die, the third stop and wake up,
// the primary fail and everything restart, while mail goes through. Each message arrives once.
func TestThreeGatewaysOnOneQueueLoseNothing(t *testing.T) {
	c := newCluster(t)
	n := messagesOf(t, 1500)
	limit := time.Minute + time.Duration(n)*50*time.Millisecond
	dropped := 0
	send := func(upTo int) {
		for ; dropped < upTo; dropped++ {
			subject := fmt.Sprintf("Message %06d", dropped)
			drop(t, c.gateways[dropped%3].po("NET/PO1"), fmt.Sprintf("M%07d", dropped), message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", subject, "Body of "+subject+"\r\n", nil))
		}
	}
	got := func(k int) {
		t.Helper()
		until(t, limit, fmt.Sprintf("%d of %d messages arrive", k, n), func() bool { return len(delivered(t, c.far.po("NET/PO2"))) >= k })
	}
	one, two, three := c.gateways[0], c.gateways[1], c.gateways[2]

	send(n / 10)
	got(n / 20)
	for _, w := range c.lines {
		w.cut() // what the first gateway has under way is carried out, but nobody hears of it
	}
	send(n / 5)
	c.takenOver(two, "gw1")
	got(n/10 + 1)
	for _, w := range c.lines {
		w.mend()
	}

	got(n / 7)
	two.kill() // in the midst of it; the others take its work over when it has been silent
	send(2 * n / 5)
	c.takenOver(one, "gw2")
	got(n/5 + 1)
	two.start()

	c.failover()
	send(3 * n / 5)
	got(2 * n / 5)

	if err := three.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	send(4 * n / 5)
	c.takenOver(one, "gw3")
	got(3*n/5 + 1) // more than it can have had a part in
	if err := three.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	send(n)
	got(7 * n / 10)
	c.primary.Kill()
	for _, s := range []*site{one, two, three} {
		s.kill()
	}
	if err := c.primary.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.gateways {
		s.start()
	}
	got(n)
	until(t, time.Minute, "the queue to be empty", func() bool {
		out, err := one.try("queue", "stats", "--json")
		var q struct{ Ready, Leased, Held int }
		return err == nil && json.Unmarshal([]byte(out), &q) == nil && q.Ready+q.Leased+q.Held == 0
	})
	seen := c.arrived()
	for i := range n {
		if k := seen[fmt.Sprintf("Message %06d", i)]; k != 1 {
			t.Errorf("message %d arrived %d times", i, k)
		}
	}
	if len(seen) != n {
		t.Errorf("%d subjects arrived, %d were sent", len(seen), n)
	}
}

// TestAnyGatewayShowsAndSteersTheWholeQueue suspends at one, looks at another and resumes at a third.
func TestAnyGatewayShowsAndSteersTheWholeQueue(t *testing.T) {
	c := newCluster(t)
	one, two, three := c.gateways[0], c.gateways[1], c.gateways[2]
	one.backbone("connector", "suspend", "link", "--reason", "moving")
	for i, s := range c.gateways {
		drop(t, s.po("NET/PO1"), fmt.Sprintf("M%d", i), message("NET/PO1/ASMITH", "NET/PO2/MKUMAR", fmt.Sprintf("From %d", i), "text\r\n", nil))
	}
	for _, s := range c.gateways {
		until(t, time.Minute, "three entries to be listed", func() bool {
			out, err := s.try("queue", "list", "--json")
			return err == nil && strings.Count(out, `"envelope"`) == 3
		})
	}
	if out := two.backbone("dest", "list"); !strings.Contains(out, "moving") {
		t.Errorf("the second gateway does not list the suspension:\n%s", out)
	}
	status := two.backbone("status")
	for i := range c.gateways {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^gw%d +up +0$`, i+1)).MatchString(status) {
			t.Errorf("the second gateway does not list gw%d:\n%s", i+1, status)
		}
	}
	three.backbone("connector", "resume", "link")
	until(t, time.Minute, "the three to arrive", func() bool { return len(c.arrived()) == 3 })
	c.traced(3)

	// A custom recipient that the first gateway is told of is the others', too.
	one.backbone("directory", "add", "Mkumar", "--target", "MS:NET/PO2/MKUMAR", "--proxy", "MS:NET/HELP/DESK")
	until(t, time.Minute, "the second gateway to know him", func() bool {
		out, err := two.try("directory", "resolve", "MS:NET/HELP/DESK")
		return err == nil && strings.Contains(out, "NET/PO2/MKUMAR")
	})
	drop(t, two.po("NET/PO1"), "M9", message("NET/PO1/ASMITH", "NET/HELP/DESK", "For whoever helps", "text\r\n", nil))
	until(t, time.Minute, "the fourth to arrive", func() bool { return len(c.arrived()) == 4 })
}

// story is what a gateway tells of a message.
func (s *site) story(key string) (es []storyEvent) {
	out, err := s.try("trace", key, "--local", "--json")
	for dec := json.NewDecoder(strings.NewReader(out)); err == nil; {
		var e storyEvent
		if err = dec.Decode(&e); err == nil {
			es = append(es, e)
		}
	}
	return es
}

type storyEvent struct{ Type, Node, Time, Item string }

// traced has each gateway trace what came into each drop, until all tell the same whole story, of those who were in it.
func (c *cluster) traced(messages int) {
	t := c.t
	t.Helper()
	for i := range messages {
		var es []storyEvent
		until(t, time.Minute, fmt.Sprintf("one story of message %d, wherever it is asked for", i), func() bool {
			key := fmt.Sprintf("M%d.MSG", i)
			es = c.gateways[0].story(key)
			for _, s := range c.gateways[1:] {
				if !slices.Equal(es, s.story(key)) {
					return false
				}
			}
			return len(es) > 2 && es[0].Type == "received" && (es[len(es)-1].Type == "delivered" || es[len(es)-1].Type == "relayed")
		})
		seen := map[storyEvent]bool{}
		for _, e := range es {
			if seen[e] || !strings.HasPrefix(e.Node, "gw") {
				t.Errorf("message %d: %+v is there twice, or nobody's", i, e)
			}
			seen[e] = true
		}
		if own := fmt.Sprint("gw", i+1); es[0].Node != own {
			t.Errorf("message %d: %+v, want that %s received it", i, es[0], own)
		}
	}
}
