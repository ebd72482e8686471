// Package exactjson writes what the queue holds as JSON and reads it back octet for octet, whatever strangers put into
// it. JSON text is Unicode and PostgreSQL's knows no NUL, but a mail address may hold any octet: those that neither can
// say are written as characters of a private plane. It decides nothing about what is written, and fails only where
// encoding/json does.
package exactjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// plane is where octets that are no text go: octet b is the character plane+b, in Unicode's private plane 16. *Ours*.
const plane = 0x10FF00

// Text is s as text that JSON and PostgreSQL take: octets that are not UTF-8, NUL, and the characters that stand for such
// octets are replaced by one character an octet. Original undoes it.
func Text(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == 0 || r >= plane {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteRune(plane + rune(c))
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func clean(s string) bool {
	ascii := true
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			return false
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if ascii {
		return true
	}
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r >= plane })
}

// Original is the text that Text was given.
func Original(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= plane }) {
		return s
	}
	var b []byte
	for _, r := range s {
		if r >= plane {
			b = append(b, byte(r-plane))
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

// Marshal is json.Marshal of v with each of its strings as Text. A time that RFC 3339 can't say (a year beyond 9999, a
// zone of a day or more) is written in UTC, or as the zero time where that does not help.
func Marshal(v any) ([]byte, error) {
	return json.Marshal(each(reflect.ValueOf(v), Text).Interface())
}

// Unmarshal is json.Unmarshal into v, a pointer, with the strings of before Marshal.
func Unmarshal(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	p := reflect.ValueOf(v).Elem()
	p.Set(each(p, Original))
	return nil
}

// each is v with f applied to the strings in it. What it points to is copied before it is changed.
func each(v reflect.Value, f func(string) string) reflect.Value {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); f(s) != s {
			n := reflect.New(v.Type()).Elem()
			n.SetString(f(s))
			return n
		}
	case reflect.Struct:
		n := reflect.New(v.Type()).Elem()
		n.Set(v)
		if t, ok := v.Interface().(time.Time); ok {
			n.Set(reflect.ValueOf(sayable(t)))
			return n
		}
		for i := range n.NumField() {
			if n.Type().Field(i).IsExported() {
				n.Field(i).Set(each(v.Field(i), f))
			}
		}
		return n
	case reflect.Pointer:
		if !v.IsNil() {
			n := reflect.New(v.Type().Elem())
			n.Elem().Set(each(v.Elem(), f))
			return n
		}
	case reflect.Slice:
		if !v.IsNil() && v.Type().Elem().Kind() != reflect.Uint8 {
			n := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			for i := range v.Len() {
				n.Index(i).Set(each(v.Index(i), f))
			}
			return n
		}
	case reflect.Map:
		if !v.IsNil() {
			n := reflect.MakeMapWithSize(v.Type(), v.Len())
			for k, x := range v.Seq2() {
				n.SetMapIndex(each(k, f), each(x, f))
			}
			return n
		}
	}
	return v
}

func sayable(t time.Time) time.Time {
	if _, err := t.MarshalText(); err == nil {
		return t
	}
	if _, err := t.UTC().MarshalText(); err == nil {
		return t.UTC()
	}
	return time.Time{}
}
