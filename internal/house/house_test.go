package house

import (
	"bufio"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	// Named here, so that the go.sum of the root has what their tests need:
	// "go test ./... github.com/amahi/spdy/..." works there.
	_ "github.com/amahi/spdy/benchmark"
	_ "github.com/amahi/spdy/interop"
)

const (
	rootModule   = "github.com/amahi/spdy-proxy"
	engineModule = "github.com/amahi/spdy"
	engineDir    = "internal/spdy"
)

// arrows are the imports between our own packages, tests aside: a package on
// the left may import those on its right and no other. A new arrow is a
// decision; it is written here with the change that needs it. Packages are named
// by their folders.
//
// What is not here says as much: control and serve know no SPDY, admin sees the
// other parts through small interfaces of its own, and no package knows both
// ends of the connection. originserver imports control and spdy to fill the fields
// of its part's Config.
var arrows = map[string][]string{
	"cmd/p": {"internal/cli", "internal/handbook", "internal/control", "internal/invitation", "internal/proxy", "internal/tokenfile", "internal/upgrade", "internal/policy", "internal/cluster/bus", "internal/oneline", "internal/originname"},
	"cmd/c": {"internal/cli", "internal/handbook", "internal/control", "internal/invitation", "internal/originserver", "internal/upgrade"},
	"cmd/a": {"internal/cli"},

	"internal/proxy":        {"internal/certs", "internal/front", "internal/http1", "internal/origin", "internal/control", "internal/admin", "internal/inspect", "internal/spdy", "internal/addrkey", "internal/lazycontext", "internal/linelog", "internal/loglimit", "internal/originname", "internal/accesslog", "internal/policy", "internal/cluster/peer", "internal/cluster/registry", "internal/errno", "internal/tokenfile"},
	"internal/originserver": {"internal/agent", "internal/serve", "internal/control", "internal/originname", "internal/spdy", "internal/accesslog", "internal/addrkey", "internal/errno", "internal/tap", "internal/inspector", "internal/httpfield"},

	"internal/front":  {"internal/accesslog", "internal/origin", "internal/addrkey", "internal/httpfield", "internal/lazycontext", "internal/loglimit", "internal/originname", "internal/spdy"},
	"internal/origin": {"internal/addrkey", "internal/loglimit", "internal/originname", "internal/spdy"},
	"internal/agent":  {"internal/addrkey", "internal/control", "internal/loglimit", "internal/originname", "internal/spdy"},

	"internal/certs": {"internal/control", "internal/errno", "internal/loglimit", "internal/oneline"},

	"internal/cluster/bus":                   {"internal/cluster/registry", "internal/httpfield", "internal/loglimit"},
	"internal/cluster/registry":              {"internal/httpfield", "internal/loglimit", "internal/originname"},
	"internal/cluster/registry/registrytest": {"internal/cluster/registry"},
	"internal/cluster/peer":                  {"internal/httpfield", "internal/origin", "internal/loglimit", "internal/originname", "internal/spdy"},

	"internal/control":        {"internal/addrkey", "internal/errno", "internal/httpfield", "internal/loglimit", "internal/oneline", "internal/originname"},
	"internal/serve":          {"internal/errno", "internal/httpfield", "internal/loglimit", "internal/oneline"},
	"internal/addrkey":        nil,
	"internal/httpfield":      nil,
	"internal/admin":          {"internal/handbook", "internal/hostguard", "internal/inspect", "internal/oneline"},
	"internal/cli":            {"internal/columns", "internal/config", "internal/linelog", "internal/nearest", "internal/oneline"},
	"internal/config":         {"internal/nearest"},
	"internal/handbook":       {"internal/columns"},
	"internal/columns":        nil,
	"internal/inspect":        nil,
	"internal/invitation":     nil,
	"internal/hostguard":      nil,
	"internal/linelog":        {"internal/oneline"},
	"internal/loglimit":       nil,
	"internal/nearest":        nil,
	"internal/errno":          nil,
	"internal/oneline":        nil,
	"internal/originname":     {"internal/httpfield"},
	"internal/tokenfile":      {"internal/control", "internal/oneline"},
	"internal/upgrade":        nil,
	"internal/accesslog":      {"internal/linelog", "internal/oneline"},
	"internal/tap":            nil,
	"internal/inspector":      {"internal/hostguard", "internal/httpfield", "internal/tap"},
	"internal/policy":         {"internal/addrkey", "internal/front", "internal/httpfield", "internal/origin", "internal/originname"},
	"internal/house":          nil,
	"internal/lint":           nil,
	"internal/lint/platforms": nil,

	"internal/http1":       {"internal/httpfield", "internal/lazycontext"},
	"internal/lazycontext": nil,

	"internal/devfiles":  {"internal/cli"},
	"internal/testskips": nil,
	"internal/packaging": nil,
	"internal/dist":      {"internal/cli"},

	"internal/spdy":           nil,
	"internal/spdy/spdytest":  {"internal/spdy"},
	"internal/spdy/benchmark": nil,
	"internal/spdy/interop":   nil,

	"internal/cli/clitest":            nil,
	"internal/control/controltest":    nil,
	"internal/upgrade/upgradetest":    nil,
	"internal/originserver/proxytest": {"internal/control", "internal/control/controltest", "internal/spdy"},
	"internal/testlog":                nil,
	"internal/testabort":              nil,

	"integration-tests/process":  nil,
	"integration-tests/relay":    nil,
	"integration-tests/dist":     nil,
	"integration-tests/acme":     {"integration-tests/process"},
	"integration-tests/attack":   {"integration-tests/process", "integration-tests/relay", "internal/control"},
	"integration-tests/faults":   {"integration-tests/process", "internal/agent", "internal/control", "internal/spdy"},
	"integration-tests/cluster":  {"integration-tests/process", "integration-tests/relay", "internal/agent", "internal/control"},
	"integration-tests/packages": {"integration-tests/process"},
	"integration-tests/bench":    {"integration-tests/process", "integration-tests/relay", "internal/agent", "internal/serve", "internal/control", "internal/spdy"},
}

