package control

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/testlog"
)

func TestWarnReadable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this system has no such modes")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode os.FileMode
		file string
		says string // "": nothing
	}{
		{0o600, file, ""},
		{0o400, file, ""},
		{0o700, file, ""},
		{0o644, file, "mode=0644"},
		{0o640, file, "mode=0640"},
		{0o602, file, "mode=0602"},
		{0o644, link, "mode=0644"},
		{0o644, "", ""},
		{0o644, file + ".none", ""},
		{0o644, dir, ""},
		{0o644, os.DevNull, ""},
	} {
		if err := os.Chmod(file, tt.mode); err != nil {
			t.Fatal(err)
		}
		var log testlog.Buffer
		WarnReadable(slog.New(slog.NewTextHandler(&log, nil)), "token file", tt.file)
		text := log.String()
		if tt.says == "" {
			if text != "" {
				t.Errorf("%s of mode %v: %q, want silence", tt.file, tt.mode, text)
			}
			continue
		}
		if strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN") || !strings.Contains(text, tt.says) || !strings.Contains(text, "chmod 600 "+tt.file) {
			t.Errorf("%s of mode %v: %q, want one warning with %q and what to do", tt.file, tt.mode, text, tt.says)
		}
	}
}

// Root may lend a file to a group: a service's.
func TestWarnReadableLent(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		uid, gid int
		mode     os.FileMode
		warns    bool
	}{
		{0, 65534, 0o640, false},
		{0, 65534, 0o660, true},
		{0, 65534, 0o644, true},
		{65534, 65534, 0o640, true},
		{0, 0, 0o640, true},
	} {
		if err := errors.Join(os.Chown(file, tt.uid, tt.gid), os.Chmod(file, tt.mode)); err != nil {
			t.Fatal(err)
		}
		var log testlog.Buffer
		WarnReadable(slog.New(slog.NewTextHandler(&log, nil)), "token file", file)
		if warns := log.String() != ""; warns != tt.warns {
			t.Errorf("%+v: %q", tt, &log)
		}
	}
}
