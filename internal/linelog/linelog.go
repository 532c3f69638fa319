// Package linelog writes lines to files, pipes and terminals that may stand
// still, be full or have gone, without holding up who has something to say.
package linelog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

const (
	// maxWaiting is how many bytes of lines may wait; as many again may be on
	// their way.
	maxWaiting = 1 << 20

	// maxPiece is how much goes in one Write, cut where a line ends: what a pipe
	// takes whole or not at all (pipe(7), PIPE_BUF), so that the lines of several
	// writers to one pipe do not get mixed. A longer line goes by itself. A file that
	// is appended to takes any number of bytes together.
	maxPiece = 4 << 10

	// gatherTime is how long a line waits for others with NewGathering, and gatherSize is
	// how many bytes of them wait no longer: what an empty pipe holds. More at once would
	// cost a file less, but who writes a line as much more, as its memory is not in a
	// core's cache any more.
	gatherTime = 50 * time.Millisecond
	gatherSize = 32 << 10

	// closeGrace is how long Close waits for what waits to be taken.
	closeGrace = time.Second

	// quietTime is how long nothing more is said about lost lines after something
	// was.
	quietTime = time.Minute
)

// errBehind is the cause of a loss that no error was seen for.
var errBehind = errors.New("what reads it does not keep up")

// Losses are told about lines that could not be written. From the first line that
// is dropped until the output keeps up again is one loss. Nil functions are not
// called.
type Losses struct {
	// Begin is called when lines begin to be dropped, by whoever wrote the line or
	// by the Writer's goroutine, but not within a minute of the last call. It must
	// not block, nor write to the Writer.
	Begin func(cause error)
	// End is called after each Begin, when the output keeps up again, and at Close,
	// before and after it, if there is anything to tell: with how many lines were
	// dropped since the last call. It may write to the Writer.
	End func(lines uint64)
}

// Writer writes lines to an output, in order. Its methods may be called at once,
// and but for Close none waits for the output: lines that it does not take in
// time, or at all, are dropped and counted. What may not stand in a line is
// escaped, as [oneline.Append] does.
type Writer struct {
	losses Losses        // fixed by New
	gather *time.Timer   // fixed by New; runs from the first line that waits, then calls Flush; nil: none waits for others
	done   chan struct{} // closed when run has ended

	mu      sync.Mutex
	more    sync.Cond // of mu; signals due, or closed
	output  output    // guarded by mu
	waiting []byte    // guarded by mu; whole lines
	due     bool      // guarded by mu; what waits is to be written now
	closed  bool      // guarded by mu
	dropped uint64    // guarded by mu; lines, in all
	traces  uint64    // guarded by mu; of those, lines of Trace for which there was no room
	untold  uint64    // guarded by mu; lines that no End was called with
	telling bool      // guarded by mu; Begin was called and End was not
	told    time.Time // guarded by mu; when Begin was called last

	// Owned by run: the end of a line whose beginning an output has, to be written
	// to that one before anything else.
	rest   []byte
	restOf int
}

// output is where the lines go: the how-manieth one, and itself.
type output struct {
	number int
	w      io.Writer
	piece  int // how many bytes go in one Write
}

func newOutput(number int, w io.Writer) output {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return output{number, w, maxWaiting}
		}
	}
	return output{number, w, maxPiece}
}

// New returns a Writer that writes to an output until Close, each line at once.
func New(to io.Writer, losses Losses) *Writer { return start(to, losses, false) }

// NewGathering returns one for very many lines, which wait for others for 50 ms at most,
// so that not each of them costs a system call.
func NewGathering(to io.Writer, losses Losses) *Writer { return start(to, losses, true) }

func start(to io.Writer, losses Losses, gather bool) *Writer {
	w := &Writer{losses: losses, done: make(chan struct{}), output: newOutput(0, to)}
	w.more.L = &w.mu
	if gather {
		// The first time, nothing waits yet: that is all the same.
		w.gather = time.AfterFunc(gatherTime, w.Flush)
	}
	// Ends after Close, which waits for it, but not for an output that stands
	// still: then it ends when that output does, or with the process.
	go w.run()
	return w
}

// Write adds the lines of p. It always succeeds; after Close it does nothing.
func (w *Writer) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		w.add(bytes.TrimSuffix(line, []byte("\n")), written)
	}
	return len(p), nil
}

// WriteClean adds the one line of p, as Write does, but as it is: it has nothing that is
// [oneline.Unsafe] but the line feed at its end.
func (w *Writer) WriteClean(p []byte) { w.add(p, clean) }

// Trace adds one line of a kind that there may be very many of, and that is
// dropped first: the other half of what may wait is for Write.
func (w *Writer) Trace(line string) {
	w.add([]byte(line), traced)
}

// kind is how a line came.
type kind uint8

const (
	written kind = iota // by Write, without its end
	clean               // by WriteClean, with it
	traced              // by Trace
)

// add adds a line, unless more would wait then than lines of its kind may.
func (w *Writer) add(line []byte, as kind) {
	limit := maxWaiting
	if as == traced {
		limit /= 2
	}
	w.mu.Lock()
	before := len(w.waiting)
	switch {
	case w.closed || before+len(line) >= limit:
	case as == clean:
		w.waiting = append(w.waiting, line...)
	default:
		w.waiting = append(oneline.Append(w.waiting, line), '\n')
	}
	tell, lost := false, w.dropped
	if !w.closed && (len(w.waiting) == before || len(w.waiting) > limit) {
		w.waiting = w.waiting[:before]
		tell = w.dropLocked(1)
	}
	room := w.dropped == lost
	if as == traced && !room {
		w.traces++
	}
	switch {
	case !room || w.closed:
	case w.gather == nil || len(w.waiting) >= gatherSize:
		w.flushLocked()
	case before == 0:
		w.gather.Reset(gatherTime)
	}
	w.mu.Unlock()
	if tell {
		w.losses.Begin(errBehind)
	}
}

