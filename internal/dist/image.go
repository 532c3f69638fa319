package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is who a container runs as: nobody of the machine's.
const user = 65532

// stateDir is the volume of what a program keeps.
const stateDir = "state"

// image makes the image of a program: an index for several machines, in the layout of
// the OCI image specification, packed as "podman load" and "skopeo copy oci-archive:" read
// it.
func (r *release) image(program string, from map[system]content) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, s := range r.systems {
		c, ok := from[s]
		if !ok {
			continue
		}
		img, err := r.imageOf(program, s, c)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: s.os, Architecture: s.arch}},
		})
	}
	dir := filepath.Join(r.work, "image-"+program)
	path, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s-%s.oci.tar", product, r.version, program)
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.reference(program)})); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := writeFolder(&b, dir, r.date); err != nil {
		return err
	}
	return r.write(name, b.Bytes())
}

// reference is what "podman load" calls an image. A tag has no +, which is in the versions
// of what is not committed.
func (r *release) reference(program string) string {
	return product + "-" + program + ":" + strings.ReplaceAll(r.version, "+", "-")
}

// writeFolder writes the files of a folder.
func writeFolder(w io.Writer, dir string, at time.Time) error {
	var files []file
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, file{name: filepath.ToSlash(name), mode: 0o644, data: data})
		return err
	})
	if err != nil {
		return err
	}
	return writeTar(w, files, at)
}

// imageOf is the image for one kind of machine.
func (r *release) imageOf(program string, s system, c content) (v1.Image, error) {
	licence, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, err
	}
	// What changes least comes first: it is fetched once for several versions.
	layers := [][]file{
		ground(),
		{
			{name: program, mode: 0o755, data: c.programs[program]},
			{name: "usr", mode: fs.ModeDir | 0o755}, {name: "usr/share", mode: fs.ModeDir | 0o755}, {name: "usr/share/doc", mode: fs.ModeDir | 0o755},
			{name: "usr/" + docs[:len(docs)-1], mode: fs.ModeDir | 0o755},
			// Their holders want these beside each copy.
			{name: "usr/" + docs + "LICENSE", mode: 0o644, data: licence},
			{name: "usr/" + docs + "THIRD-PARTY-LICENSES.txt", mode: 0o644, data: c.licences},
		},
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, files := range layers {
		var b bytes.Buffer
		if err := writeTar(&b, files, r.date); err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
			tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.date}}}); err != nil {
			return nil, err
		}
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Created = s.os, s.arch, v1.Time{Time: r.date}
	cfg.Config = r.config(program)
	return mutate.ConfigFile(img, cfg)
}

// config is how a container runs. The ports are open to other containers, but for the
// admin port, which the health check asks; what is said on the command line comes in
// place of these flags.
func (r *release) config(program string) v1.Config {
	cfg := v1.Config{
		User: fmt.Sprintf("%d:%[1]d", user), Entrypoint: []string{"/" + program}, WorkingDir: "/" + stateDir, StopSignal: "SIGTERM",
		Volumes: map[string]struct{}{"/" + stateDir: {}},
		Labels: map[string]string{
			"org.opencontainers.image.title": product + " " + program, "org.opencontainers.image.version": r.version,
			"org.opencontainers.image.revision": r.commit, "org.opencontainers.image.licenses": "AGPL-3.0-only",
			"org.opencontainers.image.source": "https://" + ownModule,
		},
	}
	switch program {
	case "p":
		cfg.Cmd = []string{"--front", ":1443", "--control", ":1444", "--state", "/" + stateDir}
		cfg.ExposedPorts = map[string]struct{}{"1443/tcp": {}, "1444/tcp": {}}
		cfg.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "/p", "check", "--live"}, Interval: 30 * time.Second, Timeout: 6 * time.Second, StartPeriod: 10 * time.Second}
	case "c": // nobody can be asked whether it lives: it ends, or redials
		cfg.Cmd = []string{"--root", "/srv", "--state", "/" + stateDir}
	}
	return cfg
}

// ground is what a static program wants of a system: the CAs that visitors' browsers
// trust, the name of who it runs as, and a folder that is its own.
func ground() []file {
	passwd := fmt.Sprintf("root:x:0:0:root:/:/sbin/nologin\n%s:x:%d:%[2]d:%[1]s:/%[3]s:/sbin/nologin\n", product, user, stateDir)
	return []file{
		{name: "etc", mode: fs.ModeDir | 0o755},
		{name: "etc/passwd", mode: 0o644, data: []byte(passwd)},
		{name: "etc/ssl", mode: fs.ModeDir | 0o755},
		{name: "etc/ssl/certs", mode: fs.ModeDir | 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: roots()},
		{name: "srv", mode: fs.ModeDir | 0o755},
		{name: stateDir, mode: fs.ModeDir | 0o700, owner: user},
	}
}

// roots are Mozilla's CAs, in PEM, but for those that are trusted for a part of their
// certificates only: a file cannot say which.
func roots() []byte {
	var all [][]byte
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	slices.SortFunc(all, bytes.Compare)
	return bytes.Join(all, nil)
}
