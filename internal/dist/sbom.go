package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// What is in the programs, as CycloneDX 1.6 has it (ECMA-424): only what is said here.
type (
	billOfMaterials struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp  string     `json:"timestamp"`
		Component  component  `json:"component"`
		Properties []property `json:"properties"`
	}
	component struct {
		Ref      string          `json:"bom-ref"`
		Type     string          `json:"type"`
		Name     string          `json:"name"`
		Version  string          `json:"version"`
		Hashes   []hash          `json:"hashes,omitempty"`
		Licences []licenceChoice `json:"licenses"`
		PURL     string          `json:"purl"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"` // hexadecimal
	}
	licenceChoice struct {
		Licence licenceID `json:"license"`
	}
	licenceID struct {
		ID string `json:"id"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// ownModule is the path of this repository's module.
const ownModule = "github.com/amahi/spdy-proxy"

func (r *release) billOfMaterials(s system, linked []module) ([]byte, error) {
	own := newComponent("application", module{Path: ownModule, Version: r.version, licences: []string{"AGPL-3.0-only"}})
	bill := billOfMaterials{
		Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata: metadata{
			Timestamp: r.date.Format(time.RFC3339), Component: own,
			Properties: []property{{"build:os", s.os}, {"build:arch", s.arch + s.variant()}, {"build:revision", r.commit}},
		},
	}
	all := dependency{Ref: own.Ref}
	for _, m := range linked {
		c := newComponent("library", m)
		bill.Components = append(bill.Components, c)
		bill.Dependencies = append(bill.Dependencies, dependency{Ref: c.Ref})
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	bill.Dependencies = append(bill.Dependencies, all)
	text, err := json.MarshalIndent(bill, "", "  ")
	return append(text, '\n'), err
}

func newComponent(kind string, m module) component {
	// https://github.com/package-url/purl-spec: the type golang is in lower case, and
	// a plus is quoted.
	purl := "pkg:golang/" + strings.ToLower(m.Path) + "@" + strings.ReplaceAll(m.Version, "+", "%2B")
	c := component{Ref: purl, Type: kind, Name: m.Path, Version: m.Version, PURL: purl}
	for _, id := range m.licences {
		c.Licences = append(c.Licences, licenceChoice{licenceID{id}})
	}
	// go.sum's sum is a SHA-256 over the names and sums of the module's files.
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) > 0 {
		c.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum)}}
	}
	return c
}
