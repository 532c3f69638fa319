package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// foreign is a program of somebody else's module that uses the engine.
const foreign = `package main

import (
	"fmt"
	"net"
	"net/http"

	"github.com/amahi/spdy"
)

func main() {
	near, far := net.Pipe()
	go new(spdy.Config).NewServerSession(far, &http.Server{Handler: http.NotFoundHandler()}).Serve()
	session := new(spdy.Config).NewClientSession(near)
	go session.Serve()
	resp, err := (&http.Client{Transport: session}).Get("http://origin.example/")
	if err != nil {
		panic(err)
	}
	fmt.Println(resp.Status)
}
`

// What the handbook's page on the engine says of other modules, with the engine of this
// tree in a folder, and with that of a commit, which the go command fetches.
func TestEngineInAnotherModule(t *testing.T) {
	engine := filepath.Join(root(t), filepath.FromSlash(engineDir))
	// Opened so that a change of it is a reason to run this test again.
	sums, err := os.ReadFile(filepath.Join(engine, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	folder := newForeign(t, "replace github.com/amahi/spdy => "+engine, sums)
	if out := folder.run("run", "."); out != "404 Not Found\n" {
		t.Errorf("replaced by a folder: got %q", out)
	}

	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not here")
	}
	if _, err := os.Stat(filepath.Join(root(t), ".git")); err != nil {
		t.Skip("this is no clone")
	}
	host := filepath.Join(t.TempDir(), "spdy-proxy.git")
	git(t, root(t), "clone", "-q", "--bare", ".", host)
	git(t, host, "tag", "v0.1.0")
	git(t, host, "tag", engineDir+"/v0.1.0")
	fetched := newForeign(t, "replace github.com/amahi/spdy => github.com/amahi/spdy-proxy/internal/spdy v0.1.0", sums)
	fetched.host(host)
	if out := fetched.run("run", "."); out != "404 Not Found\n" {
		t.Errorf("replaced by a version: got %q", out)
	}
	// The replacement in our own go.mod is what go install refuses.
	if out := fetched.run("install", "github.com/amahi/spdy-proxy/cmd/a@v0.1.0"); !strings.Contains(out, "replace directives") {
		t.Errorf("go install: got %q", out)
	}
}

// foreignModule is a folder with a module of somebody else's.
type foreignModule struct {
	t   *testing.T
	dir string
	env []string // -trimpath: what was compiled in another folder serves here too
}

func newForeign(t *testing.T, replace string, sums []byte) *foreignModule {
	t.Helper()
	m := &foreignModule{t: t, dir: t.TempDir(), env: append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -trimpath", "GO111MODULE=on")}
	for name, text := range map[string]string{
		"go.mod": "module example.com/visitor\n\ngo 1.27.3\n\nrequire github.com/amahi/spdy v0.0.0\n\n" + replace + "\n",
		"go.sum": string(sums), "main.go": foreign,
	} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// host has the go command find github.com/amahi/spdy-proxy in a repository here, and all
// else where it was fetched to before. What it fetches is gone at the end.
func (m *foreignModule) host(repository string) {
	cache := strings.TrimSpace(m.run("env", "GOMODCACHE"))
	m.env = append(m.env, "GOMODCACHE="+m.t.TempDir(), "GOFLAGS=-mod=mod -trimpath -modcacherw", "GOPROXY=file://"+filepath.ToSlash(cache)+"/cache/download",
		"GONOPROXY=github.com/amahi", "GONOSUMDB=*", "GOTOOLCHAIN=local", "GOBIN="+m.dir,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+filepath.ToSlash(repository)+".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/amahi/spdy-proxy")
}

// run runs the go command there, and returns what it says; if it fails, why.
func (m *foreignModule) run(args ...string) string {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "go", args...)
	cmd.Dir, cmd.Env = m.dir, m.env
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stderr.String()
	}
	return stdout.String()
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}
