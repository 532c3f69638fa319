package handbook_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/handbook"
)

// blockOf returns the block of a page that begins with a line, such as "```yaml p.yaml".
func blockOf(t *testing.T, name, begin string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page(t, name), "\n"+begin+"\n")
	if !ok {
		t.Fatalf("%s.md has no block %q", name, begin)
	}
	text, _, _ := strings.Cut(rest, "\n```")
	return text + "\n"
}

// The manifests are documents with a kind, name what they refer to, and give p flags that
// there are; the command of p with them gets as far as its files.
func TestManifests(t *testing.T) {
	text := blockOf(t, "cluster", "```yaml p.yaml")
	kinds := regexp.MustCompile(`(?m)^kind: (\w+)$`).FindAllStringSubmatch(text, -1)
	names := regexp.MustCompile(`(?m)^metadata: \{name: ([a-z-]+)\}$`).FindAllStringSubmatch(text, -1)
	if len(kinds) != 3 || len(names) != 3 || strings.Contains(text, "\t") {
		t.Errorf("got the kinds %q and the names %q", kinds, names)
	}
	if n := strings.Count(text, "app: p}"); n != 4 {
		t.Errorf("two services, a selector and a template have the label, got %d", n)
	}
	for _, service := range regexp.MustCompile(`serviceName: (\S+)|dns:([a-z-]+):1446|\$\(ID\)\.([a-z-]+)\.`).FindAllStringSubmatch(text, -1) {
		if got := service[1] + service[2] + service[3]; got != names[0][1] {
			t.Errorf("%q is not the headless service %q", got, names[0][1])
		}
	}
	for _, volume := range regexp.MustCompile(`name: ([a-z]+), mountPath`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, "- name: "+volume[1]+"\n          secret:") {
			t.Errorf("there is no volume %q", volume[1])
		}
	}
	// The image's own entry point is the program: no PATH leads to it.
	if !regexp.MustCompile(`(?m)^          image: \S+/spdy-proxy-p:\S+$`).MatchString(text) || strings.Contains(text, "command:") {
		t.Error("the container is not the image of p as make dist makes it, or has a command of its own")
	}
	var args []string
	for _, m := range regexp.MustCompile(`(?m)^            - (--\S+)$`).FindAllStringSubmatch(text, -1) {
		args = append(args, strings.NewReplacer("$(ID)", "p-0", "$(IP)", "10.0.0.1").Replace(m[1]))
	}
	if len(args) < 15 {
		t.Fatalf("got the flags %q", args)
	}
	out, err := exec.Command(handbook.Binaries(t)+"/bin/p", append([]string{"check"}, args...)...).CombinedOutput()
	if err == nil {
		t.Error("it finds files of which there are none here")
	}
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "no such file or directory") && !strings.Contains(line, " is missing: ") && !strings.Contains(line, "the admin port is reached by other machines") {
			t.Errorf("with the flags of the manifest p says %s", line)
		}
	}
}

// The balancers take the page's examples, where they are installed.
func TestBalancers(t *testing.T) {
	for _, tt := range []struct {
		block, file string
		args        []string
	}{
		{"```conf haproxy.cfg", "haproxy.cfg", []string{"haproxy", "-c", "-f", "haproxy.cfg"}},
		{"```conf nginx.conf", "nginx.conf", []string{"nginx", "-t", "-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g", "pid nginx.pid; error_log stderr;"}},
	} {
		t.Run(tt.args[0], func(t *testing.T) {
			path, err := exec.LookPath(tt.args[0])
			if err != nil {
				t.Skipf("it is not here: %v", err)
			}
			dir := t.TempDir()
			text := blockOf(t, "cluster", tt.block)
			if tt.args[0] == "nginx" { // which listens while it looks
				text = strings.Replace(text, "10.0.0.8:1443", "unix:"+dir+"/socket", 1)
				for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
					text = strings.Replace(text, "http {", "http {\n  "+what+"_temp_path "+dir+"/"+what+";", 1)
				}
			}
			if err := os.WriteFile(dir+"/"+tt.file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(path, tt.args[1:]...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
