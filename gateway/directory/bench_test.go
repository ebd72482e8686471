package directory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"backbone/gateway/address"
)

// bigFile is an import file of n custom recipients, each with three proxies.
func bigFile(n int) string {
	var b strings.Builder
	b.WriteString("Obj-Class,Mode,Directory Name,Display Name,Alias Name,First Name,Last name,E-mail Address,E-mail Addresses,Secondary-Proxy-Addresses\r\n")
	for i := range n {
		fmt.Fprintf(&b, "Remote,Create,USER%d,\"Last%d, First%d\",USER%d,First%d,Last%d,MS:NORTHWIND/PO%d/USER%d,SMTP:first%d.last%d@northwind.example%%X400:c=US;a= ;p=Northwind;o=SITEA;s=Last%d;g=First;,SMTP:u%d@old.example\r\n",
			i, i, i, i, i, i, i%50, i, i, i, i, i)
	}
	return b.String()
}

func filled(b *testing.B, n int) *Directory {
	b.Helper()
	d := open(b, Options{})
	if s, err := d.Import(context.Background(), strings.NewReader(bigFile(n)), ImportOptions{}); err != nil || s.Created != n {
		b.Fatalf("%+v %v", s, err)
	}
	return d
}

func BenchmarkImportOf100000(b *testing.B) {
	file := bigFile(100_000)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		d := open(b, Options{})
		if s, err := d.Import(context.Background(), strings.NewReader(file), ImportOptions{Results: io.Discard}); err != nil || s.Created != 100_000 {
			b.Fatalf("%+v %v", s, err)
		}
	}
}

func BenchmarkAmong100000(b *testing.B) {
	d := filled(b, 100_000)
	smtp, ms := address.Address{Type: "SMTP", Value: "first77777.last77777@northwind.example"}, address.Address{Type: "MS", Value: "NORTHWIND/PO27/USER77777"}
	b.Run("resolve a proxy", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r, err := d.Resolve(smtp); err != nil || r.Target != ms {
				b.Fatal(r, err)
			}
		}
	})
	b.Run("resolve a target", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r, err := d.Resolve(ms); err != nil || !r.Known {
				b.Fatal(r, err)
			}
		}
	})
	b.Run("as", func(b *testing.B) {
		for b.Loop() {
			if d.As(ms, address.SMTP) != smtp {
				b.Fatal()
			}
		}
	})
	b.Run("delta of 100 changes", func(b *testing.B) {
		for b.Loop() {
			if es, _, err := d.ChangesSince(d.USN()-100, 1000); err != nil || len(es) != 100 {
				b.Fatal(len(es), err)
			}
		}
	})
	b.Run("page of 100", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := d.List(Filter{}, "SITEA/USER5", 100); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			if es, _, err := d.List(Filter{Text: "last7777,"}, "", 100); err != nil || len(es) != 1 {
				b.Fatal(len(es), err)
			}
		}
	})
	b.Run("export", func(b *testing.B) {
		for b.Loop() {
			if n, err := d.Export(context.Background(), &bytes.Buffer{}, ExportOptions{}); err != nil || n != 100_000 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		path := d.db.Path()
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			again, err := Open(path, d.o)
			if err != nil {
				b.Fatal(err)
			}
			closeAll(b, again)
		}
	})
}

func BenchmarkLearn(b *testing.B) {
	d := open(b, Options{ReplyRoutes: time.Hour})
	a := address.Address{Type: "MS", Value: "NORTHWIND/PO9/USER"}
	for b.Loop() {
		d.Learn(a, "toB", "SITEB", time.Now())
	}
}

// A delta of 100 changes among 100,000 entries, from one site's disk to the other's.
func BenchmarkReplicateADeltaOf100Among100000(b *testing.B) {
	a := filled(b, 100_000)
	siteB := siteA
	siteB.Name = "SITEB"
	to := open(b, Options{Site: siteB})
	pull := func() (n int) {
		for {
			c, err := to.Cursor("SITEA")
			if err != nil {
				b.Fatal(err)
			}
			batch, err := a.ChangesFor(c, 500)
			if err != nil {
				b.Fatal(err)
			}
			r, err := to.Replicate("SITEA", batch)
			if err != nil {
				b.Fatal(err)
			}
			n += r.Taken
			if !batch.More {
				return n
			}
		}
	}
	if n := pull(); n != 100_000 {
		b.Fatalf("%d taken at first", n)
	}
	round := 0
	for b.Loop() {
		b.StopTimer()
		round++
		if err := a.Edit(func(e *Edit) error {
			for i := range 100 {
				x, _ := e.Get(Recipient, fmt.Sprintf("USER%d", i*997))
				x.Display = fmt.Sprintf("Round %d", round)
				if _, err := e.Put(x); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if n := pull(); n != 100 {
			b.Fatalf("%d taken, want 100", n)
		}
	}
}