// engineTestHelpers are packages of the engine's module that only tests import:
// they may use what tests may.
var engineTestHelpers = []string{"internal/spdy/spdytest"}

// topLevel is what stands at the root beside dotfiles and what git ignores.
var topLevel = []string{
	"LICENSE", "Makefile", "README.md", "certs", "cmd", "go.mod", "go.sum", "integration-tests", "internal",
}

// pkg is one folder with Go files.
type pkg struct {
	dir     string              // from the root, with slashes
	name    string              // of its clause
	doc     string              // package comment; of the first file that has one
	imports map[string][]string // path -> files, tests aside
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// packages parses every Go file of both modules. It reads the files in this
// process, not through the go command, because go test keeps an old result as
// long as no file that the test itself opened has changed.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	found := map[string]*pkg{}
	files := token.NewFileSet()
	err := fs.WalkDir(os.DirFS(root(t)), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(file)
		if d.IsDir() {
			if base != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(file) != ".go" {
			return nil
		}
		src, err := parser.ParseFile(files, filepath.Join(root(t), filepath.FromSlash(file)), nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		found[path.Dir(file)] = found[path.Dir(file)].add(file, src)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (p *pkg) add(file string, src *ast.File) *pkg {
	if p == nil {
		p = &pkg{dir: path.Dir(file), imports: map[string][]string{}}
	}
	if strings.HasSuffix(file, "_test.go") {
		return p
	}
	p.name = src.Name.Name
	if p.doc == "" {
		p.doc = src.Doc.Text()
	}
	for _, spec := range src.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			p.imports[name] = append(p.imports[name], path.Base(file))
		}
	}
	return p
}

// folder returns the folder of one of our own packages.
func folder(importPath string) (dir string, ours bool) {
	if rest, ok := strings.CutPrefix(importPath, rootModule+"/"); ok {
		return rest, true
	}
	if importPath == engineModule {
		return engineDir, true
	}
	rest, ok := strings.CutPrefix(importPath, engineModule+"/")
	return engineDir + "/" + rest, ok
}

// standard reports whether an import path is one of Go's own: only those have
// no dot in their first element.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func TestArrows(t *testing.T) {
	for dir, p := range packages(t) {
		allowed, known := arrows[dir]
		if !known {
			t.Errorf("%s is not in the table of arrows: add it, with what it may import", dir)
			continue
		}
		for name, files := range p.imports {
			if to, ours := folder(name); ours && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s (%s): no arrow leads there", dir, to, strings.Join(files, ", "))
			}
		}
	}
}

