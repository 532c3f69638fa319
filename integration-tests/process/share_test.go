//go:build linux

package process

import (
	"os"
	"path/filepath"
	"testing"
)

// Both kinds of control groups are told the same.
func TestShares(t *testing.T) {
	for what, test := range map[string]struct{ there, says, root, file, want string }{
		"version 1":        {"cpu/cpu.cfs_quota_us", "-1\n", "cpu", "cpu.cfs_quota_us", "2000"},
		"version 2":        {"cgroup.subtree_control", "cpuset cpu memory\n", "", "cpu.max", "2000 10000"},
		"not for the CPU":  {"cgroup.subtree_control", "cpuset memory\n", "", "", ""},
		"no control group": {"other", "", "", "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			os.Mkdir(filepath.Join(dir, "cpu"), 0o755)
			if err := os.WriteFile(filepath.Join(dir, test.there), []byte(test.says), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := newShares(dir)
			if test.file == "" {
				if err == nil {
					t.Error("got no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Limit(42, 0.2); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{test.file: test.want, "cgroup.procs": "42"} {
				list, _ := filepath.Glob(filepath.Join(dir, test.root, "spdy-proxy-*", name))
				if len(list) != 1 {
					t.Fatalf("got %q, want one %s", list, name)
				}
				if got, _ := os.ReadFile(list[0]); string(got) != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			s.Close()
			if got, _ := os.ReadFile(filepath.Join(dir, test.root, "cgroup.procs")); string(got) != "42" {
				t.Errorf("after Close: got %q in the group above, want 42", got)
			}
		})
	}
}
