package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

var someDay = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		names []string
		want  int
		says  string
	}{
		{nil, len(systems), ""},
		{[]string{"linux/arm", "windows/amd64"}, 2, ""},
		{[]string{"linux/armv7"}, 0, "linux/armv7"},
	} {
		got, err := choose("only", tt.names)
		if len(got) != tt.want || (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: got %v, %v", tt.names, got, err)
		}
	}
}

// The same files are the same archive, and an archive has them.
func TestArchives(t *testing.T) {
	files := []file{{name: "x/bin/p", mode: 0o755, data: []byte("program")}, {name: "x/README.md", mode: 0o644, data: []byte("text")}}
	for name, write := range map[string]func(io.Writer, []file, time.Time) error{"tar.gz": writeTarGz, "zip": writeZip} {
		var a, b bytes.Buffer
		if err := errors.Join(write(&a, files, someDay), write(&b, files, someDay)); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: two of the same files differ, or %v", name, err)
		}
		for _, want := range files {
			info, data := find(t, a.Bytes(), want.name)
			if info.Mode() != want.mode || !info.ModTime().Equal(someDay) || !bytes.Equal(data, want.data) {
				t.Errorf("%s: %s: got %v, %v, %q", name, want.name, info.Mode(), info.ModTime(), data)
			}
		}
	}
}

func find(t *testing.T, archive []byte, name string) (fs.FileInfo, []byte) {
	t.Helper()
	if z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive))); err == nil {
		f, err := z.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(f)
		info, _ := f.Stat()
		return info, data
	}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == name {
			data, _ := io.ReadAll(r)
			return h.FileInfo(), data
		}
	}
}

// A module without a licence, or with one that nobody has looked at, stops the release.
func TestLicences(t *testing.T) {
	language, err := goItself(t.Context(), systems[0])
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	bsd, agpl := string(language.texts["LICENSE"]), string(ours)
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string // the licences, or what the error says
		fails bool
	}{
		{name: "one", files: map[string]string{"LICENSE": bsd}, want: "BSD-3-Clause"},
		{name: "by another name", files: map[string]string{"copying.txt": bsd}, want: "BSD-3-Clause"},
		{name: "beside the package", files: map[string]string{"pkg/LICENCE-BSD": bsd}, want: "BSD-3-Clause"},
		{name: "beside another package", files: map[string]string{"other/LICENSE": bsd}, want: "no licence", fails: true},
		{name: "none", files: map[string]string{"README": bsd}, want: "no licence", fails: true},
		{name: "no text", files: map[string]string{"LICENSE": "All rights reserved."}, want: "no licence", fails: true},
		{name: "an address of one", files: map[string]string{"LICENSE": "https://opensource.org/licenses/MIT"}, want: "no licence", fails: true},
		{name: "one of another kind", files: map[string]string{"LICENSE": bsd, "pkg/COPYING": agpl}, want: "pkg/COPYING has the licence AGPL-3.0", fails: true},
	} {
		dir := t.TempDir()
		for name, text := range tt.files {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(filepath.Join(dir, "pkg"), 0o700); err != nil {
			t.Fatal(err)
		}
		m := module{Path: "example.com/m", Version: "v1.0.0", Dir: dir}
		err := errors.Join(m.read(filepath.Join(dir, "pkg")), m.judge())
		got := strings.Join(m.licences, " ")
		if err != nil {
			got = err.Error()
		}
		if (err != nil) != tt.fails || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// README's links lead to what is installed beside it, or to an address.
func TestInstalledLinks(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no shell here")
	}
	bin, to := t.TempDir(), t.TempDir()
	for _, name := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "internal/dist/install", "install")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "DESTDIR="+to, "PREFIX=/usr", "BIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	folder := filepath.Join(to, "usr", docs)
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(string(text), -1)
	if len(links) < 20 {
		t.Errorf("README has %d links", len(links))
	}
	for _, l := range links {
		if _, err := os.Stat(filepath.Join(folder, l[1])); err != nil && !strings.HasPrefix(l[1], "https://") {
			t.Errorf("README links to %s, which is not installed", l[1])
		}
	}
}

