package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"backbone/gateway/directory"
)

// errStop ends a walk over records early; it is no failure.
var errStop = errors.New("enough")

func record(ed *directory.Edit) func(string) ([]byte, error) {
	return func(k string) ([]byte, error) { return ed.Record(k), nil }
}

// load reads a record into v, which stays as it is when there is none.
func load(get func(string) ([]byte, error), key string, v any) error {
	b, err := get(key)
	if err != nil || b == nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	return nil
}

func store(ed *directory.Edit, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	ed.SetRecord(key, b)
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
