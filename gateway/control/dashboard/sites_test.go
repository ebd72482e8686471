package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"backbone/connectors"
	"backbone/gateway"
	"backbone/gateway/mail"
	"backbone/gateway/tracking"
	"backbone/queue"
)

// siteLink leads to site B, which has its own part of each message's timeline, or does not answer.
type siteLink struct {
	idle
	down bool
}

func (siteLink) Name() string { return "siteb" }
func (siteLink) Peer() string { return "SITEB" }
func (l siteLink) Trace(_ context.Context, id string, _ []string) (connectors.Timeline, error) {
	if l.down {
		return connectors.Timeline{}, mail.LinkDown("SITEB can't be reached", nil)
	}
	var out connectors.Timeline
	for _, e := range []tracking.Event{
		{Time: time.Now(), Type: tracking.Received, Site: "SITEB", ID: id, Connector: "sitea", Peer: "SITEA"},
		{Time: time.Now(), Type: tracking.Failed, Site: "SITEB", ID: id, Item: "1", Dest: "msmail:NET/PO2", Text: "no such mailbox " + hostile, Recipients: []string{"MS:NET/PO2/MKUMAR"}},
	} {
		line, err := json.Marshal(e)
		if err != nil {
			return out, err
		}
		out.Events = append(out.Events, line)
	}
	return out, nil
}

// TestAMessagesPageShowsWhatTheNextSiteKnows: its part of the timeline and how the message stands there, or that it did not
// answer. What waits there is not taken for an entry of this site's queue.
func TestAMessagesPageShowsWhatTheNextSiteKnows(t *testing.T) {
	for name, c := range map[string]struct {
		link siteLink
		want []string
	}{
		"the site answers":         {siteLink{}, []string{"Delivered. At SITEB: failed", "at SITEB", "no such mailbox", "msmail:NET/PO2"}},
		"the site does not answer": {siteLink{down: true}, []string{"Delivered", "Not all of it: site SITEB:", "can&#39;t be reached"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{Loopback: RoleRead})
			b.s.Members = append(b.s.Members, gateway.Member{Connector: c.link, Common: connectors.Common{Name: "siteb", Type: "site"}})
			now := time.Now()
			err := b.s.Tracking.Append(t.Context(),
				tracking.Event{Time: now, Type: tracking.Received, Site: "SITEA", ID: "SITEA-77", Connector: "msmail", Originator: "MS:NET/PO1/ASMITH", Recipients: []string{"MS:NET/PO2/MKUMAR"}, Subject: "Stock"},
				tracking.Event{Time: now, Type: tracking.Delivered, Site: "SITEA", ID: "SITEA-77", Item: "Z77", Connector: "siteb", Dest: "siteb:SITEB", Recipients: []string{"MS:NET/PO2/MKUMAR"}},
			)
			if err != nil {
				t.Fatal(err)
			}
			body := b.get("/message?key=SITEA-77").Body.String()
			for _, want := range c.want {
				if !strings.Contains(body, want) {
					t.Errorf("%q is missing in\n%s", want, body)
				}
			}
			if strings.Contains(body, "In the queue") {
				t.Error("an entry of the other site's queue is shown as ours")
			}
		})
	}
}

// TestSynchronizationIsShownAndRunFromItsPage.
func TestSynchronizationIsShownAndRunFromItsPage(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleOperate})
	body := b.get("/synchronization").Body.String()
	for _, want := range []string{"NET/SITEA/$SYSTEM", "NET/PO5", "requestor", "SITEB", "mail to ", "Run NET/PO5 now", "Run SITEB now"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing in\n%s", want, body)
		}
	}
	// The agent of this bench serves nothing: what counts is that it was asked, and that this is on record.
	form := url.Values{"csrf": {b.token("/synchronization")}, "postoffice": {"NET/PO5"}}
	if w := b.do(http.MethodPost, "/synchronization/run", form); !strings.Contains(w.Body.String(), "not running") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if body := b.get("/audit").Body.String(); !strings.Contains(body, "dirsync run") || !strings.Contains(body, "NET/PO5") {
		t.Errorf("the audit log does not say so:\n%s", body)
	}
	form.Set("postoffice", "")
	if w := b.do(http.MethodPost, "/synchronization/run", form); w.Code != http.StatusBadRequest {
		t.Errorf("nobody named: %d", w.Code)
	}
	if body := newBench(t, Options{Loopback: RoleRead}).get("/synchronization").Body.String(); strings.Contains(body, "Run NET/PO5 now") {
		t.Error("who may only read is offered to run")
	}
}

