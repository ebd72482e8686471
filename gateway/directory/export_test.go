package directory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"backbone/gateway/address"
)

func TestExportIsReadBackAsItWas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "d")
		if err != nil {
			rt.Fatal(err)
		}
		var both [2]*Directory
		for i := range both {
			if both[i], err = Open(filepath.Join(dir, strconv.Itoa(i)), Options{Site: siteA}); err != nil {
				rt.Fatal(err)
			}
			defer closeAll(t, both[i])
			both[i].db.NoSync = true // power does not fail in this test
		}
		d, fresh := both[0], both[1]
		word := rapid.StringMatching(`[A-Za-z0-9 ,;"'%\\=ÄŁ漢-]{0,20}`)
		for i := range rapid.IntRange(0, 8).Draw(rt, "entries") {
			e := Entry{
				Name: fmt.Sprintf("U%d%s", i, word.Draw(rt, "name")), Display: word.Draw(rt, "display"), Alias: word.Draw(rt, "alias"), First: word.Draw(rt, "first"), Last: word.Draw(rt, "last"),
				Container: word.Draw(rt, "container"), Hidden: rapid.Bool().Draw(rt, "hidden"),
				Target: address.Address{Type: "MS", Value: fmt.Sprintf("N/P/U%d", i)},
			}
			for j := range rapid.IntRange(0, 3).Draw(rt, "proxies") {
				e.Proxies = append(e.Proxies, address.Address{Type: "SMTP", Value: fmt.Sprintf("a%d%%b.%d@example.com", i, j)}, address.Address{Type: "FAX", Value: fmt.Sprintf(`%d\%d%%x;"y,`, i, j)})
			}
			if v := strings.TrimSpace(word.Draw(rt, "attribute")); v != "" {
				e.Attributes = map[string]string{"Custom Attribute " + strconv.Itoa(i+1): v}
			}
			if _, err := d.Add(e); err != nil {
				rt.Fatal(err)
			}
		}
		f := Format{Column: rapid.SampledFrom([]byte{0, ';', '\t', '|'}).Draw(rt, "column"), Quote: rapid.SampledFrom([]byte{0, '\''}).Draw(rt, "quote"), Multi: rapid.SampledFrom([]byte{0, '#'}).Draw(rt, "multi")}
		var b bytes.Buffer
		n, err := d.Export(context.Background(), &b, ExportOptions{Format: f})
		if err != nil || n != d.Size() {
			rt.Fatal(n, err)
		}
		text := b.String()
		s, err := fresh.Import(context.Background(), &b, ImportOptions{Format: f})
		if err != nil || s.Errors > 0 || s.Warnings > 0 || s.Created != n {
			rt.Fatalf("summary %+v, %v\n%s", s, err, text)
		}
		page, _, err := d.List(Filter{}, "", 100)
		if err != nil {
			rt.Fatal(err)
		}
		for _, want := range page {
			got, err := fresh.Get(want.Name)
			if err != nil || !want.same(&got) {
				rt.Fatalf("%v\n%s\n%s", err, cmp.Diff(want, got), text)
			}
		}
		// Once more into the same directory: nothing is new.
		s, err = d.Import(context.Background(), strings.NewReader(text), ImportOptions{Format: f})
		if err != nil || s.Unchanged != n || s.Modified != 0 {
			rt.Fatalf("summary %+v, %v", s, err)
		}
	})
}

func TestExportColumns(t *testing.T) {
	d := open(t, Options{})
	add(t, d, Entry{Name: "A", Display: "Lee, Jin", Target: addr(t, "MS:N/P/A"), Proxies: addrs(t, "SMTP:a@example.com"), Secondary: addrs(t, "SMTP:b@example.com")})
	if _, err := apply(d, "SITEA", []Entry{{Name: "Z", Site: "SITEB", Version: 1, Target: addr(t, "MS:N/P/Z")}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    ExportOptions
		want string
	}{
		{"primary addresses only, unless the header names the others (Q153028)", ExportOptions{Columns: []string{"Mode", "Directory Name", "Display Name", "E-mail Address", "E-mail Addresses"}},
			"Obj-Class,Mode,Directory Name,Display Name,E-mail Address,E-mail Addresses\r\nRemote,Update,A,\"Lee, Jin\",MS:N/P/A,SMTP:a@example.com\r\n"},
		{"all sites, tabs", ExportOptions{AllSites: true, Columns: []string{"Directory Name", "Display Name", "Secondary-Proxy-Addresses"}, Format: Format{Column: '\t'}},
			"Obj-Class\tDirectory Name\tDisplay Name\tSecondary-Proxy-Addresses\r\nRemote\tA\tLee, Jin\tSMTP:b@example.com\r\nRemote\tZ\t\t\r\n"},
		{"a filter", ExportOptions{Filter: Filter{Text: "nobody"}, Columns: []string{"Directory Name"}}, "Obj-Class,Directory Name\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if _, err := d.Export(context.Background(), &b, tt.o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("\ufeff"+tt.want, b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	for _, bad := range [][]string{{"Directory Name", "Shoe size"}, {"Display Name"}, {"Directory Name", "Directory Name"}} {
		if _, err := d.Export(context.Background(), io.Discard, ExportOptions{Columns: bad}); err == nil {
			t.Errorf("columns %q accepted", bad)
		}
	}
	if _, err := d.Export(context.Background(), failing{}, ExportOptions{}); err == nil {
		t.Error("a failing writer was not noticed")
	}
}
