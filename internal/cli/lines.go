package cli

import (
	"fmt"
	"io"
	"sync/atomic"
)

// maxLines is how many lines may wait for a slow writer.
const maxLines = 4096

// Lines writes lines from goroutines that must not wait for the writer: a
// terminal that is held up holds nobody else up. When too many wait, lines are
// left out, and their number is said.
type Lines struct {
	queue   chan string
	quit    chan struct{}
	done    chan struct{}
	leftOut atomic.Int64
}

// NewLines returns a Lines that writes to w until Close.
func NewLines(w io.Writer) *Lines {
	l := &Lines{queue: make(chan string, maxLines), quit: make(chan struct{}), done: make(chan struct{})}
	// Ends after Close, when w has taken what waited; Close waits for it.
	go l.write(w)
	return l
}

// Print adds a line, without its line feed. It never blocks, and does nothing
// after Close.
func (l *Lines) Print(line string) {
	select {
	case l.queue <- line:
	default:
		l.leftOut.Add(1)
	}
}

// Close writes what waits and ends. It is called once.
func (l *Lines) Close() {
	close(l.quit)
	<-l.done
}

func (l *Lines) write(w io.Writer) {
	defer close(l.done)
	put := func(line string) {
		if n := l.leftOut.Swap(0); n > 0 {
			line = fmt.Sprintf("(%d lines left out)\n%s", n, line)
		}
		io.WriteString(w, line+"\n")
	}
	for {
		select {
		case line := <-l.queue:
			put(oneLine(line))
		case <-l.quit:
			for range len(l.queue) {
				put(oneLine(<-l.queue))
			}
			return
		}
	}
}
