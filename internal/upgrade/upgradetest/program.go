//go:build unix

package upgradetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen.
const Patience = time.Minute

// Program is one that a test runs in processes of its own, and a folder of the
// test's. Make one with New, then call Start, once.
type Program struct {
	Dir   string     // the folder
	Ended chan error // gets how the first process has ended

	t     testing.TB
	first *exec.Cmd // fixed by Start
}

// New returns a Program that has a folder, and does not run yet.
func New(t testing.TB) *Program {
	t.Helper()
	p := &Program{t: t, Dir: t.TempDir(), Ended: make(chan error, 1)}
	p.live()
	return p
}

// live makes the FIFO of EndWith. It is opened in both directions, which waits for nobody.
func (p *Program) live() {
	p.t.Helper()
	if err := syscall.Mkfifo(p.Alive(), 0o600); err != nil {
		p.t.Fatal(err)
	}
	f, err := os.OpenFile(p.Alive(), os.O_RDWR, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { f.Close() })
}

// Alive is what the program calls EndWith with, and its successors: it is for their
// environment.
func (p *Program) Alive() string { return p.Path("alive") }

// EndWith ends this process when the test has ended. One that is killed, or whose time
// is over, has no cleanup that would do so, and a successor may not have said yet who it is.
func EndWith(alive string) {
	// Ends with the process.
	go func() {
		if f, err := os.Open(alive); err == nil {
			f.Read(make([]byte, 1)) // nothing is written: it returns when nobody has it open for that
		}
		os.Exit(1)
	}()
}

// Start starts the program. What it and its successors print on standard error goes
// into a file, which outlives each; --pid-file is to be Path("pid"). All of them are
// ended with the test, and what they have printed is shown if that has failed.
func (p *Program) Start(cmd *exec.Cmd) {
	p.t.Helper()
	log, err := os.Create(p.Path("log"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.first = cmd
	// Ends with the process, which the cleanup ends.
	go func() { p.Ended <- cmd.Wait() }()
	p.t.Cleanup(func() {
		for _, pid := range p.PIDs() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		cmd.Process.Kill()
		if p.t.Failed() {
			p.t.Logf("the program's log:\n%s", p.Log())
		}
	})
}

// Path returns the path of a file in the folder.
func (p *Program) Path(name string) string { return filepath.Join(p.Dir, name) }

// Write writes a file in the folder.
func (p *Program) Write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.Path(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Log is what all processes have printed.
func (p *Program) Log() string {
	b, err := os.ReadFile(p.Path("log"))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// Logged returns how often part was printed.
func (p *Program) Logged(part string) int { return strings.Count(p.Log(), part) }

var pidLine = regexp.MustCompile(`taken over, .* pid=(\d+)`)

// PIDs are those of the processes, in their order.
func (p *Program) PIDs() []int {
	pids := []int{p.first.Process.Pid}
	for _, m := range pidLine.FindAllStringSubmatch(p.Log(), -1) {
		pid, _ := strconv.Atoi(m[1])
		pids = append(pids, pid)
	}
	return pids
}

// PID is that of the process that is the program now.
func (p *Program) PID() int {
	pids := p.PIDs()
	return pids[len(pids)-1]
}

// InFile is what the pid file says, 0 if there is none.
func (p *Program) InFile() int {
	b, _ := os.ReadFile(p.Path("pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// Signal sends sig to one of the processes.
func (p *Program) Signal(pid int, sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		p.t.Fatal(err)
	}
}

// WaitFor returns when ok does so, and fails the test if that takes longer than
// Patience.
func WaitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(Patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
