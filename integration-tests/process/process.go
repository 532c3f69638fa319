// Package process runs the programs that are measured and attacked: each in a
// process group of its own, that does not outlive this program. It reads what
// they use from Linux's /proc, and finds free ports for them.
package process

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A Command is a program to be started.
type Command struct {
	Dir  string // folder for the file of what it prints
	Name string // of that file
	Path string
	Args []string

	Stdin          io.Reader // nil: none
	Stdout, Stderr io.Writer // nil: the file
}

// A Process is a program that runs for one measurement.
type Process struct {
	Name string
	cmd  *exec.Cmd
	log  string        // file of what it printed
	done chan struct{} // closed when it has ended
}

// Start runs the program. The settings of p and c in this program's environment
// are not handed on.
func (c Command) Start() (*Process, error) {
	log, err := os.CreateTemp(c.Dir, c.Name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.Path, c.Args...)
	// Nothing of the caller's own settings is to change what is measured.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SPDY_PROXY_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.Stderr == nil {
		cmd.Stderr = log
	}
	own(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Name: c.Name, cmd: cmd, log: log.Name(), done: make(chan struct{})}
	// Ends with the process; Stop waits for it.
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// grace is how long a process may take to end before it is killed.
const grace = 2 * time.Second

// Stop ends it, and what it has started.
func (p *Process) Stop() {
	signalGroup(p.PID(), syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
	}
	// What is left of the group: the process, or children that outlived it.
	signalGroup(p.PID(), syscall.SIGKILL)
	<-p.done
}

// Kill ends it, and what it has started, as a crash does.
func (p *Process) Kill() {
	signalGroup(p.PID(), syscall.SIGKILL)
	<-p.done
}

// Log is what it printed until now.
func (p *Process) Log() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// Last is the end of what it printed, on one line.
func (p *Process) Last() string {
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], " / ")
}
