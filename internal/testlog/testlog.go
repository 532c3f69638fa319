// Package testlog collects, for a test, what a program or a logger writes.
package testlog

import (
	"bytes"
	"strings"
	"sync"
)

// Buffer is an io.Writer whose content may be read while others write. The zero
// value is ready.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Count returns how often s is in what was written so far.
func (b *Buffer) Count(s string) int { return strings.Count(b.String(), s) }
