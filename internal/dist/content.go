package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
)

// content is what a system's archive has of its own.
type content struct {
	programs map[string][]byte // by the program's name
	licences []byte            // the texts, of all that is linked in
	list     []byte            // the same, for machines: CycloneDX
}

// files are as they lie in an archive.
func (c content) files(s system) (all []file) {
	for _, program := range programs {
		all = append(all, file{name: "bin/" + s.exe(program), mode: 0o755, data: c.programs[program]})
	}
	return append(all,
		file{name: docs + "THIRD-PARTY-LICENSES.txt", mode: 0o644, data: c.licences},
		file{name: docs + "sbom.cdx.json", mode: 0o644, data: c.list})
}

// docs is the folder of what is read, below PREFIX.
const docs = "share/doc/" + product + "/"

// content reads the programs of a system, and what was linked into them.
func (r *release) content(ctx context.Context, s system) (c content, err error) {
	linked, err := linkedIn(ctx, s)
	if err != nil {
		return c, err
	}
	c.programs = make(map[string][]byte)
	for _, program := range programs {
		path := filepath.Join(r.bin(s), s.exe(program))
		if c.programs[program], err = os.ReadFile(path); err != nil {
			return c, err
		}
		if err := checkLinked(path, linked); err != nil {
			return c, err
		}
	}
	c.licences = licenceTexts(linked)
	c.list, err = r.billOfMaterials(s, linked)
	return c, err
}

// checkLinked compares what a program says it was built from with what is known.
func checkLinked(path string, linked []module) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	known := make(map[string]module)
	for _, m := range linked {
		known[m.Path] = m
	}
	for _, dep := range info.Deps {
		if dep.Replace != nil && dep.Replace.Sum == "" {
			continue // a folder of this repository
		}
		if m, ok := known[dep.Path]; !ok || m.Version != dep.Version || m.Sum != dep.Sum {
			return fmt.Errorf("%s was built from %s %s, and the go command knows of %q", filepath.Base(path), dep.Path, dep.Version, m.Version)
		}
	}
	return nil
}
