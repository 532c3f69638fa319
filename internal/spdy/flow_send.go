package spdy

// sendFlow is what bounds the DATA that a session sends. Guarded by Session.mu.
type sendFlow struct {
	window   sendWindow // of the session
	initial  int64      // window of a new stream
	buffered int        // bytes in the buffers of all streams
	sched    scheduler
}

// sendWindow is how many bytes of DATA may still be sent; negative after a
// SETTINGS that lowered it (draft 3.1, 2.6.8).
type sendWindow int64

// add gives n more bytes; it reports false, changing nothing, when the sum
// would pass 2^31-1.
func (w *sendWindow) add(n int64) bool {
	if int64(*w)+n > maxWindow {
		return false
	}
	*w += sendWindow(n)
	return true
}
