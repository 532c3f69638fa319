package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

// daemon runs a daemon with nothing but run.
func daemon(t *testing.T, stderr io.Writer, args []string, run func(*Process) error) (status int) {
	t.Helper()
	p := &Program{Name: "x", Daemon: true, Run: func(_ context.Context, p *Process) error { return run(p) }}
	return p.Main(t.Context(), args, io.Discard, stderr)
}

// Whatever others had in it, no line of the log steers a terminal or is two.
func TestLogLinesAreClean(t *testing.T) {
	const bad = "a\u0085\u009b31m\u007fb\u2028\u202ec\x1b[31m\nd\x9be"
	for _, format := range []string{"text", "json"} {
		var stderr bytes.Buffer
		daemon(t, &stderr, []string{"--log-format=" + format, "--log-level=debug"}, func(p *Process) error {
			p.Log.Warn("message "+bad, "key "+bad, "value "+bad)
			p.Log.Warn("bare", "k", "\u009b31m", "k", "\u007f", "k", errors.New(bad), "k", []string{bad})
			p.Trace("trace " + bad)
			io.WriteString(p.Stderr, strings.ReplaceAll(bad, "\n", "")+"\n")
			log.Printf("printed %s", bad)
			return errors.New(bad)
		})
		lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
		if len(lines) != 6 {
			t.Errorf("%s: %d lines, want 6:\n%s", format, len(lines), stderr.String())
		}
		for _, line := range lines {
			for _, r := range line {
				if oneline.Unsafe(r) {
					t.Errorf("%s: %q in %q", format, r, line)
				}
			}
		}
		if format == "json" {
			var got struct{ Msg string }
			if err := json.Unmarshal([]byte(lines[0]), &got); err != nil || got.Msg != "message "+strings.ToValidUTF8(bad, "\ufffd") {
				t.Errorf("%q reads as %q, %v", lines[0], got.Msg, err)
			}
		}
	}
}

// What libraries log on their own is in our format, and for debugging, but for panics.
func TestLibrariesLogIsAdopted(t *testing.T) {
	const line, panicked = "Unsolicited response received", "panic: certificate worker: oh\nstack"
	for _, tt := range []struct{ level, line, want string }{
		{"info", line, ""},
		{"debug", line, `level=DEBUG msg="Unsolicited response received"`},
		{"info", panicked, `level=ERROR msg="panic: certificate worker: oh`},
	} {
		var stderr bytes.Buffer
		daemon(t, &stderr, []string{"--log-level=" + tt.level}, func(p *Process) error {
			log.Print(tt.line)
			return nil
		})
		if got := stderr.String(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("at %s: got %q, want %q", tt.level, got, tt.want)
		}
	}
}

// pipe is a real one.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// A pipe that nobody reads holds up neither the work nor, for long, the end; what
// was left out is said when it is read again, and the last line gets there.
func TestStandardErrorThatStandsStill(t *testing.T) {
	r, w := pipe(t)
	const lines = 40000 // of some 100 bytes: more than pipe and Writer take
	worked, let := make(chan struct{}), make(chan struct{})
	status := make(chan int, 1)
	var dropped uint64 // written before status is sent
	// Ends with Main.
	go func() {
		status <- daemon(t, w, nil, func(p *Process) error {
			for i := range lines {
				p.Log.Info("a line that nobody reads, as long as such lines are", "number", i)
			}
			close(worked)
			<-let
			dropped, _ = p.LogDropped()
			p.Log.Info("a line after them")
			return errors.New("the last line")
		})
		w.Close()
	}()
	select {
	case <-worked:
	case <-time.After(20 * time.Second):
		t.Fatal("a pipe that is not read holds the program up")
	}
	// It is read from now on; what it had to leave out comes before what is said then.
	text := bufio.NewScanner(r)
	var last []string
	n := 0
	for text.Scan() {
		if n++; strings.Contains(text.Text(), "a line that nobody reads") {
			continue
		}
		last = append(last, text.Text())
		if strings.Contains(text.Text(), "left out") {
			close(let)
		}
	}
	if got := <-status; got != exitRun {
		t.Errorf("status %d, want 1", got)
	}
	if len(last) != 3 || !strings.Contains(last[0], "level=WARN") || !strings.Contains(last[1], "a line after them") || last[2] != "x: the last line" {
		t.Errorf("after %d lines: %q; want what was left out, a line, and the last", n, last)
	}
	if n >= lines || dropped != uint64(lines-n+len(last)) {
		t.Errorf("%d lines came of %d, and %d are counted as left out", n-len(last), lines, dropped)
	}
}

// The end does not wait for who never reads.
func TestEndWithAStandardErrorThatIsNeverRead(t *testing.T) {
	_, w := pipe(t)
	status := make(chan int, 1)
	// Ends with Main.
	go func() {
		status <- daemon(t, w, nil, func(p *Process) error {
			for range 2000 {
				p.Log.Info("a line that nobody reads, as long as such lines are")
			}
			return nil
		})
	}()
	select {
	case got := <-status:
		if got != exitOK {
			t.Errorf("status %d, want 0", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("the program does not end")
	}
}

// A reader of standard output or error that has gone ends neither p nor c. Go
// ends a program by SIGPIPE then, which only a process of its own can show.
func TestReadersThatHaveGone(t *testing.T) {
	if os.Getenv("TEST_READERS_GONE") != "" {
		p := &Program{Name: "x", Daemon: true, Run: func(_ context.Context, p *Process) error {
			bufio.NewReader(os.Stdin).ReadString('\n') // the readers have gone
			for range 100 {
				p.Log.Info("a line")
			}
			_, err := io.WriteString(p.Stdout, "a line\n")
			if err == nil {
				return errors.New("standard output took a line")
			}
			return nil
		}}
		os.Exit(p.Main(t.Context(), nil, os.Stdout, os.Stderr) + 10)
	}
	outR, outW := pipe(t)
	errR, errW := pipe(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestReadersThatHaveGone$")
	cmd.Env = append(os.Environ(), "TEST_READERS_GONE=1")
	cmd.Stdout, cmd.Stderr = outW, errW
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	outR.Close()
	errR.Close()
	io.WriteString(stdin, "go\n")
	cmd.Wait()
	if got := cmd.ProcessState; got.ExitCode() != 10 {
		t.Errorf("the program ended with %v, want exit status 10", got)
	}
}

// A program that is no daemon ends as any other in a pipeline does.
func TestHelpToAReaderThatHasGone(t *testing.T) {
	if os.Getenv("TEST_READERS_GONE") != "" {
		bufio.NewReader(os.Stdin).ReadString('\n')
		p := &Program{Name: "x", Daemon: true}
		os.Exit(p.Main(t.Context(), []string{"--help"}, os.Stdout, os.Stderr) + 10)
	}
	r, w := pipe(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelpToAReaderThatHasGone$")
	cmd.Env = append(os.Environ(), "TEST_READERS_GONE=1")
	cmd.Stdout = w
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	io.WriteString(stdin, "go\n")
	cmd.Wait()
	if got := cmd.ProcessState.String(); got != "signal: broken pipe" {
		t.Errorf("the program ended with %q, want SIGPIPE", got)
	}
}
