package cli_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/amahi/spdy-proxy/internal/cli"
)

// The program starts itself again once, as the same process, with its arguments
// and its environment.
func TestRelaxTimers(t *testing.T) {
	if os.Getenv("TEST_RELAX_TIMERS") != "" {
		cli.RelaxTimers()
		is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		if err != nil || is != 1_000_000 {
			t.Errorf("got a slack of %d ns, %v, want 1 ms", is, err)
		}
		os.Stdout.WriteString("ran to its end\n")
		return
	}
	if is, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || is != 50_000 {
		t.Skipf("somebody has chosen a slack of %d ns: %v", is, err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRelaxTimers$")
	cmd.Env = append(os.Environ(), "TEST_RELAX_TIMERS=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ran to its end") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}
