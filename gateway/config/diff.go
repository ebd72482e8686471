package config

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"backbone/connectors"
)

// Change is one setting that two configurations have differently.
type Change struct {
	Key string `json:"key"`           // "[retry] open_retries"
	Old string `json:"old,omitempty"` // as TOML; "" where the setting is new. A secret is "***"
	New string `json:"new,omitempty"` // "" where the setting is gone
	// Live tells that a running daemon can change it.
	Live bool `json:"live"`
}

// Diff lists what differs, defaults included, in the order of the reference. Which settings are live their tags say.
func Diff(old, now *Config) []Change {
	a, b := settingsOf(old), settingsOf(now)
	var out []Change
	for _, s := range a {
		i := slices.IndexFunc(b, func(t setting) bool { return t.key == s.key })
		switch {
		case i < 0:
			out = append(out, Change{Key: s.key, Old: s.shown})
		case !equal(s.value, b[i].value):
			out = append(out, Change{Key: s.key, Old: s.shown, New: b[i].shown, Live: s.live})
		}
	}
	for _, s := range b {
		if !slices.ContainsFunc(a, func(t setting) bool { return t.key == s.key }) {
			out = append(out, Change{Key: s.key, New: s.shown})
		}
	}
	return out
}

// equal compares values and not what is shown of them, where secrets are alike. An empty list is no list.
func equal(a, b any) bool {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	if k := va.Kind(); (k == reflect.Slice || k == reflect.Map) && va.Len() == 0 && vb.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a, b)
}

// setting is one key with its value, as it is compared and as it may be shown.
type setting struct {
	key, shown string
	value      any
	live       bool
}

func settingsOf(c *Config) []setting {
	out := flatten(nil, "", reflect.ValueOf(c).Elem(), false)
	for _, cc := range c.Connectors {
		out = flatten(out, "connector."+cc.Base().Name, reflect.ValueOf(cc).Elem(), false)
	}
	return out
}

func flatten(out []setting, section string, v reflect.Value, live bool) []setting {
	for _, f := range keys(v.Type()) {
		fv, live := v.FieldByIndex(f.index), live || f.live
		if fv.Kind() == reflect.Struct && !isText(fv.Type()) {
			sub := f.key
			if section != "" {
				sub = section + "." + f.key
			}
			out = flatten(out, sub, fv, live)
			continue
		}
		out = append(out, setting{key: "[" + section + "] " + f.key, value: fv.Interface(), shown: inline(fv), live: live})
	}
	return out
}

// field is one key of a section.
type field struct {
	key, doc string
	index    []int
	live     bool
}

// keys are the keys of a section's type, those of embedded structs among them, in order.
func keys(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous && tag == "":
			for _, in := range keys(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
		case tag != "" && tag != "-":
			out = append(out, field{tag, f.Tag.Get("doc"), []int{i}, f.Tag.Get("live") != ""})
		}
	}
	return out
}

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

// inline is a value as TOML on one line.
func inline(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && !isText(v.Type().Elem()):
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = inline(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case v.Kind() == reflect.Struct && !isText(v.Type()):
		var parts []string
		for _, f := range keys(v.Type()) {
			if fv := v.FieldByIndex(f.index); !fv.IsZero() {
				parts = append(parts, f.key+" = "+inline(fv))
			}
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	case v.Kind() == reflect.Map:
		var parts []string
		for _, k := range v.MapKeys() {
			parts = append(parts, fmt.Sprintf("%q = %s", k.String(), inline(v.MapIndex(k))))
		}
		sort.Strings(parts)
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	return text(v)
}

// Links are the connectors' sections as far as they are live, for the gateway.
func (c *Config) Links() []connectors.Common {
	var out []connectors.Common
	for _, cc := range c.Connectors {
		if b := cc.Base(); !b.Disabled {
			out = append(out, *b)
		}
	}
	return out
}
