package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// The part of CycloneDX 1.6 (ECMA-424) that a list of Go modules needs.
type bom struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Serial       string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component  component  `json:"component"`
	Properties []property `json:"properties"`
}

type component struct {
	Type     string    `json:"type"`
	Ref      string    `json:"bom-ref"`
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"`
	Hashes   []hash    `json:"hashes,omitempty"`
	Licences []licence `json:"licenses"`
	PURL     string    `json:"purl,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type licence struct {
	Licence struct {
		ID string `json:"id"`
	} `json:"license"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// SBOM lists what binary was built from, as the linker wrote it into it, with the licences that the modules have at root. It has
// no time in it: the serial number follows from the program.
func SBOM(root, binary, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	known := map[string]module{}
	ms, err := modules(root)
	if err != nil {
		return nil, err
	}
	more, err := others(root)
	if err != nil {
		return nil, err
	}
	for _, m := range ms {
		known[m.path+"@"+m.version] = m
	}
	id := sum // a UUID of version 8 (RFC 9562, 5.8)
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	doc := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Serial: fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16]),
	}
	doc.Metadata.Component = component{
		Type: "application", Name: "backbone", Version: version, Ref: purl("backbone", version), PURL: purl("backbone", version),
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}, Licences: licences("MIT"),
	}
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "CGO_ENABLED" {
			doc.Metadata.Properties = append(doc.Metadata.Properties, property{"go:" + s.Key, s.Value})
		}
	}
	top := dependency{Ref: doc.Metadata.Component.Ref}
	add := func(c component) {
		doc.Components = append(doc.Components, c)
		top.DependsOn = append(top.DependsOn, c.Ref)
	}
	for _, d := range info.Deps {
		if d.Replace != nil {
			return nil, fmt.Errorf("%s is replaced by %s: a release is built from what go.mod says", d.Path, d.Replace.Path)
		}
		m, ok := known[d.Path+"@"+d.Version]
		if !ok {
			return nil, fmt.Errorf("%s %s is in the program, but not in the build list at %s", d.Path, d.Version, root)
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(d.Sum, "h1:"))
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("%s %s has no checksum: %q", d.Path, d.Version, d.Sum)
		}
		ref := purl(d.Path, d.Version)
		// go.sum's checksum is the SHA-256 of a list of the files with theirs.
		add(component{Type: "library", Ref: ref, PURL: ref, Name: d.Path, Version: d.Version, Hashes: []hash{{"SHA-256", hex.EncodeToString(raw)}}, Licences: licences(m.licences...)})
	}
	more[0].version = strings.TrimPrefix(info.GoVersion, "go")
	for _, m := range more {
		c := component{Type: "library", Name: m.path, Version: m.version, Licences: licences(m.licences...)}
		if m.path == "std" {
			c.PURL = purl("std", m.version)
			c.Ref = c.PURL
		} else {
			c.Ref = m.path
		}
		add(c)
	}
	doc.Dependencies = []dependency{top}
	out, err := json.MarshalIndent(doc, "", "  ")
	return append(out, '\n'), err
}

func licences(ids ...string) []licence {
	out := make([]licence, len(ids))
	for i, id := range ids {
		out[i].Licence.ID = id
	}
	return out
}

func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + url.PathEscape(version)
}
