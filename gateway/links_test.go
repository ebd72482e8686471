package gateway

import (
	"testing"
	"time"

	"backbone/gateway/mail"
	"backbone/queue"
)

// An attempt that began before the link last failed, and hangs on while what waited is fetched again, is old news.
func TestAnAttemptFromBeforeTheLatestFailureTellsNothingWhileMailIsFetched(t *testing.T) {
	l, d := newLinks(), queue.Dest{Connector: "x400", Host: "MTAB"}
	start := time.Now()
	at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	down := mail.LinkDown("no answer", nil)
	if !l.failed(d, down, false, at(0), at(2), at(12)) {
		t.Fatal("the first failure is news")
	}
	if due, _ := l.probe(at(12)); len(due) != 1 {
		t.Fatal("it is due to be tried")
	}
	l.idle(d, at(12)) // nothing waited for it
	l.resume(d)       // then something did
	if l.failed(d, down, false, at(1), at(14), at(24)); len(l.status()) > 0 || len(l.draining()) != 1 {
		t.Error("an attempt from before the failure has taken the link down again")
	}
	if !l.failed(d, down, false, at(13), at(15), at(25)) || len(l.status()) != 1 {
		t.Error("an attempt from after it has not")
	}
}
