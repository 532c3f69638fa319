package interop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// NodeModules returns the folder node_modules beside the package.json in dir, the
// folder of this package or another, with what package-lock.json says: here that is
// spdy-transport and what it needs. It installs that if it is not there. Tests of
// several programs may ask at once. It skips the test on a machine without Node.js, and where npm
// fails, which in CI fails the test.
func NodeModules(t testing.TB, dir string) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not on this machine", program)
		}
	}
	modules, err := filepath.Abs(filepath.Join(dir, "node_modules"))
	if err == nil {
		err = install(t.Context(), filepath.Dir(modules))
	}
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("what package.json in %s names could not be installed: %v", dir, err)
	}
	return modules
}

// Script returns the path of a script for Node, and opens it: go test runs again what
// opened a file that has changed, and does not know what a program of ours opens.
func Script(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return path
}

// install makes dir/node_modules if it is not there, in a folder of its own until
// it is whole.
func install(ctx context.Context, dir string) error {
	modules := filepath.Join(dir, "node_modules")
	whole := func() bool {
		// npm writes this file last.
		_, err := os.Stat(filepath.Join(modules, ".package-lock.json"))
		return err == nil
	}
	if whole() {
		return nil
	}
	work, err := os.MkdirTemp(dir, "node_modules.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(work, name), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = work
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(work, "node_modules"), modules); err != nil && !errors.Is(err, fs.ErrExist) && !whole() {
		return err
	}
	return nil
}
