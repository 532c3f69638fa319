// Command dist unpacks an image as a container's runtime does, for the test of what
// "make dist" makes: the files of one architecture into a folder, and how it is run,
// a line each, to standard output.
package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: dist LAYOUT ARCH FOLDER, where LAYOUT is a folder as the OCI's specification has it")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(from, arch, to string, stdout io.Writer) error {
	img, err := find(from, arch)
	if err != nil {
		return err
	}
	files := mutate.Extract(img)
	defer files.Close()
	if err := unpack(files, to); err != nil {
		return err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "platform %s/%s\nuser %s\nentrypoint %s\ncmd %s\nfolder %s\nstop %s\nversion %s\n", cfg.OS, cfg.Architecture, cfg.Config.User,
		strings.Join(cfg.Config.Entrypoint, " "), strings.Join(cfg.Config.Cmd, " "), cfg.Config.WorkingDir, cfg.Config.StopSignal,
		cfg.Config.Labels["org.opencontainers.image.version"])
	if h := cfg.Config.Healthcheck; h != nil {
		fmt.Fprintf(stdout, "health %s\n", strings.Join(h.Test, " "))
	}
	return nil
}

// find returns the image for an architecture: a layout has an index, with an index
// in it.
func find(dir, arch string) (v1.Image, error) {
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	list, err := top.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(list.Manifests) != 1 {
		return nil, fmt.Errorf("%d things in the layout, want one index", len(list.Manifests))
	}
	index, err := top.ImageIndex(list.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	if list, err = index.IndexManifest(); err != nil {
		return nil, err
	}
	for _, m := range list.Manifests {
		if m.Platform != nil && m.Platform.OS == "linux" && m.Platform.Architecture == arch {
			return index.Image(m.Digest)
		}
	}
	return nil, fmt.Errorf("no image for %s", arch)
}

func unpack(r io.Reader, to string) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%q leads out of the image", h.Name)
		}
		name := filepath.Join(to, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(name, 0o755)
		case tar.TypeReg:
			var data []byte
			if data, err = io.ReadAll(t); err == nil {
				err = os.WriteFile(name, data, 0o600)
			}
		default:
			return fmt.Errorf("%s is neither file nor folder", h.Name)
		}
		if err == nil {
			err = os.Chmod(name, h.FileInfo().Mode().Perm())
		}
		if err == nil && os.Getuid() == 0 {
			err = os.Lchown(name, h.Uid, h.Gid)
		}
		if err != nil {
			return err
		}
	}
}
