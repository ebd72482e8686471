package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sort"
	"strings"

	"backbone/connectors"
)

// Reference writes every key of the configuration with its type, default and meaning, from the types themselves, so
// that it can't disagree with what Parse accepts.
func Reference(w io.Writer, kinds []connectors.Kind) error {
	p := &printer{w: w}
	p.section("", reflect.ValueOf(Default()).Elem(), "")
	kinds = append([]connectors.Kind(nil), kinds...)
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].Type < kinds[j].Type })
	for _, k := range kinds {
		p.section("connector.NAME", reflect.ValueOf(k.NewConfig()).Elem(), fmt.Sprintf("a connector with type = %q", k.Type))
	}
	return p.err
}

// Key is one key of the configuration, as Keys lists it.
type Key struct {
	Section string `json:"section"` // "[site]", "[[control.user]]", "[connector.NAME]"; "" at the top
	Type    string `json:"type,omitempty"`
	Name    string `json:"name"`
	Default string `json:"default"` // as TOML
	Doc     string `json:"doc"`
}

// Keys is what Reference writes, for programs. Type is the connector's, in its sections.
func Keys(kinds []connectors.Kind) (out []Key) {
	p := &printer{w: io.Discard, keys: &out}
	p.section("", reflect.ValueOf(Default()).Elem(), "")
	kinds = slices.SortedFunc(slices.Values(kinds), func(a, b connectors.Kind) int { return strings.Compare(a.Type, b.Type) })
	for _, k := range kinds {
		n := len(out)
		p.section("connector.NAME", reflect.ValueOf(k.NewConfig()).Elem(), "")
		for i := range out[n:] {
			out[n+i].Type = k.Type
		}
	}
	return out
}

type printer struct {
	w    io.Writer
	err  error
	keys *[]Key // nil: not asked for
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

type subsection struct {
	path, doc string
	v         reflect.Value
}

func (p *printer) section(path string, v reflect.Value, doc string) {
	var subs []subsection
	if path != "" {
		p.printf("%s\n", heading(path))
		if doc != "" {
			p.printf("  # %s\n", doc)
		}
	}
	p.fields(path, v, &subs)
	if path != "" {
		p.printf("\n")
	}
	for _, s := range subs {
		p.section(s.path, s.v, s.doc)
	}
}

// heading is a section's line, "" for the top.
func heading(path string) string {
	switch {
	case path == "":
		return ""
	case strings.HasSuffix(path, "]"):
		return "[[" + strings.TrimSuffix(path, "[]") + "]]"
	}
	return "[" + path + "]"
}

func (p *printer) fields(path string, v reflect.Value, subs *[]subsection) {
	join := func(tag string) string {
		if path == "" {
			return tag
		}
		return strings.TrimSuffix(path, "[]") + "." + tag
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.Anonymous && tag == "" {
			p.fields(path, v.Field(i), subs)
			continue
		}
		if tag == "" || tag == "-" {
			continue
		}
		fv, doc := v.Field(i), f.Tag.Get("doc")
		elem := f.Type
		if elem.Kind() == reflect.Slice {
			elem = elem.Elem()
		}
		if elem.Kind() == reflect.Struct && !reflect.PointerTo(elem).Implements(textType) {
			if f.Type.Kind() == reflect.Slice {
				*subs = append(*subs, subsection{join(tag) + "[]", doc, reflect.New(elem).Elem()})
			} else {
				*subs = append(*subs, subsection{join(tag), doc, fv})
			}
			continue
		}
		p.printf("  %-24s %-16s %s\n", tag+" = "+text(fv), "", doc)
		if p.keys != nil {
			*p.keys = append(*p.keys, Key{Section: heading(path), Name: tag, Default: text(fv), Doc: doc})
		}
	}
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// text is the value as TOML.
func text(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil {
			return "?"
		}
		return fmt.Sprintf("%q", b)
	}
	switch v.Kind() {
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = text(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		return "{}"
	}
	return fmt.Sprint(v.Interface())
}

// Show writes the configuration in force, defaults included, as TOML that Parse reads back. Secrets print as "***".
func Show(w io.Writer, c *Config) error {
	p := &printer{w: w}
	p.show("", reflect.ValueOf(c).Elem())
	for _, cc := range c.Connectors {
		p.show("connector."+cc.Base().Name, reflect.ValueOf(cc).Elem())
	}
	return p.err
}

func (p *printer) show(path string, v reflect.Value) {
	var subs []subsection
	if path != "" {
		p.printf("[%s]\n", path)
	}
	p.values(path, v, &subs)
	if path != "" {
		p.printf("\n")
	}
	for _, s := range subs {
		if s.v.Kind() == reflect.Slice {
			for i := range s.v.Len() {
				p.show("["+s.path+"]", s.v.Index(i))
			}
			continue
		}
		p.show(s.path, s.v)
	}
}

func (p *printer) values(path string, v reflect.Value, subs *[]subsection) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.Anonymous && tag == "" {
			p.values(path, v.Field(i), subs)
			continue
		}
		if tag == "" || tag == "-" {
			continue
		}
		elem := f.Type
		if elem.Kind() == reflect.Slice {
			elem = elem.Elem()
		}
		if elem.Kind() == reflect.Struct && !reflect.PointerTo(elem).Implements(textType) {
			sub := tag
			if path != "" {
				sub = strings.Trim(path, "[]") + "." + tag
			}
			*subs = append(*subs, subsection{path: sub, v: v.Field(i)})
			continue
		}
		if v.Field(i).Kind() == reflect.Map {
			keys := v.Field(i).MapKeys()
			sort.Slice(keys, func(a, b int) bool { return keys[a].String() < keys[b].String() })
			for _, k := range keys {
				p.printf("%s.%q = %s\n", tag, k.String(), text(v.Field(i).MapIndex(k)))
			}
			continue
		}
		p.printf("%s = %s\n", tag, text(v.Field(i)))
	}
}