// Flush has what was gathered written now. It does not wait for that.
func (w *Writer) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
}

func (w *Writer) flushLocked() {
	if !w.due && len(w.waiting) > 0 {
		w.due = true
		w.more.Signal()
	}
}

// dropLocked counts lines that are lost, and reports whether Begin is to be
// called.
func (w *Writer) dropLocked(lines uint64) (tell bool) {
	w.dropped += lines
	w.untold += lines
	if w.telling {
		return false
	}
	now := time.Now()
	if !w.told.IsZero() && now.Sub(w.told) < quietTime {
		return false
	}
	w.telling, w.told = true, now
	return w.losses.Begin != nil
}

// tellEnd ends a loss that was told; at Close, also one that was not.
func (w *Writer) tellEnd(closing bool) {
	w.mu.Lock()
	lines, tell := w.untold, w.telling || closing && w.untold > 0
	if tell {
		w.telling, w.untold = false, 0
	}
	w.mu.Unlock()
	if tell && w.losses.End != nil {
		w.losses.End(lines)
	}
}

// Dropped returns how many lines were lost so far.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Drops returns how many lines were dropped but for those of Trace for which there was
// no room, and how many those were. Neither ever becomes less.
func (w *Writer) Drops() (lines, traces uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped - w.traces, w.traces
}

// SetOutput has lines that are not on their way yet written elsewhere, now. The output
// before may be closed at once.
func (w *Writer) SetOutput(to io.Writer) {
	next := newOutput(0, to) // asks the file's disk, which may not answer
	w.mu.Lock()
	defer w.mu.Unlock()
	next.number = w.output.number + 1
	w.output = next
	w.flushLocked()
}

func (w *Writer) to() output {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.output
}

// Close writes what waits, for a second at most, and ends. It may be called
// again.
func (w *Writer) Close() {
	w.tellEnd(true)
	w.mu.Lock()
	w.closed = true
	w.more.Signal()
	w.mu.Unlock()
	if w.gather != nil {
		w.gather.Stop()
	}
	limit := time.NewTimer(closeGrace)
	defer limit.Stop()
	select {
	case <-w.done:
	case <-limit.C:
	}
	w.tellEnd(true)
}

func (w *Writer) run() {
	defer close(w.done)
	var batch []byte
	for {
		if batch = w.next(batch[:0]); len(batch) == 0 {
			w.put(w.to(), nil) // what is left of a line
			return
		}
		if w.put(w.to(), batch) && w.keepsUp() {
			w.tellEnd(false)
		}
	}
}

// next waits until lines are due and takes them; there are none only after Close. The
// next ones are kept in spare.
func (w *Writer) next(spare []byte) (batch []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.due && !w.closed {
		w.more.Wait()
	}
	batch, w.waiting, w.due = w.waiting, spare, false
	return batch
}

// keepsUp reports whether few lines came while a batch was written.
func (w *Writer) keepsUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting) < maxWaiting/4
}

// put writes lines, and reports whether all were taken. A line that the output
// took a part of, as a disk does that gets full, is completed before anything
// else is written, however long after.
func (w *Writer) put(to output, lines []byte) bool {
	torn := len(w.rest) > 0
	if torn && w.restOf == to.number {
		lines = slices.Concat(w.rest, lines)
	} else if torn {
		w.lose(1, io.ErrShortWrite)
		torn = false
	}
	w.rest = nil
	for len(lines) > 0 {
		piece := lines[:pieceLen(lines, to.piece)]
		n, err := to.w.Write(piece)
		if n > 0 {
			torn = piece[n-1] != '\n'
		}
		lines = lines[n:]
		if err == nil && n == len(piece) {
			continue
		}
		var rest []byte
		if torn {
			rest, lines = cutLine(lines)
		}
		if now := w.to(); now.number != to.number {
			// Closed under our hands: the rest is for the one that came after it. A line
			// that it has a part of is lost.
			if torn {
				w.lose(1, err)
			}
			to, torn = now, false
			continue
		}
		w.rest, w.restOf = bytes.Clone(rest), to.number
		w.lose(bytes.Count(lines, []byte("\n")), err)
		return false
	}
	return true
}

// lose counts lines that an output did not take.
func (w *Writer) lose(lines int, cause error) {
	if lines == 0 {
		return
	}
	if cause == nil {
		cause = io.ErrShortWrite
	}
	w.mu.Lock()
	tell := w.dropLocked(uint64(lines))
	w.mu.Unlock()
	if tell {
		w.losses.Begin(cause)
	}
}

// pieceLen is how much of lines, which are whole, one Write of at most max bytes gets.
func pieceLen(lines []byte, max int) int {
	if len(lines) <= max {
		return len(lines)
	}
	if i := bytes.LastIndexByte(lines[:max], '\n'); i >= 0 {
		return i + 1
	}
	line, _ := cutLine(lines)
	return len(line)
}

// cutLine returns the first line, with its line feed, and what follows.
func cutLine(lines []byte) (line, after []byte) {
	i := bytes.IndexByte(lines, '\n') + 1
	return lines[:i], lines[i:]
}
