package handbook

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// folder returns that of built, which TestMain takes away.
var folder = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "handbook") })

// built returns a folder with p, c and a, and with what they need in a checkout after
// make: bin, certs and testdata; and a certificate for the names of the pages. They are
// built as make does (-trimpath), which has compiled most of it.
var built = sync.OnceValues(func() (dir string, err error) {
	if dir, err = folder(); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"go", "build", "-trimpath", "-o", dir + "/bin/", "./cmd/p", "./cmd/c", "./cmd/a", "./internal/devfiles"},
		{dir + "/bin/devfiles", "--certs", dir + "/certs", "--testdata", dir + "/testdata"},
		{dir + "/bin/devfiles", "--certs", dir + "/certs", "--issue", "names", "example.org", "*.example.org", "example.com", "*.example.com", "example.net", "*.example.net"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("%s: %w\n%s", args[0], err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	dir, err := folder()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// Binaries returns the folder of built.
func Binaries(t *testing.T) string {
	t.Helper()
	// go test runs again what looked at a folder in which a file has changed; what the go
	// command that builds opens it does not see.
	for _, root := range []string{"../../cmd", "../../internal"} {
		if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules") {
				return fs.SkipDir
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"../../go.mod", "../../go.sum"} {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
