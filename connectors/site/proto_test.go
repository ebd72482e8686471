package site

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"backbone/connectors/site/sitev1"
)

// TestGeneratedCodeIsThatOfTheProtoFile compares names, numbers and types in site.proto with those in the code that is
// committed beside it: run "go generate ./connectors/site" when it fails.
func TestGeneratedCodeIsThatOfTheProtoFile(t *testing.T) {
	text, err := os.ReadFile("sitev1/site.proto")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	block, comment := "", regexp.MustCompile(`//.*`)
	open := regexp.MustCompile(`^(message|enum|service) (\w+) \{(\})?$`)
	field := regexp.MustCompile(`^(?:(repeated|optional) )?(map<string, string>|\w+) (\w+) = (\d+);$`)
	value := regexp.MustCompile(`^([A-Z_]+) = (\d+);$`)
	rpc := regexp.MustCompile(`^rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\);$`)
	for _, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(comment.ReplaceAllString(line, ""))
		if m := open.FindStringSubmatch(line); m != nil {
			block = m[2]
		} else if m := field.FindStringSubmatch(line); m != nil {
			want = append(want, strings.Join([]string{block, m[1], m[2], m[3], m[4]}, " "))
		} else if m := value.FindStringSubmatch(line); m != nil {
			want = append(want, strings.Join([]string{block, m[1], m[2]}, " "))
		} else if m := rpc.FindStringSubmatch(line); m != nil {
			want = append(want, strings.Join([]string{block, m[1], m[2], m[3], m[4], m[5]}, " "))
		}
	}
	var got []string
	f := sitev1.File_backbone_site_v1_site_proto
	for m := range each(f.Messages()) {
		for d := range each(m.Fields()) {
			label, kind := "", d.Kind().String()
			switch {
			case d.IsMap():
				kind = "map<string, string>"
			case d.IsList():
				label = "repeated"
			case d.HasOptionalKeyword():
				label = "optional"
			}
			if d.Message() != nil && !d.IsMap() {
				kind = string(d.Message().Name())
			} else if d.Enum() != nil {
				kind = string(d.Enum().Name())
			}
			got = append(got, strings.Join([]string{string(m.Name()), label, kind, string(d.Name()), num(int(d.Number()))}, " "))
		}
	}
	for e := range each(f.Enums()) {
		for v := range each(e.Values()) {
			got = append(got, strings.Join([]string{string(e.Name()), string(v.Name()), num(int(v.Number()))}, " "))
		}
	}
	for s := range each(f.Services()) {
		for m := range each(s.Methods()) {
			in, out := "", ""
			if m.IsStreamingClient() {
				in = "stream "
			}
			if m.IsStreamingServer() {
				out = "stream "
			}
			got = append(got, strings.Join([]string{string(s.Name()), string(m.Name()), in, string(m.Input().Name()), out, string(m.Output().Name())}, " "))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) || len(want) < 60 {
		t.Errorf("site.proto has\n%s\n\nthe generated code has\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

type list[T any] interface {
	Len() int
	Get(int) T
}

func each[T any](l list[T]) func(func(T) bool) {
	return func(yield func(T) bool) {
		for i := range l.Len() {
			if !yield(l.Get(i)) {
				return
			}
		}
	}
}

func num(n int) string { return key("%d", n) }
