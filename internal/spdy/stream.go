package spdy

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Stream is one request and its response.
//
// Deprecated: use Session.RoundTrip on the client side, and the http.ResponseWriter on
// the server's, which is a *Stream in sessions of NewServerSession alone.
type Stream struct {
	s *Session

	// Fixed before the stream is in Session.streams.
	pri     uint8
	fairKey string
	req     *http.Request
	rw      *responseWriter // server side only
	ctx     *streamContext  // server side only
	answer  *answer         // client side only
	duplex  bool            // the request asks for an upgrade

	// Guarded by Session.mu.
	id        uint32
	cond      sync.Cond // room to send, the reply, the end
	state     streamState
	err       error // why it ended before its time
	resp      *http.Response
	watch     contextWatch // of the request's
	requested bool         // Request was called
	opened    bool         // it has an id
	sent      bool         // its first frame was handed to the connection
	replied   bool         // SYN_REPLY is queued or was received

	send sendHalf // guarded by Session.mu
	recv recvHalf
	body bodyCount // owned by the session's reader
}

// streamState is the protocol's (draft 3.1, 2.3). A stream that has no id yet is
// open too.
type streamState uint8

const (
	streamOpen       streamState = iota
	halfClosedLocal              // our FIN is on its way
	halfClosedRemote             // the peer's FIN came
	streamClosed                 // both, or reset: it is no longer in Session.streams
)

// sending reports whether this side has not ended its half.
func (st *Stream) sending() bool { return st.state == streamOpen || st.state == halfClosedRemote }

// receiving reports whether the peer has not ended its half.
func (st *Stream) receiving() bool { return st.state == streamOpen || st.state == halfClosedLocal }

// sendHalf is what a stream has to send.
type sendHalf struct {
	list     chunkList
	window   sendWindow
	deadline deadline
	trailers *pairs // to be sent after the last DATA
	fin      bool   // no more DATA will be added
	timedOut bool   // a write failed for its deadline
	writers  int    // calls of writeFrom that wait for room
	filled   bool   // a whole chunk was
	paced    bool   // no more is added than the window lets out

	// See stream_hold.go.
	reply *pairs // the SYN_REPLY, while it is held back
	hold  bool   // DATA is held back too

	// The scheduler's.
	ready bool
	left  int // bytes of its turn
	next  *Stream
}

// recvHalf is what came on a stream, and may come.
type recvHalf struct {
	buf      recvBuffer   // has a lock of its own
	updateAt atomic.Int32 // how many bytes its reader consumes before it tells the session
	grew     atomic.Bool  // window is larger than at first
	shut     atomic.Bool  // the peer was not told of the window yet: Config.WindowOnRead

	// Guarded by Session.mu.
	window    recvWindow
	grow      grower
	ending    bool        // the DATA with the peer's FIN is being read: no credit is due any more
	fin       bool        // the peer's FIN came
	credited  bool        // a WINDOW_UPDATE was sent for it
	forgotten bool        // the peer says so, though its FIN is still to come
	discard   bool        // what comes is dropped and given back
	refuse    bool        // the rest is refused once this side's half has ended
	rest      *time.Timer // until then, since nobody reads any more: see lingerLocked
	done      bool        // nobody goes on reading what came; not kept if nothing grew
}

// bodyCount counts what came on a stream.
type bodyCount struct {
	want, got int64 // announced length of the body, -1 if none; bytes of it that came
	hadData   bool
	dropped   int64 // bytes dropped while discard was set
	// Bytes and values in the HEADERS frames.
	moreBytes, morePairs int
}

// answer is what a client's stream makes its response of.
type answer struct {
	resp http.Response
	body responseBody
}

// newStream returns a stream that this side opens.
func (s *Session) newStream() *Stream {
	st := new(struct {
		Stream
		answer
	})
	st.Stream.init(s)
	st.Stream.answer = &st.answer
	return &st.Stream
}

func (st *Stream) init(s *Session) {
	st.s, st.pri, st.body.want = s, defaultPriority, -1
	st.cond.L = &s.mu
	st.recv.buf.init()
	st.recv.window = recvWindow{size: int64(s.cfg.StreamWindow), avail: int64(s.cfg.StreamWindow)}
	st.recv.updateAt.Store(int32(st.recv.window.enough()))
	st.recv.shut.Store(s.windowOnRead())
}

// String returns the stream id in decimal.
func (st *Stream) String() string {
	st.s.mu.Lock()
	defer st.s.unlock()
	return strconv.FormatUint(uint64(st.id), 10)
}
