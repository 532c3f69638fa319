//go:build unix

package cli

import (
	"os"
	"syscall"
)

// handOverSignal asks a daemon to make way for a new process. It does not change.
var handOverSignal os.Signal = syscall.SIGUSR2
