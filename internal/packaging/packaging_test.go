package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not here")
	}
	out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func units(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob("systemd/" + pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return found
}

// What a service may is judged by systemd from 0 (nothing) to 10.
func TestUnitsExposeLittle(t *testing.T) {
	for _, unit := range units(t, "*.service") {
		if out, err := analyze(t, "security", "--no-pager", "--offline=yes", "--threshold=20", unit); err != nil {
			t.Errorf("%s: above 2.0: %v\n%s", unit, err, out)
		}
	}
}

// The programs and the manual pages may not be here, all else is as it is installed.
func TestUnitsVerify(t *testing.T) {
	dir := t.TempDir()
	var all []string
	for _, unit := range append(units(t, "*.service"), units(t, "*.socket")...) {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		here := strings.NewReplacer("/usr/bin/p ", "/bin/sh ", "/usr/bin/c ", "/bin/sh ").Replace(string(text))
		file := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(file, []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
		all = append(all, file)
	}
	if out, err := analyze(t, append([]string{"verify", "--man=no"}, all...)...); err != nil || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
}

// p's units and c's differ in what they are for, and in nothing by mistake.
func TestUnitsOfCAreOne(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	instance := strings.NewReplacer("the origin server %i", "the origin server", "c-%i", "c", "invitation-%i", "invitation").Replace(read("systemd/spdy-proxy-c@.service"))
	if single := read("systemd/spdy-proxy-c.service"); instance != single {
		t.Errorf("with its names left out, spdy-proxy-c@.service is\n%s\nand not as spdy-proxy-c.service:\n%s", instance, single)
	}
}
