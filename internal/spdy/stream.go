package spdy

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// Stream is one request and its response. On the server side it is the
// http.ResponseWriter of the request's handler; it is an http.Flusher, an
// io.ReaderFrom and an io.StringWriter as well, and http.ResponseController
// sets its deadlines.
type Stream struct {
	s *Session

	// Fixed before the stream is in Session.streams.
	pri     uint8
	fairKey string
	req     *http.Request
	rw      *response // server side only
	duplex  bool      // the request asks for an upgrade

	// giveAt is how many bytes its reader consumes before it tells the session.
	giveAt atomic.Int32
	// grew: its receive window is larger than at first.
	grew atomic.Bool

	// Guarded by Session.mu.
	id       uint32
	cond     sync.Cond // room to send, the reply, the end
	send     chunkList
	sendWin  sendWindow
	recv     recvWindow
	grow     grower
	deadline deadline // of writes
	err      error    // why it ended before its time
	resp     *http.Response
	trailers *pairs      // to be sent after the last DATA
	stopCtx  func() bool // ends the watch on the request's context
	cancel   context.CancelFunc

	requested    bool // Request was called
	opened       bool // it has an id
	sent         bool // its first frame was handed to the connection
	replied      bool // SYN_REPLY is queued or was received
	finQueued    bool // no more DATA will be added
	localClosed  bool // our FIN is on its way
	remoteClosed bool // the peer's FIN came
	closed       bool // it is no longer in Session.streams
	credited     bool // a WINDOW_UPDATE was sent for it
	forgotten    bool // the peer says so, though its FIN is still to come
	discard      bool // what comes is dropped and given back
	bodyDone     bool // nobody goes on reading what came; not kept if nothing grew
	unwanted     bool // so much was dropped that the rest is refused
	late         bool // a write failed for its deadline

	// Guarded by Session.mu; see stream_hold.go.
	held      *pairs // the SYN_REPLY, while it is held back
	hold      bool   // DATA is held back too
	isLazy    bool   // in Session.lazy
	isReady   bool   // in the scheduler
	waiting   int    // calls of writeFrom that wait for room
	sentMuch  bool   // a whole chunk was filled
	left      int    // bytes of its turn
	nextReady *Stream

	// Owned by the session's reader.
	want, got int64 // announced length of the body, -1 if none; bytes of it that came
	hadData   bool
	dropped   int64 // bytes dropped while discard was set
	// Bytes and values in the HEADERS frames.
	moreBytes, morePairs int

	buf recvBuffer // has a lock of its own
}

func (s *Session) newStream() *Stream {
	st := &Stream{s: s, pri: defaultPriority, want: -1}
	st.cond.L = &s.mu
	st.buf.init()
	st.recv = recvWindow{size: int64(s.cfg.StreamWindow), avail: int64(s.cfg.StreamWindow)}
	st.giveAt.Store(int32(st.recv.enough()))
	return st
}

// String returns the stream id in decimal.
func (st *Stream) String() string {
	st.s.mu.Lock()
	defer st.s.unlock()
	return strconv.FormatUint(uint64(st.id), 10)
}
