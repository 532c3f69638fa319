//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Enter starts this program once more, in a network and with mounts of its own, and
// returns its exit status. mark is set in its environment there. It returns false where
// that is not allowed.
func Enter(ctx context.Context, mark string, args []string, stdout, stderr io.Writer) (status int, ok bool) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if cmd.Start() != nil {
		return 0, false
	}
	err := cmd.Wait()
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		return max(exit.ExitCode(), 1), true
	}
	if err != nil {
		return 1, true
	}
	return 0, true
}

// A Network is a network namespace, which a process holds that does nothing.
type Network struct {
	cmd   *exec.Cmd
	input io.Closer
}

// NewNetwork makes one without any device but lo, which is down. Close ends it.
func NewNetwork() (*Network, error) {
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("a network namespace: %w", err)
	}
	return &Network{cmd, input}, nil
}

// PID is of the process that holds it.
func (n *Network) PID() string { return strconv.Itoa(n.cmd.Process.Pid) }

// Inside is what comes before a command that is to run in it.
func (n *Network) Inside() []string {
	return []string{"nsenter", "--net=/proc/" + n.PID() + "/ns/net", "--"}
}

// Close ends it, when nothing else is in it.
func (n *Network) Close() {
	n.input.Close()
	n.cmd.Wait()
}

// OpenDevice makes a network device whose packets this program reads and writes.
func OpenDevice(name string) (*os.File, error) {
	const file = "/dev/net/tun"
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return os.NewFile(uintptr(fd), file), nil
}
