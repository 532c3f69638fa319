//go:build !unix

package cli

import "os"

// handOverSignal: there is none here.
var handOverSignal os.Signal
