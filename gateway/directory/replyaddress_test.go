package directory

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"backbone/gateway/address"
)

func TestAnUnknownSenderGetsAnAddressThatLeadsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Site: siteA, ReplyAddresses: 90 * 24 * time.Hour, NoSync: true}
		d := openAt(t, t.TempDir()+"/d", o)
		kim := addr(t, "SMTP:kim@elsewhere.example")
		given := d.As(kim, address.MS)
		m, err := given.MSMail()
		if err != nil || m.PostOffice().String() != "NORTHWIND/SITEA" || len(m.Mailbox) != 10 {
			t.Fatalf("given %s, %v", given, err)
		}
		if again := d.As(kim, address.MS); again != given {
			t.Errorf("the second time it is %s, not %s", again, given)
		}
		d = reopen(t, d)
		if r, err := d.Resolve(given); err != nil || r.Target != kim || len(r.Steps) != 1 {
			t.Errorf("after a restart it leads to %+v, %v", r, err)
		}
		add(t, d, person(t, "KIM", "SMTP:kim@elsewhere.example", "MS:NORTHWIND/SITEA/KIM"))
		if got := d.As(kim, address.MS); got != addr(t, "MS:NORTHWIND/SITEA/KIM") {
			t.Errorf("once he is in the directory he is %s, want his proxy", got)
		}
		if r, err := d.Resolve(given); err != nil || r.Target != kim {
			t.Errorf("what he was given before leads to %+v, %v", r, err)
		}
		time.Sleep(91 * 24 * time.Hour)
		if r, err := d.Resolve(given); err != nil || r.Target != given {
			t.Errorf("after its time it leads to %+v, %v", r, err)
		}
	})
}

func TestReplyAddressesAreBoundedAndTheLatestUsedStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openAt(t, t.TempDir()+"/d", Options{Site: siteA, ReplyAddresses: 90 * 24 * time.Hour, MaxReplyRoutes: 20, NoSync: true})
		var last address.Address
		for i := range 100 {
			last = d.As(addr(t, fmt.Sprintf("SMTP:u%d@elsewhere.example", i)), address.MS)
			time.Sleep(time.Minute)
		}
		if n := len(d.replies.m); n > 20 {
			t.Errorf("%d are kept, want at most 20", n)
		}
		if r, err := d.Resolve(last); err != nil || r.Target != addr(t, "SMTP:u99@elsewhere.example") {
			t.Errorf("the last one leads to %+v, %v", r, err)
		}
	})
}

func TestWithoutReplyAddressesAForeignSenderStaysWhoHeIs(t *testing.T) {
	d := open(t, Options{})
	if got := d.As(addr(t, "SMTP:kim@elsewhere.example"), address.MS); got != addr(t, "SMTP:kim@elsewhere.example") {
		t.Errorf("got %s", got)
	}
}
