package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// system is what programs are built for.
type system struct {
	os, arch string
	arm      string // GOARM
}

// systems are those of a release.
var systems = []system{
	{os: "linux", arch: "amd64"},
	{os: "linux", arch: "arm64"},
	{os: "linux", arch: "arm", arm: "7"},
	{os: "darwin", arch: "arm64"},
	{os: "freebsd", arch: "amd64"},
	{os: "windows", arch: "amd64"},
}

func (s system) String() string { return s.os + "/" + s.arch }

// variant is written behind the architecture: "v7".
func (s system) variant() string {
	if s.arm == "" {
		return ""
	}
	return "v" + s.arm
}

// image tells whether the images have programs for it.
func (s system) image() bool { return s.os == "linux" && s.arm == "" }

func (s system) exe(program string) string {
	if s.os == "windows" {
		return program + ".exe"
	}
	return program
}

// environment has the go command build for s, and nothing else decide what comes
// out: not what is set here or in go env -w, but for where modules come from.
func (s system) environment() []string {
	return append(os.Environ(), "GOOS="+s.os, "GOARCH="+s.arch, "GOARM="+s.arm, "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0",
		"GOFLAGS=-trimpath", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off", "GODEBUG=")
}

// goCommand is the go command, which the environment's GO may name, as make does.
func goCommand() string { return cmp.Or(os.Getenv("GO"), "go") }

// bin is the folder with the programs for a system.
func (r *release) bin(s system) string { return filepath.Join(r.work, "bin", s.os+"-"+s.arch) }

// build builds the programs for a system. They are stripped of what only a debugger
// reads; what they say when they fail, and what is built into them, stays.
func (r *release) build(ctx context.Context, s system) error {
	args := []string{"build", "-trimpath", "-buildvcs=auto", "-ldflags=-s -w", "-o", r.bin(s) + string(filepath.Separator)}
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	_, err := output(ctx, s.environment(), goCommand(), args...)
	return err
}

// identify asks the programs what they are.
func (r *release) identify(ctx context.Context, bin string) error {
	text, err := output(ctx, os.Environ(), filepath.Join(bin, "p"), "version", "--json")
	if err != nil {
		return err
	}
	var v struct {
		Version, Revision, Time string
		Modified                bool
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v.Revision == "" {
		return errors.New("nobody knows which commit this is: run it in a clone, or in what git archive made, with git installed")
	}
	r.version, r.commit, r.modified = v.Version, v.Revision, v.Modified
	if r.date, err = time.Parse(time.RFC3339, v.Time); err != nil {
		return err
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH=%q: give seconds since 1970", epoch)
		}
		r.date = time.Unix(seconds, 0).UTC()
	}
	fmt.Fprintf(r.say, "%s %s, of %s\n", product, r.version, r.date.Format(time.DateTime))
	return nil
}

// staged is what "make install" puts below PREFIX.
type staged []file

// prefix is where the archives' units look for the programs.
const prefix = "/usr/local"

// stage has the programs in bin installed, and returns what came of it.
func (r *release) stage(ctx context.Context, bin string) (all staged, err error) {
	dir := filepath.Join(r.work, "stage")
	if _, err := output(ctx, append(os.Environ(), "DESTDIR="+dir, "PREFIX="+prefix, "BIN="+bin), "sh", "internal/dist/install", "install"); err != nil {
		return nil, err
	}
	top := filepath.Join(dir, prefix)
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, path)
		all = append(all, file{name: filepath.ToSlash(name), mode: info.Mode().Perm(), data: data})
		return err
	})
	return all, err
}

// of returns what is of use on a system, but for the programs.
func (all staged) of(s system) (some []file) {
	for _, f := range all {
		switch {
		case strings.HasPrefix(f.name, "bin/"):
		case strings.HasPrefix(f.name, "lib/systemd/") && s.os != "linux":
		case !strings.HasPrefix(f.name, "share/doc/") && s.os == "windows":
		default:
			some = append(some, f)
		}
	}
	return some
}

// output runs a command and returns what it wrote to standard output. Its error has
// what it said.
func output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
