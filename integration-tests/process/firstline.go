package process

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// FirstLine is what a program says first, on either of its outputs, "unknown" if it
// fails or takes longer than 5 s.
func FirstLine(ctx context.Context, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