// sharedStore is the queue as several gateways share it.
type sharedStore struct{ queue.Store }

func (sharedStore) Gateways(context.Context) ([]queue.Node, error) {
	return []queue.Node{{Name: "gw1", Leases: 17}, {Name: "gw2 " + hostile, Silent: true, Until: time.Now().Add(-time.Hour)}}, nil
}

// otherGateway is an archive that holds one event of another gateway, or does not answer.
type otherGateway struct{ away error }

func (o otherGateway) Position(context.Context, string) (tracking.Cursor, error) { return "", o.away }
func (o otherGateway) Add(context.Context, string, tracking.Cursor, tracking.Cursor, []tracking.Record) (bool, error) {
	return o.away == nil, o.away
}
func (o otherGateway) Named(context.Context, []int64, int) ([]tracking.Record, error) {
	return []tracking.Record{{Mark: tracking.Mark{Time: time.Now().UnixNano(), Node: "gw2"}, Line: `{"type":"delivered","site":"SITEA","id":"SITEA-77"}`}}, o.away
}
func (o otherGateway) Page(context.Context, tracking.Query, tracking.Mark) ([]tracking.Record, tracking.Mark, error) {
	return nil, tracking.Mark{}, o.away
}

// TestThePagesOfAClusterSayWhichGatewayHasWhat: those that are up and those that are not, who has an entry, who wrote an event.
func TestThePagesOfAClusterSayWhichGatewayHasWhat(t *testing.T) {
	b := newBench(t, Options{Loopback: RoleRead})
	alone := b.get("/").Body.String() + b.get("/queue").Body.String()
	if strings.Contains(alone, "Gateways on this queue") || strings.Contains(alone, ">on ") {
		t.Error("a gateway that shares its queue with nobody shows a cluster")
	}
	b.s.Store = sharedStore{b.s.Store}
	if _, err := b.s.Store.LeaseID(t.Context(), b.item, "gw1/0badcafe", time.Hour); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/":      {"Gateways on this queue", "gw1", "17", `<span class="state down">silent</span>`, "A gateway is silent: gw2"},
		"/queue": {"on gw1</small>"},
	} {
		page := b.get(path).Body.String()
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s says nothing of %q", path, w)
			}
		}
	}
	for name, c := range map[string]struct {
		other otherGateway
		want  []string
	}{
		"the database answers":         {otherGateway{}, []string{"on gw1", "on gw2", "delivered"}},
		"the database does not answer": {otherGateway{errors.New("away")}, []string{"Not all of it: only what gateway gw1 wrote itself: away"}},
	} {
		t.Run(name, func(t *testing.T) {
			log, err := tracking.Open(t.TempDir(), tracking.Options{Archive: c.other, Node: "gw1"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := log.Close(); err != nil {
					t.Error(err)
				}
			})
			if err := log.Append(t.Context(), tracking.Event{Type: tracking.Received, Site: "SITEA", ID: "SITEA-77"}); err != nil {
				t.Fatal(err)
			}
			b.s.Tracking = log
			page := b.get("/message?key=SITEA-77").Body.String()
			for _, w := range c.want {
				if !strings.Contains(page, w) {
					t.Errorf("the page says nothing of %q:\n%s", w, page)
				}
			}
		})
	}
}
