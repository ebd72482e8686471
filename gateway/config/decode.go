package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"backbone/connectors"

	"github.com/pelletier/go-toml/v2"
)

var elementIndex = regexp.MustCompile(`\[\d+\]`)

// decode fills c from text and tells whether the values can be checked further. Connector sections have types of
// their own: the document's type is put together from the kinds that the file names, so that one strict pass
// sees every key of the file and knows its place.
func decode(name string, text []byte, kinds []connectors.Kind, c *Config, errs *Errors) bool {
	var probe struct {
		Connector map[string]struct {
			Type string `toml:"type"`
		} `toml:"connector"`
	}
	if err := toml.Unmarshal(text, &probe); err != nil {
		addDecodeError(name, err, errs)
		return false
	}
	byType := map[string]connectors.Kind{}
	var types []string
	for _, k := range kinds {
		byType[k.Type] = k
		types = append(types, k.Type)
	}
	pos := positions(text)
	var fields []reflect.StructField
	var values []connectors.Config
	for _, n := range pos.tables("connector") {
		typ := probe.Connector[n].Type
		k, ok := byType[typ]
		if !ok {
			key := "connector." + n + ".type"
			if typ == "" {
				errs.add(name, pos.find(key), key, fmt.Sprintf("missing: write type = one of %s", strings.Join(types, ", ")))
			} else {
				errs.add(name, pos.find(key), key, fmt.Sprintf("%q is no kind of connector: write one of %s", typ, strings.Join(types, ", ")))
			}
			continue
		}
		cfg := k.NewConfig()
		cfg.Base().Name = n
		values = append(values, cfg)
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("C%d", len(fields)), Type: reflect.TypeOf(cfg), Tag: reflect.StructTag(fmt.Sprintf(`toml:%q`, n)),
		})
	}
	if len(errs.List) > 0 {
		return false
	}
	docType := reflect.StructOf([]reflect.StructField{
		{Name: "Config", Type: reflect.TypeOf(*c), Anonymous: true},
		{Name: "Connector", Type: reflect.StructOf(fields), Tag: `toml:"connector"`},
	})
	doc := reflect.New(docType)
	doc.Elem().Field(0).Set(reflect.ValueOf(*c))
	for i, v := range values {
		doc.Elem().Field(1).Field(i).Set(reflect.ValueOf(v))
	}
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(doc.Interface())
	var strict *toml.StrictMissingError
	switch {
	case err == nil:
	case errors.As(err, &strict):
		for _, e := range strict.Errors {
			line, col := e.Position()
			key := []string(e.Key())
			if k := pos.keyAt(Position{line, col}); k != "" { // inside inline tables the library leaves parts out
				key = strings.Split(elementIndex.ReplaceAllString(k, ""), ".")
			}
			text := "unknown key"
			if w := nearest(key[len(key)-1], keysAt(docType, key[:len(key)-1])); w != "" {
				text += fmt.Sprintf(": did you mean %q?", w)
			}
			errs.add(name, Position{line, col}, strings.Join(key, "."), text)
		}
	default:
		addDecodeError(name, err, errs)
		return false
	}
	*c = doc.Elem().Field(0).Interface().(Config)
	for i, v := range values {
		v.Base().Name = fields[i].Tag.Get("toml")
	}
	c.Connectors = values
	return true
}

// addDecodeError turns the library's message, which speaks of Go types, into one that speaks of the file.
func addDecodeError(name string, err error, errs *Errors) {
	var de *toml.DecodeError
	if !errors.As(err, &de) {
		errs.add(name, Position{}, "", err.Error())
		return
	}
	line, col := de.Position()
	text := strings.TrimPrefix(de.Error(), "toml: ")
	if got, want, ok := strings.Cut(text, " into struct field "); ok {
		got = strings.TrimPrefix(got, "cannot decode TOML ")
		text = fmt.Sprintf("is a TOML %s, but %s is expected here", got, goTypeInWords(want))
	}
	errs.add(name, Position{line, col}, strings.Join([]string(de.Key()), "."), text)
}

func goTypeInWords(s string) string {
	switch s[strings.LastIndexByte(s, ' ')+1:] {
	case "string", "connectors.Secret":
		return "a quoted text"
	case "int", "int64", "uint16", "uint":
		return "a number"
	case "bool":
		return "true or false"
	case "connectors.Duration":
		return "a quoted time such as \"15m\""
	}
	if strings.Contains(s, "[]") {
		return "a list"
	}
	return "another kind of value"
}

// keysAt lists the keys that may stand in the table at path.
func keysAt(t reflect.Type, path []string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			keys = append(keys, keysAt(f.Type, path)...)
			continue
		}
		tag, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if tag == "" || tag == "-" {
			continue
		}
		if len(path) == 0 {
			keys = append(keys, tag)
		} else if tag == path[0] {
			keys = append(keys, keysAt(f.Type, path[1:])...)
		}
	}
	return keys
}
