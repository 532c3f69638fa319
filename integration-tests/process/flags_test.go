package process

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestFlags(t *testing.T) {
	f := NewFlags("measure", "Measures.")
	rounds := f.Int("rounds", 3, "how often")
	if err := f.Parse([]string{"--rounds", "5"}); err != nil || *rounds != 5 {
		t.Errorf("got %d, %v; want 5", *rounds, err)
	}
	if err := f.Parse([]string{"more"}); err == nil || !strings.Contains(err.Error(), `"more" is not understood: measure has flags only`) {
		t.Errorf("an argument: %v", err)
	}
	if err := f.Parse([]string{"--help"}); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("--help: %v, want pflag.ErrHelp", err)
	}
	if h := f.Help(); !strings.HasPrefix(h, "Measures.\n\n") || !strings.Contains(h, "--rounds") {
		t.Errorf("the help is %q", h)
	}
}

func TestMade(t *testing.T) {
	dir := t.TempDir()
	if err := Made(dir); err != nil {
		t.Errorf("of a folder that is there: %v", err)
	}
	none := filepath.Join(dir, "none")
	if err := Made(dir, none); err == nil || !strings.Contains(err.Error(), none) || !strings.Contains(err.Error(), "run make") {
		t.Errorf("of what is missing: %v", err)
	}
}
