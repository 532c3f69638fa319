//go:build !unix

package proxy

import "math"

// fileLimit returns how many files the process may have open: here the system
// sets no number.
func fileLimit() uint64 { return math.MaxUint64 }
