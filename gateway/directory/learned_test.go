package directory

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"backbone/gateway/address"
)

func learnedOnDisk(t *testing.T, d *Directory) (n int) {
	t.Helper()
	err := d.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(bucketLearned).Stats().KeyN
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLearnedRoutes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	synctest.Test(t, func(t *testing.T) {
		d := openAt(t, path, Options{ReplyRoutes: 90 * 24 * time.Hour})
		u := address.Address{Type: "MS", Value: "NORTHWIND/PO9/U"}
		d.Learn(u, "toB", "SITEB", time.Now())
		d.Learn(address.Address{}, "toB", "SITEB", time.Now())
		got, ok := d.Learned(address.Address{Type: "MS", Value: "northwind/po9/u"})
		if !ok || got.Connector != "toB" || got.NextHop != "SITEB" || !got.At.Equal(time.Now()) {
			t.Fatalf("learned %+v, %v", got, ok)
		}
		if n := learnedOnDisk(t, d); n != 0 {
			t.Errorf("%d on disk at once: a sync for each message", n)
		}
		<-time.After(flushEvery + time.Second)
		synctest.Wait()
		if n := learnedOnDisk(t, d); n != 1 {
			t.Errorf("%d on disk after the flush, want 1", n)
		}
		d.Learn(u, "toC", "SITEC", time.Now())
		if got, _ := d.Learned(u); got.Connector != "toC" {
			t.Errorf("the latest way does not count: %+v", got)
		}
		d.Learn(u, "toB", "SITEB", time.Now().Add(-time.Hour))
		if got, _ := d.Learned(u); got.Connector != "toC" {
			t.Errorf("an older message changed the way: %+v", got)
		}
		d = reopen(t, d)
		if got, ok := d.Learned(u); !ok || got.Connector != "toC" {
			t.Errorf("after a restart: %+v, %v", got, ok)
		}
		<-time.After(60 * 24 * time.Hour)
		d.Learn(u, "toC", "SITEC", time.Now()) // mail came that way again
		<-time.After(60 * 24 * time.Hour)
		if _, ok := d.Learned(u); !ok {
			t.Error("forgotten although mail came that way meanwhile")
		}
		<-time.After(31 * 24 * time.Hour)
		if _, ok := d.Learned(u); ok {
			t.Error("still known after its time")
		}
	})
}

func TestLearnedRoutesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	synctest.Test(t, func(t *testing.T) {
		d := openAt(t, path, Options{ReplyRoutes: 24 * time.Hour, MaxReplyRoutes: 1000})
		d.db.NoSync = true // power does not fail in this test
		user := func(i int) address.Address { return address.Address{Type: "MS", Value: fmt.Sprintf("N/P/U%d", i)} }
		for i := range 5000 {
			d.Learn(user(i), "c", "h", time.Now())
			<-time.After(time.Second)
			if n := len(d.learned.m); n > 1000 {
				t.Fatalf("%d routes kept", n)
			}
		}
		if _, ok := d.Learned(user(4999)); !ok {
			t.Error("the newest is gone")
		}
		if _, ok := d.Learned(user(0)); ok {
			t.Error("the oldest is still there")
		}
		d = reopen(t, d)
		if n, m := learnedOnDisk(t, d), len(d.learned.m); n != m || n > 1000 || n < 900 {
			t.Errorf("%d on disk, %d in memory", n, m)
		}
	})
}

func TestNoRouteIsLearnedWhenThatIsOff(t *testing.T) {
	d := open(t, Options{})
	u := address.Address{Type: "MS", Value: "N/P/U"}
	d.Learn(u, "c", "h", time.Now())
	if _, ok := d.Learned(u); ok {
		t.Error("learned all the same")
	}
}