// The go command is the one that make was told to use.
func TestGoCommand(t *testing.T) {
	t.Setenv("GO", "/nowhere/go")
	if _, err := linkedIn(t.Context(), systems[0]); err == nil || !strings.Contains(err.Error(), "/nowhere/go") {
		t.Errorf("licences are found with another go command: %v", err)
	}
	r := &release{work: t.TempDir()}
	if err := r.build(t.Context(), systems[0]); err == nil || !strings.Contains(err.Error(), "/nowhere/go") {
		t.Errorf("programs are built with another go command: %v", err)
	}
}

// What is linked in today may be handed on.
func TestLinkedIn(t *testing.T) {
	t.Chdir("../..")
	for _, tt := range []struct {
		system system
		want   map[string]string
		not    string
	}{
		{systems[0], map[string]string{"std": "BSD-3-Clause", "github.com/spf13/cobra": "Apache-2.0"}, "github.com/inconshreveable/mousetrap"},
		{system{os: "windows", arch: "amd64"}, map[string]string{"github.com/inconshreveable/mousetrap": "Apache-2.0"}, "github.com/prometheus/procfs"},
	} {
		linked, err := linkedIn(t.Context(), tt.system)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linked {
			if want, ok := tt.want[m.Path]; ok && strings.Join(m.licences, " ") == want && m.Version != "" {
				delete(tt.want, m.Path)
			}
			if m.Path == tt.not || strings.HasPrefix(m.Path, "github.com/amahi/") {
				t.Errorf("%s: %s is linked in", tt.system, m.Path)
			}
		}
		if len(tt.want) > 0 {
			t.Errorf("%s: missing, or with another licence: %v", tt.system, tt.want)
		}
		text := licenceTexts(linked)
		if len(text) < 10_000 || !bytes.Contains(text, []byte("github.com/spf13/cobra ")) {
			t.Errorf("%s: %d bytes of licences, or without cobra", tt.system, len(text))
		}
	}
}

