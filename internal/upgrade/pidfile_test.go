package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The file has this process's id, whole or not at all, and is removed by no other.
func TestPIDFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	if err := writePIDFile(file); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("got %q, %v", b, err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("there are %d files, want one", len(names))
	}
	removePIDFile(file)
	if _, err := os.Stat(file); err == nil {
		t.Error("it is still there")
	}
	if err := os.WriteFile(file, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	removePIDFile(file)
	if _, err := os.Stat(file); err != nil {
		t.Error("another process's is gone")
	}
	removePIDFile(filepath.Join(dir, "never"))
	err := writePIDFile(filepath.Join(dir, "no-folder", "pid"))
	if err == nil || !strings.Contains(err.Error(), "--pid-file") || strings.Contains(err.Error(), "\n") {
		t.Errorf("no folder: %v, want one line", err)
	}
	if writePIDFile("") != nil {
		t.Error("no file is an error")
	}
	removePIDFile("")
}

// What is looked at before systemd makes the folder is not at fault. Any other folder is.
func TestCheckPIDFileLater(t *testing.T) {
	dir := t.TempDir()
	for file, ok := range map[string]bool{
		"": true, filepath.Join(dir, "pid"): true, "/run/none-of-this-name/pid": true,
		filepath.Join(dir, "none", "pid"): false, "/run/../none-of-this-name/pid": false,
	} {
		if err := CheckPIDFileLater(file); (err == nil) != ok {
			t.Errorf("%q: %v", file, err)
		}
	}
	if checkPIDFile("/run/none-of-this-name/pid") == nil {
		t.Error("who starts now is told nothing")
	}
}
