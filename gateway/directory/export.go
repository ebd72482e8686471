package directory

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"backbone/gateway/address"
)

// ExportOptions say what an export file holds.
type ExportOptions struct {
	Format
	Filter
	// AllSites exports entries of other sites, too. They can't be imported here again: they belong to their sites.
	AllSites bool
	// Columns are header names that the file shall have, after Obj-Class; nil: all that say something of any entry. As in
	// Exchange, a file without Secondary-Proxy-Addresses has primary addresses only (KB Q153028).
	Columns []string
}

// exportColumns are what an export has without Columns, before the attributes.
var exportColumns = []string{"Directory Name", "Display Name", "Alias Name", "First Name", "Last name", "E-mail Address", "E-mail Addresses",
	"Secondary-Proxy-Addresses", "Obj-Container", "Hide-From-Address-Book"}

// Export writes entries in Exchange's directory export format: UTF-8 with a byte order mark, one object a line, as Import
// reads it back. It returns how many it wrote. Other code pages are not written: no name is lost.
func (d *Directory) Export(ctx context.Context, w io.Writer, o ExportOptions) (int, error) {
	f := o.defaults()
	if !o.AllSites {
		o.Site = d.o.Site.Name
	}
	columns, err := d.exportHeader(o)
	if err != nil {
		return 0, err
	}
	bw := bufio.NewWriter(w)
	header := []string{"Obj-Class"}
	for _, c := range columns {
		header = append(header, c.name)
	}
	if _, err := bw.WriteString("\ufeff"); err != nil {
		return 0, fmt.Errorf("directory export: %w", err)
	}
	if err := f.writeRecord(bw, header); err != nil {
		return 0, fmt.Errorf("directory export: %w", err)
	}
	n := 0
	for after := ""; ; {
		if err := ctx.Err(); err != nil {
			return n, fmt.Errorf("directory export: %w", err)
		}
		page, more, err := d.List(o.Filter, after, 1000)
		if err != nil {
			return n, err
		}
		for i := range page {
			values := []string{"Remote"}
			for _, c := range columns {
				values = append(values, page[i].exported(c, f.Multi))
			}
			if err := f.writeRecord(bw, values); err != nil {
				return n, fmt.Errorf("directory export: %w", err)
			}
			n++
		}
		if after = more; more == "" {
			break
		}
	}
	if err := bw.Flush(); err != nil {
		return n, fmt.Errorf("directory export: %w", err)
	}
	return n, nil
}

func (d *Directory) exportHeader(o ExportOptions) ([]column, error) {
	names := o.Columns
	if names == nil {
		names = slices.Clone(exportColumns)
		used := map[string]bool{}
		d.mu.RLock()
		for _, e := range d.entries {
			for k := range e.Attributes {
				used[k] = true
			}
		}
		d.mu.RUnlock()
		for _, a := range attributes {
			if used[a] {
				names = append(names, a)
			}
		}
	}
	rec := record{fields: []field{{text: "Obj-Class"}}}
	for _, n := range names {
		if canonicalHeader(n) != "obj class" {
			rec.fields = append(rec.fields, field{text: n})
		}
	}
	var unknown error
	columns, err := readHeader(rec, o.defaults(), func(p problem) { unknown = fmt.Errorf("directory export: %s", p.text) })
	if err == nil {
		err = unknown
	}
	if err != nil {
		return nil, err
	}
	return columns[1:], nil
}

// exported is the entry's value for a column.
func (e *Entry) exported(c column, multi byte) string {
	escape := func(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }
	list := func(as []address.Address) string {
		out := make([]string, len(as))
		for i, a := range as {
			out[i] = strings.ReplaceAll(escape(a.String()), string(multi), `\`+string(multi))
		}
		return strings.Join(out, string(multi))
	}
	switch c.kind {
	case columnMode:
		return "Update"
	case columnName:
		return escape(e.Name)
	case columnDisplay:
		return escape(e.Display)
	case columnAlias:
		return escape(e.Alias)
	case columnFirst:
		return escape(e.First)
	case columnLast:
		return escape(e.Last)
	case columnTarget:
		return escape(e.Target.String())
	case columnPrimary:
		return list(e.Proxies)
	case columnSecondary:
		return list(e.Secondary)
	case columnContainer:
		return escape(e.Container)
	case columnHidden:
		if e.Hidden {
			return "1"
		}
		return "0"
	case columnAttribute:
		return escape(e.Attributes[c.name])
	}
	return ""
}