func TestBillOfMaterials(t *testing.T) {
	r := release{version: "v1.2.3", commit: "abc", date: someDay}
	text, err := r.billOfMaterials(systems[2], []module{
		{Path: goModule, Version: "1.27.3", licences: []string{"BSD-3-Clause"}},
		{Path: "example.com/M", Version: "v2.0.0+incompatible", Sum: "h1:AQID", licences: []string{"Apache-2.0", "MIT"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got billOfMaterials
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	m := got.Components[1]
	if got.Format != "CycloneDX" || got.Metadata.Component.Version != "v1.2.3" || got.Metadata.Timestamp != "2026-01-02T03:04:05Z" ||
		m.PURL != "pkg:golang/example.com/m@v2.0.0%2Bincompatible" || len(m.Licences) != 2 || m.Hashes[0].Content != "010203" || len(got.Components[0].Hashes) != 0 {
		t.Errorf("got %s", text)
	}
	if all := got.Dependencies[2]; all.Ref != got.Metadata.Component.Ref || !slices.Equal(all.DependsOn, []string{got.Components[0].Ref, m.Ref}) {
		t.Errorf("what depends on what: got %v", all)
	}
}

// An image is the same twice, and runs as what it says.
func TestImage(t *testing.T) {
	t.Chdir("../..")
	make := func() (*release, []byte) {
		r := &release{out: t.TempDir(), work: t.TempDir(), systems: systems, say: io.Discard, version: "v1.2.3+dirty", date: someDay}
		images := map[system]content{}
		for _, s := range systems {
			if s.image() {
				images[s] = content{programs: map[string][]byte{"p": []byte("for " + s.arch)}, licences: []byte("licences")}
			}
		}
		if err := r.image("p", images); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(r.out, r.made[0]))
		if err != nil {
			t.Fatal(err)
		}
		return r, data
	}
	r, first := make()
	if _, second := make(); !bytes.Equal(first, second) {
		t.Error("two images of the same differ")
	}
	top, err := layout.ImageIndexFromPath(filepath.Join(r.work, "image-p"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := top.IndexManifest()
	if err != nil || len(list.Manifests) != 1 {
		t.Fatalf("got %v, %v", list, err)
	}
	if got := list.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; got != "spdy-proxy-p:v1.2.3-dirty" {
		t.Errorf("who loads it finds it as %q", got)
	}
	index, err := top.ImageIndex(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		img := imageFor(t, index, arch)
		cfg, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Architecture != arch || cfg.Config.User != "65532:65532" || cfg.Config.StopSignal != "SIGTERM" || !cfg.Created.Equal(someDay) || cfg.Config.Healthcheck == nil {
			t.Errorf("%s: got %+v", arch, cfg)
		}
		files := mutate.Extract(img)
		defer files.Close()
		found := map[string]*tar.Header{}
		for r := tar.NewReader(files); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			found[strings.TrimSuffix(h.Name, "/")] = h
			if data, _ := io.ReadAll(r); h.Name == "p" && string(data) != "for "+arch {
				t.Errorf("%s: p is %q", arch, data)
			}
		}
		if h := found["state"]; h == nil || h.Uid != user || h.Mode != 0o700 {
			t.Errorf("%s: the volume: got %+v", arch, h)
		}
		if h := found["etc/ssl/certs/ca-certificates.crt"]; h == nil || h.Size < 100_000 || h.Uid != 0 {
			t.Errorf("%s: the CAs: got %+v", arch, h)
		}
	}
}

func imageFor(t *testing.T, index v1.ImageIndex, arch string) v1.Image {
	t.Helper()
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list.Manifests {
		if m.Platform.Architecture == arch {
			img, err := index.Image(m.Digest)
			if err != nil {
				t.Fatal(err)
			}
			return img
		}
	}
	t.Fatalf("no image for %s", arch)
	return nil
}

// What is installed is taken away again, and nothing else is.
func TestInstall(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell is here")
	}
	bin, to := t.TempDir(), filepath.Join(t.TempDir(), "a folder")
	for _, program := range programs {
		if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\necho "+program+" prints \"$*\"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	call := func(what, bin string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "install", what)
		cmd.Env = append(os.Environ(), "DESTDIR="+to, "PREFIX=/usr", "BIN="+bin)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := call("install", t.TempDir()); !strings.Contains(out, "run make first") {
		t.Errorf("without programs: got %q", out)
	}
	if out := call("install", bin); out != "" {
		t.Errorf("got %q", out)
	}
	for name, want := range map[string]string{
		"share/man/man1/c.1": "c prints man\n", "share/zsh/site-functions/_a": "a prints completion zsh\n", "bin/p": "#!/bin/sh\n",
		"share/doc/spdy-proxy/README.md": "# spdy-proxy\n", "share/doc/spdy-proxy/changelog.md": "# Changelog\n", "share/doc/spdy-proxy/monitoring/alerts.yml": "",
		"share/doc/spdy-proxy/monitoring/dashboard.json": "{\n", "share/doc/spdy-proxy/monitoring/prometheus.yml": "",
	} {
		data, err := os.ReadFile(filepath.Join(to, "usr", name))
		if err != nil || !strings.HasPrefix(string(data), want) {
			t.Errorf("%s: got %.80q, %v", name, data, err)
		}
	}
	other := filepath.Join(to, "usr/share/doc/spdy-proxy/monitoring/mine.yml")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := call("uninstall", bin); out != "" {
		t.Errorf("got %q", out)
	}
	var left []string
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, path)
		}
		return err
	})
	if err != nil || !slices.Equal(left, []string{other}) {
		t.Errorf("left: %q, %v", left, err)
	}
}
