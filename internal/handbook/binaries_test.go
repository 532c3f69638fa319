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
// those in the folder that BUILT names, as make does, or built here.
var built = sync.OnceValues(func() (dir string, err error) {
	if dir, err = folder(); err != nil {
		return "", err
	}
	steps := [][]string{
		{"go", "run", "./internal/devfiles", "--certs", dir + "/certs", "--testdata", dir + "/testdata"},
		{"go", "run", "./internal/devfiles", "--certs", dir + "/certs", "--issue", "names", "example.org", "*.example.org", "example.com", "*.example.com", "example.net", "*.example.net"},
	}
	if bin := os.Getenv("BUILT"); bin == "" {
		steps = append(steps, []string{"go", "build", "-trimpath", "-o", dir + "/bin/", "./cmd/p", "./cmd/c", "./cmd/a"})
	} else if err := os.Mkdir(dir+"/bin", 0o700); err != nil {
		return dir, err
	} else {
		for _, name := range []string{"p", "c", "a"} {
			if err := os.Symlink(filepath.Join(bin, name), filepath.Join(dir, "bin", name)); err != nil {
				return dir, err
			}
		}
	}
	for _, args := range steps {
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
