package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// readyTimeout is how long the new process may take until it says that it is
// ready.
const readyTimeout = 30 * time.Second

// Handover says how the successor is started.
type Handover struct {
	// Ports are handed over, by their names. They stay this process's as well.
	Ports map[string]net.Listener
	// State is for inherited.State.
	State string

	kept    []string      // inherited.Kept
	timeout time.Duration // for tests; zero: readyTimeout
}

// Successor is a process that could take over.
type Successor struct {
	cmd    *exec.Cmd
	to     *os.File      // it waits for goOn
	exited chan struct{} // closed when it has ended
	err    error         // how; read after exited
}

// Start starts the program's file, as it lies on the disk now, with this process's
// arguments, environment and standard streams, and returns when the new process is
// ready. After an error, one line that says why, there is no such process.
func (h Handover) Start(ctx context.Context) (_ *Successor, err error) {
	if os.Getpid() == 1 {
		return nil, errors.New("this process is the first of its container, which ends with it: start a new container instead")
	}
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return nil, fmt.Errorf("the program's file is not found: %w", err)
	}
	var closing []*os.File
	defer func() {
		for _, f := range closing {
			f.Close()
		}
	}()
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	closing = append(closing, inRead)
	defer func() {
		if err != nil {
			inWrite.Close()
		}
	}()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outRead.Close()
	closing = append(closing, outWrite)
	files := []*os.File{inRead, outWrite}
	var names []string
	for name, port := range h.Ports {
		f, err := duplicate(port, name)
		if err != nil {
			return nil, fmt.Errorf("the %s port cannot be handed over: %w", name, err)
		}
		closing = append(closing, f)
		files, names = append(files, f), append(names, name)
	}

	s := &Successor{cmd: exec.Command(path), to: inWrite, exited: make(chan struct{})}
	s.cmd.Args = os.Args
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	s.cmd.ExtraFiles = files
	s.cmd.Env = append(os.Environ(), envHandover+"="+strings.Join(names, ":"), envState+"="+h.State, envNames+"="+strings.Join(h.kept, ":"))
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("the new process cannot be started: %w", err)
	}
	// Ends with the new process, or with this one.
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	outWrite.Close() // the new process has it: its end is the end of what outRead brings

	if err := s.awaitReady(ctx, outRead, cmp.Or(h.timeout, readyTimeout)); err != nil {
		return nil, err
	}
	return s, nil
}

// awaitReady returns when the new process has said by from that it is ready. After an
// error it has ended.
func (s *Successor) awaitReady(ctx context.Context, from *os.File, timeout time.Duration) (err error) {
	heard := make(chan error, 1)
	// Ends with what the new process says, or when from is closed: what the new
	// process has started may have the other end, and outlive it.
	go func() {
		var b [1]byte
		_, err := io.ReadFull(from, b[:])
		heard <- err
	}()
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case err := <-heard:
		if err == nil {
			return nil
		}
		s.Kill()
		return s.ended("before it was ready")
	case <-ctx.Done():
		err = errors.New("this process is stopping")
	case <-limit.C:
		err = fmt.Errorf("the new process was not ready within %v", timeout)
	}
	s.Kill()
	from.Close()
	<-heard
	return err
}

// ended says how the new process, which has ended, did.
func (s *Successor) ended(when string) error {
	how := "by itself"
	if s.err != nil {
		how = "with " + s.err.Error()
	}
	return fmt.Errorf("the new process ended %s %s: it has said why", how, when)
}

// PID is the new process's id.
func (s *Successor) PID() int { return s.cmd.Process.Pid }

// reload has the new process, if it is there yet, read its files again.
func (s *Successor) reload() { s.cmd.Process.Signal(syscall.SIGHUP) }

// GoOn tells the new process to take over. An error means that it has ended.
func (s *Successor) GoOn() error {
	select {
	case <-s.exited:
	default:
		_, err := s.to.Write([]byte{goOn})
		s.to.Close()
		if err == nil {
			return nil
		}
		s.Kill()
	}
	return s.ended("before it took over")
}

// Kill ends the new process and returns when it has ended.
func (s *Successor) Kill() {
	s.cmd.Process.Kill()
	<-s.exited
	s.to.Close()
}
