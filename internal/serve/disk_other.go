//go:build !linux && !darwin && !freebsd && !windows

package serve

import "os"

// lookAt does not know: a full disk is noticed when a write fails.
func lookAt(*os.File) (d disk, ok bool) { return disk{}, false }
