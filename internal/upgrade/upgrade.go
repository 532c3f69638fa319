// Package upgrade is how a program makes way for its successor and keeps its
// ports: the program's file, which may be a newer one by now, is started again
// with the listening sockets, says when it could take over, and is told when it
// shall. Systemd's ways to hand over sockets, and to be told of all that, are here
// too, and the file with the process's id.
//
// github.com/cloudflare/tableflip does the first part. It does not tell the
// process id of the successor, which systemd must be told by the process that it
// knows; it refuses a second hand-over until the process before the last one has
// finished what it serves; and it knows sockets by their addresses, where systemd
// names them.
package upgrade

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// What a process is started with, beside the program's own environment. As with
// systemd's, the first descriptor that is handed over is 3.
const (
	// envHandover is the names of the sockets, parted by colons; before them come
	// two pipes, from which the new process reads and to which it writes.
	envHandover = "SPDY_PROXY_HANDOVER"
	// envState is what the process before wants this one to know.
	envState = "SPDY_PROXY_HANDOVER_STATE"
	// envNames is systemd's: the names of its sockets. A successor is told of them,
	// too.
	envNames = "LISTEN_FDNAMES"

	firstFile = 3
)

// envSystemd is sd_listen_fds(3)'s and sd_watchdog_enabled(3)'s, but for what a
// successor needs, too.
var envSystemd = []string{"LISTEN_PID", "LISTEN_FDS", envNames, "WATCHDOG_PID"}

// inherited is what a process was started with by systemd or by the process whose
// work it takes over. A nil one is a process that was started with nothing.
type inherited struct {
	// State is Handover.State of the process before.
	State string
	// Kept are the names of the sockets that systemd has, too.
	Kept []string

	ports    map[string]*os.File // by name; those that were not taken yet
	from, to *os.File            // the process before; nil if there is none
}

// inherit returns what this process was started with, and takes it out of the
// environment: what the process starts by itself is not to take it for its own.
// names are those of the sockets that the program can use. Call it once, before
// the process opens any file. Its error is one line that says what would mend it.
func inherit(names ...string) (*inherited, error) {
	handover, ours := os.LookupEnv(envHandover)
	in := &inherited{State: os.Getenv(envState), ports: make(map[string]*os.File)}
	pid, fds, given := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv(envNames)
	if watched := os.Getenv("WATCHDOG_PID"); !ours && watched != "" && watched != strconv.Itoa(os.Getpid()) {
		os.Unsetenv("WATCHDOG_USEC") // of another process, which has started this one
	}
	for _, name := range append([]string{envHandover, envState}, envSystemd...) {
		os.Unsetenv(name)
	}
	if ours {
		in.from, in.to = file(firstFile, "from the process before"), file(firstFile+1, "to the process before")
		if in.from == nil || in.to == nil {
			return nil, fmt.Errorf("%s is set, but no process hands over to this one: unset it", envHandover)
		}
		for i, name := range split(handover) {
			if in.ports[name] = file(firstFile+2+i, name); in.ports[name] == nil {
				return nil, fmt.Errorf("%s is set, but no process hands over to this one: unset it", envHandover)
			}
		}
		in.Kept = split(given)
		return in, nil
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return in, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not a number of sockets: see systemd.socket(5)", fds)
	}
	called := split(given)
	for i := range n {
		name := ""
		if i < len(called) {
			name = called[i]
		}
		switch {
		case !slices.Contains(names, name):
			return nil, fmt.Errorf("systemd hands over a socket named %q: give it one of the names %s with FileDescriptorName=", name, strings.Join(names, ", "))
		case in.ports[name] != nil:
			return nil, fmt.Errorf("systemd hands over two sockets named %q: leave one of them out, or use an address that stands for both", name)
		}
		if in.ports[name] = file(firstFile+i, name); in.ports[name] == nil {
			return nil, fmt.Errorf("LISTEN_FDS=%s is set, but descriptor %d is not open: unset it", fds, firstFile+i)
		}
		in.Kept = append(in.Kept, name)
	}
	return in, nil
}

func split(names string) []string {
	if names == "" {
		return nil
	}
	return strings.Split(names, ":")
}

// file returns an inherited descriptor, nil if it is not open. What this process
// starts does not inherit it.
func file(fd int, name string) *os.File {
	if !take(fd) {
		return nil
	}
	return os.NewFile(uintptr(fd), name)
}

// Listener returns the socket of that name, nil if there is none, or if it was
// taken before.
func (in *inherited) Listener(name string) (net.Listener, error) {
	if in == nil || in.ports[name] == nil {
		return nil, nil
	}
	f := in.ports[name]
	delete(in.ports, name)
	defer f.Close() // FileListener has one of its own
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the %s port was handed over as descriptor %d, which is not a listening socket: %w", name, f.Fd(), err)
	}
	return ln, nil
}

// TakesOver reports whether another process hands its work over to this one.
func (in *inherited) TakesOver() bool { return in != nil && in.to != nil }

// Ready tells the process before that this one could take over, and returns when
// it shall; stop, when it is closed, ends the wait, with an error. Without such a
// process it returns at once. Sockets that were not taken are closed.
func (in *inherited) Ready(stop <-chan struct{}) error {
	if in == nil {
		return nil
	}
	for name, f := range in.ports {
		delete(in.ports, name)
		f.Close()
	}
	if in.to == nil {
		return nil
	}
	defer in.to.Close()
	defer in.from.Close()
	if _, err := in.to.Write([]byte{ready}); errors.Is(err, syscall.EPIPE) {
		return nil // it has died: there is nobody else any more
	} else if err != nil {
		return fmt.Errorf("the process before this one does not listen: %w", err)
	}
	told := make(chan error, 1)
	// Ends with what the process before says, or its end, or when from is closed.
	go func() {
		var b [1]byte
		_, err := io.ReadFull(in.from, b[:])
		told <- err
	}()
	select {
	case err := <-told:
		if errors.Is(err, io.EOF) {
			// It has died: there is nobody else any more.
			return nil
		}
		return err
	case <-stop:
		in.from.Close()
		<-told
		return errors.New("stopped before it took over")
	}
}

// What the two processes say to each other.
const (
	ready = 'r' // the new one could take over
	goOn  = 'g' // it shall
)
