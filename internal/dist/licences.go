package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"

	"github.com/amahi/spdy-proxy/internal/cli"
)

// module is one whose code is linked into a program.
type module struct {
	Path    string
	Version string
	Sum     string // as in go.sum; "" for Go itself
	Dir     string

	texts    map[string][]byte // of licences, by their names in Dir
	licences []string          // SPDX's names for them
}

// goModule is the name of Go's own code, as purl-spec has it.
const goModule = "std"

// accepted are the licences that go with the AGPL-3.0, by SPDX's names.
var accepted = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "Unlicense", "Zlib"}

// grant is what Go's file PATENTS has in the list of licensecheck: it gives more than
// the licence, and takes nothing.
const grant = "GooglePatentsFile"

// licenceFile are the names of what has to be handed on beside a program.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents|unlicense)([-_.].*)?$`)

// linkedIn returns the modules whose packages the programs have on a system, Go itself
// first, with their licences. A module has those of its folder, and those beside
// its packages or between the two.
func linkedIn(ctx context.Context, s system) ([]module, error) {
	args := []string{"list", "-deps", "-json=Dir,Standard,Module"}
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	text, err := output(ctx, s.environment(), goCommand(), args...)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*module)
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var p struct {
			Dir    string
			Module *struct {
				module
				Main    bool
				Replace *struct{ Version string }
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if p.Module == nil || p.Module.Main || p.Module.Replace != nil && p.Module.Replace.Version == "" {
			continue // Go's, or ours
		}
		if found[p.Module.Path] == nil {
			m := p.Module.module
			found[m.Path] = &m
		}
		if err := found[p.Module.Path].read(p.Dir); err != nil {
			return nil, err
		}
	}
	language, err := goItself(ctx, s)
	if err != nil {
		return nil, err
	}
	linked := []module{language}
	for _, m := range slices.SortedFunc(maps.Values(found), func(a, b *module) int { return cmp.Compare(a.Path, b.Path) }) {
		if err := m.judge(); err != nil {
			return nil, err
		}
		linked = append(linked, *m)
	}
	return linked, nil
}

// goItself is the module of Go's runtime and library, which are in every program.
func goItself(ctx context.Context, s system) (m module, err error) {
	text, err := output(ctx, s.environment(), goCommand(), "env", "GOVERSION", "GOROOT")
	if err != nil {
		return m, err
	}
	version, root, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	m = module{Path: goModule, Version: strings.TrimPrefix(version, "go"), Dir: strings.TrimSpace(root)}
	if err := m.read(m.Dir); err != nil {
		return m, err
	}
	return m, m.judge()
}

// read collects the licences between the module's folder and one in it.
func (m *module) read(dir string) error {
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			name, err := filepath.Rel(m.Dir, filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			if m.texts == nil {
				m.texts = make(map[string][]byte)
			}
			m.texts[filepath.ToSlash(name)] = text
		}
		if dir == m.Dir {
			return nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return fmt.Errorf("%s: %s is not in its folder %s", m.Path, dir, m.Dir)
		}
		dir = up
	}
}

// judge names the licences. An error means that the module may not be handed on
// before somebody has looked at it.
func (m *module) judge() error {
	for name, text := range m.texts {
		for _, match := range licensecheck.Scan(text).Match {
			if match.IsURL || match.ID == grant || slices.Contains(m.licences, match.ID) {
				continue
			}
			if !slices.Contains(accepted, match.ID) {
				return fmt.Errorf("%s %s: %s has the licence %s: see whether that goes with the AGPL-3.0, and add it to the accepted ones or leave the module out",
					m.Path, m.Version, name, match.ID)
			}
			m.licences = append(m.licences, match.ID)
		}
	}
	if len(m.licences) == 0 {
		return fmt.Errorf("%s %s has no licence that is known: nobody may hand it on; leave it out", m.Path, m.Version)
	}
	slices.Sort(m.licences)
	return nil
}

// printLicences prints what the programs for a system want handed on.
func printLicences(ctx context.Context, name string, w io.Writer) error {
	chosen, err := choose("licences", []string{name})
	if err != nil {
		return cli.Usage(err)
	}
	linked, err := linkedIn(ctx, chosen[0])
	if err != nil {
		return err
	}
	_, err = w.Write(licenceTexts(linked))
	return err
}

// licenceTexts is one text of all that modules want handed on.
func licenceTexts(linked []module) []byte {
	var b bytes.Buffer
	b.WriteString("The programs p, c and a are under the AGPL-3.0: see LICENSE. Linked into them is what follows,\n" +
		"each under a licence of its own, whose text is below its name.\n\n")
	for _, m := range linked {
		fmt.Fprintf(&b, "  %s %s (%s)\n", m.Path, m.Version, strings.Join(m.licences, ", "))
	}
	for _, m := range linked {
		for _, name := range slices.Sorted(maps.Keys(m.texts)) {
			fmt.Fprintf(&b, "\n%s\n%s %s: %s\n%[1]s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, name, bytes.TrimSpace(m.texts[name]))
		}
	}
	return b.Bytes()
}