// The table itself: every package in it is there, and no arrow leads back to
// where it came from.
func TestArrowsTable(t *testing.T) {
	found := packages(t)
	for from, to := range arrows {
		for _, dir := range append([]string{from}, to...) {
			if found[dir] == nil {
				t.Errorf("%s is in the table of arrows and not in the tree", dir)
			}
		}
		if way := wayBack(from, from, nil); way != nil {
			t.Errorf("a circle: %s", strings.Join(way, " -> "))
		}
	}
}

// wayBack returns a chain of arrows from from to home, nil if there is none.
func wayBack(home, from string, walked []string) []string {
	walked = append(walked, from)
	for _, to := range arrows[from] {
		if to == home {
			return append(walked, to)
		}
		if slices.Contains(walked, to) {
			continue
		}
		if way := wayBack(home, to, walked); way != nil {
			return way
		}
	}
	return nil
}

func TestEngineImportsTheStandardLibraryAlone(t *testing.T) {
	seen := 0
	for dir, p := range packages(t) {
		if dir != engineDir && !strings.HasPrefix(dir, engineDir+"/") || slices.Contains(engineTestHelpers, dir) {
			continue
		}
		seen++
		for name, files := range p.imports {
			if _, ours := folder(name); !ours && !standard(name) {
				t.Errorf("%s imports %s (%s): the engine has the standard library alone, tests aside", dir, name, strings.Join(files, ", "))
			}
		}
	}
	if seen == 0 {
		t.Errorf("no package in %s was looked at", engineDir)
	}
}

func TestPackageComments(t *testing.T) {
	for dir, p := range packages(t) {
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(p.doc, want) {
			first, _, _ := strings.Cut(p.doc, "\n")
			t.Errorf("%s: the package comment is %q; want one that begins %q", dir, first, want)
		}
	}
}

