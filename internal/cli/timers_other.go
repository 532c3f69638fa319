//go:build !linux

package cli

// RelaxTimers does nothing: other systems have no such setting, or need none.
func RelaxTimers() {}
