package boltqueue

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/mail"
	"backbone/queue"
)

// set sets every field of v, whatever its type, to something that is not zero and not like its neighbours.
func set(t testing.TB, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("text " + string(rune('a'+*n%26)))
	case reflect.Int, reflect.Int8, reflect.Int64:
		v.SetInt(int64(*n%100) - 128)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(*n%100 + 1))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		set(t, v.Index(0), n)
		set(t, v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			set(t, k, n)
			set(t, e, n)
			v.SetMapIndex(k, e)
		}
	case reflect.Interface: // mail.Failure.Cause, which is not kept
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 3, 1, 12, *n%60, 1, 2, time.FixedZone("", 3600*(*n%20-10)))))
			return
		}
		for i := range v.NumField() {
			set(t, v.Field(i), n)
		}
	default:
		t.Fatalf("nobody knows how to fill a %s", v.Type())
	}
}

// TestRecordKeepsEveryField fails when a field is added to the envelope, the failure or the item and not to the record.
func TestRecordKeepsEveryField(t *testing.T) {
	var it queue.Item
	n := 0
	set(t, reflect.ValueOf(&it).Elem(), &n)
	it.State, it.Body.SHA256 = queue.Held, "00ff"
	it.Body.Where = where(77, true)
	r := record{Item: it, body: 77, file: true, was: queue.Ready, dedup: []byte("0123456789abcdef")}
	r.encode()
	got, err := decodeItem(r.raw)
	if err != nil {
		t.Fatal(err)
	}
	it.LeaseOwner, it.LeaseUntil = "", time.Time{} // a lease is the process's
	if d := cmp.Diff(it, got.Item, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
		t.Errorf("item (-want +got):\n%s", d)
	}
	if got.body != 77 || !got.file || got.was != queue.Ready || string(got.dedup) != "0123456789abcdef" {
		t.Errorf("got body %d, file %v, was %s, dedup %q", got.body, got.file, got.was, got.dedup)
	}
	_, want := it.Envelope.Sent.Zone()
	if _, zone := got.Envelope.Sent.Zone(); zone != want {
		t.Errorf("Sent came back in zone %d, was %d: its zone is the originator's and is shown", zone, want)
	}
	got.encode()
	if string(got.raw) != string(r.raw) {
		t.Error("encoding again gives other octets")
	}
}

func TestZeroRecordIsSmall(t *testing.T) {
	r := record{Item: queue.Item{ID: 1, Envelope: mail.Envelope{ID: "x"}}}
	r.encode()
	if len(r.raw) > 20 {
		t.Errorf("%d octets for nothing", len(r.raw))
	}
}

// TestUnknownFieldsAreSkipped: what a newer program adds does not stop an older one.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	r := record{Item: queue.Item{ID: 9, Key: "k"}}
	r.encode()
	e := enc(r.raw)
	e.str(999, "from the future")
	e.uint(1000, 1)
	got, err := decodeItem(e)
	if err != nil || got.ID != 9 || got.Key != "k" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzDecodeChange: any octets are a change or an error, and what is a change is the same after writing it again.
func FuzzDecodeChange(f *testing.F) {
	r := &record{Item: queue.Item{ID: 3, Key: "k", Dest: queue.Dest{Connector: "c"}, Tries: map[string]int{"c": 1}, Last: mail.LinkDown("x", nil)}}
	r.encode()
	c := &change{
		at: time.Now(), bodies: []body{{id: 1, refs: []queue.ID{3}, size: 10}, {id: 2, file: true, size: 1 << 40}}, items: []*record{r},
		ended: []queue.ID{4}, begun: []mark{{5, "o"}}, over: []queue.ID{6}, dedup: []dedupKey{{[]byte("h"), 7, []queue.ID{3}}}, forget: []uint32{8},
		suspend: []queue.Suspension{{Dest: site, Until: time.Now()}}, resume: []queue.Dest{site},
	}
	var e enc
	c.encode(&e)
	f.Add([]byte(e))
	f.Add([]byte(nil))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeChange(b, 1, 0)
		if err != nil {
			return
		}
		for _, r := range c.items {
			r.encode()
		}
		var once, twice enc
		c.encode(&once)
		c, err = decodeChange(once, 1, 0)
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		c.encode(&twice)
		if string(once) != string(twice) {
			t.Fatal("writing twice gives other octets")
		}
	})
}