// Without the replacement, or with a vendored or cached copy, the engine that
// is tested would not be the one that runs.
func TestNestedModuleIsTheOneInUse(t *testing.T) {
	dir := root(t)
	for _, file := range []string{"go.mod", filepath.Join(engineDir, "go.mod")} {
		// Opened so that a change of it is a reason to run this test again.
		if _, err := os.ReadFile(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-json", engineModule)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	var module struct {
		Path, Dir string
		Replace   struct{ Path string }
	}
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(dir, filepath.FromSlash(engineDir))
	if module.Dir != want || module.Replace.Path != "./"+engineDir {
		t.Errorf("%s is %s, replaced by %q; want %s by %q", module.Path, module.Dir, module.Replace.Path, want, "./"+engineDir)
	}
}

// One pattern at the root reaches both modules, with the tests of both: the root's
// go.sum has what they need.
func TestOnePatternForBothModules(t *testing.T) {
	dir := root(t)
	for _, file := range []string{"go.mod", "go.sum", filepath.Join(engineDir, "go.mod")} {
		// Opened so that a change of it is a reason to run this test again.
		if _, err := os.ReadFile(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-test", "./...", engineModule+"/...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	for _, dir := range []string{rootModule + "/internal/house", engineModule, engineModule + "/benchmark"} {
		if !strings.Contains(string(out), dir+".test\n") {
			t.Errorf("the tests of %s are not listed", dir)
		}
	}
}

// The Makefile looks the Go command up once, by the root's go.mod, for both
// modules.
func TestModulesNameOneGo(t *testing.T) {
	var lines [2]string
	for i, dir := range []string{".", engineDir} {
		b, err := os.ReadFile(filepath.Join(root(t), dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "go ") || strings.HasPrefix(line, "toolchain ") {
				lines[i] += line
			}
		}
	}
	if lines[0] == "" || lines[0] != lines[1] {
		t.Errorf("the go lines of the two modules are %q and %q, want the same", lines[0], lines[1])
	}
}

func TestTopLevel(t *testing.T) {
	ignored := ignoredNames(t)
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for _, name := range topLevel {
		missing[name] = true
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case missing[name]:
			delete(missing, name)
		case strings.HasPrefix(name, "."):
		case slices.ContainsFunc(ignored, func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }):
		default:
			t.Errorf("%s does not belong at the top level", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("%s is missing at the top level", name)
	}
}

// ignoredNames returns the patterns of the root's .gitignore, each of which is a
// name or a glob, with or without slashes around it.
func ignoredNames(t *testing.T) (patterns []string) {
	t.Helper()
	f, err := os.Open(filepath.Join(root(t), ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := strings.Trim(lines.Text(), "/ "); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return patterns
}

// Both modules stand under the one licence, and a module is downloaded without
// what lies above it.
func TestLicenceOfBothModules(t *testing.T) {
	var texts [2]string
	for i, dir := range []string{".", engineDir} {
		b, err := os.ReadFile(filepath.Join(root(t), dir, "LICENSE"))
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(b)
	}
	if !strings.HasPrefix(texts[0], "GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3, ") {
		t.Error("LICENSE does not begin as the AGPL-3.0 does")
	}
	if texts[0] != texts[1] {
		t.Error("LICENSE of the two modules differ")
	}
}

// stamps are the files that make numbers of times, none of them a duration: what
// a file's ETag holds of its stamp, what Prometheus is told, and what nodes of a
// cluster tell each other.
var stamps = []string{
	"internal/admin/metrics.go", "internal/cluster/registry/stamp.go",
	"internal/serve/stamp.go", "internal/serve/listing.go", "internal/serve/stamp_unix.go",
}

// A duration is the difference of two time.Times, which have the monotonic clock.
// One made of seconds since 1970 is wrong by an hour when somebody sets the clock
// by an hour. The engine has a test of its own.
func TestDurationsAreMonotonic(t *testing.T) {
	numbers := []string{"Unix", "UnixNano", "UnixMicro", "UnixMilli"}
	for dir := range packages(t) {
		if dir == engineDir || strings.HasPrefix(dir, engineDir+"/") {
			continue
		}
		names, err := filepath.Glob(filepath.Join(root(t), filepath.FromSlash(dir), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			file := path.Join(dir, filepath.Base(name))
			if strings.HasSuffix(name, "_test.go") || slices.Contains(stamps, file) {
				continue
			}
			src, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(src, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !slices.Contains(numbers, sel.Sel.Name) {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "time" { // time.Unix makes a Time
					t.Errorf("%s calls %s: use time.Since, or Time.Sub, or name the file here if it is no duration", file, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// What others sent is compared as HTTP says, in ASCII: strings.EqualFold folds more,
// so that P would read a message as no one else does.
func TestHeaderFieldsAreComparedInASCII(t *testing.T) {
	for dir := range packages(t) {
		if !strings.HasPrefix(dir, "internal/") {
			continue
		}
		names, err := filepath.Glob(filepath.Join(root(t), filepath.FromSlash(dir), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			file := path.Join(dir, filepath.Base(name))
			switch {
			case strings.HasSuffix(name, "_test.go"),
				file == "internal/proxy/config.go",    // a flag's value
				file == "internal/serve/localname.go": // a file's name, as a file system compares it
				continue
			}
			src, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(src, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "EqualFold" {
					t.Errorf("%s calls EqualFold: use httpfield.Equal, or name the file here if the text is no one else's", file)
				}
				return true
			})
		}
	}
}
