package spdy

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Types of control frames, by the names of the library of 2015.
//
// Deprecated: FrameInfo.Type has the names.
const (
	FRAME_SYN_STREAM    = 1
	FRAME_SYN_REPLY     = 2
	FRAME_RST_STREAM    = 3
	FRAME_SETTINGS      = 4
	FRAME_PING          = 6
	FRAME_GOAWAY        = 7
	FRAME_HEADERS       = 8
	FRAME_WINDOW_UPDATE = 9
)

// Flags of frames, by the names of the library of 2015.
//
// Deprecated: FrameInfo.Flags has the bits.
const (
	FLAG_NONE = frameFlags(0)
	FLAG_FIN  = frameFlags(1)
)

// Names of headers, by the names of the library of 2015. Those that begin with
// a colon are found in the Header of a request to a session that was made by
// NewServerSession.
//
// Deprecated: a request and its response have them in their fields.
const (
	HEADER_STATUS         string = ":status"
	HEADER_VERSION        string = ":version"
	HEADER_PATH           string = ":path"
	HEADER_METHOD         string = ":method"
	HEADER_HOST           string = ":host"
	HEADER_SCHEME         string = ":scheme"
	HEADER_CONTENT_LENGTH string = "Content-Length"
)

const (
	// INITIAL_FLOW_CONTOL_WINDOW is the window in bytes that a stream starts
	// with. The spelling is that of the library of 2015.
	//
	// Deprecated: see Config.StreamWindow.
	INITIAL_FLOW_CONTOL_WINDOW int32 = 64 * 1024

	// MAX_DATA_PAYLOAD is the largest payload in bytes that a DATA frame can have.
	//
	// Deprecated: no frame of this package is as large.
	MAX_DATA_PAYLOAD = 1<<24 - 1

	// NORTHBOUND_SLOTS was how many pieces of received data a stream could hold.
	// It is kept for programs that name it; Config.StreamWindow, in bytes, is
	// the bound now.
	//
	// Deprecated: see Config.StreamWindow.
	NORTHBOUND_SLOTS = 5
)

// PriorityFor returns the priority that is suggested for a request: 4, the
// middle, whatever the URL. Stream.Request, Session.NewStreamProxy and Client.Do
// use it unless the request's context has one of WithPriority.
//
// Deprecated: use WithPriority.
func PriorityFor(req *url.URL) uint8 { return 4 }

// output is a writer that can be exchanged. Writes to it do not mix.
type output struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu; nil discards
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w == nil {
		return len(p), nil
	}
	return o.w.Write(p)
}

func (o *output) set(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = w
}

// What EnableDebug and SetLog change: the one state of this package that does
// not belong to a session. Only sessions that the constructors of 2015 made use
// it; others have Config.Logger and Config.Trace.
var (
	sharedOutput = &output{w: os.Stderr}
	sharedLogger = slog.New(slog.NewTextHandler(sharedOutput, nil))
	debugging    atomic.Bool
	debugLogger  = slog.New(slog.NewTextHandler(stdout{}, &slog.HandlerOptions{Level: slog.LevelDebug}))
)

// stdout is standard output, whatever that is when something is written.
type stdout struct{}

func (stdout) Write(p []byte) (int, error) { return os.Stdout.Write(p) }

// SetLog sets where log lines go, in place of standard error; nil: nowhere. It
// counts at once for every session that was not made from a Config, and for no
// other: those have Config.Logger.
//
// Deprecated: use Config.Logger.
func SetLog(w io.Writer) { sharedOutput.set(w) }

// EnableDebug prints a line for each frame to standard output from now on, with
// the values of cookies and credentials hidden. It counts for every session that
// was not made from a Config, and for no other: those have Config.Trace.
//
// Deprecated: use Config.Trace.
func EnableDebug() { debugging.Store(true) }

// debugFrame prints one frame.
func (s *Session) debugFrame(f FrameInfo) {
	debugLogger.LogAttrs(context.Background(), slog.LevelDebug, f.String(), slog.String("peer", s.remoteAddr))
}

// sharedConfig is the configuration of the sessions that are not made from one.
func sharedConfig(conn net.Conn) *Config {
	return &Config{Version: negotiated(conn), Logger: sharedLogger}
}

// negotiated returns the version that TLS chose on conn; without such a choice
// it is SPDY/3.1.
func negotiated(conn net.Conn) Version {
	if c, ok := conn.(*tls.Conn); ok && c.ConnectionState().NegotiatedProtocol == SPDY3.String() {
		return SPDY3
	}
	return SPDY31
}

// Ping reports whether the peer echoed a PING within d.
//
// Deprecated: use Session.PingContext.
func (s *Session) Ping(d time.Duration) (pinged bool) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	_, err := s.PingContext(ctx)
	return err == nil
}

// SendGoaway sends a GOAWAY whose payload is dat: 4 bytes with the last-good
// stream id and 4 with the status. Any other length means "the last one that was
// taken, OK". From then on no stream is taken or opened; the session ends with
// the last one that is open, at once if there is none. The frame has no flags (draft 3.1, 2.6.6), whatever f
// is. Shutdown does the same and waits.
//
// Deprecated: use Session.Shutdown.
func (s *Session) SendGoaway(f frameFlags, dat []byte) {
	s.mu.Lock()
	defer s.unlock()
	last, status := s.admission.lastGood, uint32(GoAwayOK)
	if len(dat) == 8 {
		last, status = binary.BigEndian.Uint32(dat), binary.BigEndian.Uint32(dat[4:])
	}
	if s.err != nil {
		return
	}
	s.closing.sent = true
	s.queueLocked(item{typ: typeGoAway, value: last, value2: status})
	s.goingLocked()
}

// NewClientSession returns a client session with the default configuration.
// Nothing is sent or read before Serve.
//
// Deprecated: use Config.NewClientSession.
func NewClientSession(conn net.Conn) *Session {
	s := sharedConfig(conn).NewClientSession(conn)
	s.compat = true
	return s
}

// NewServerSession returns a server session with the default configuration.
// Its handlers find the five ":" names in Request.Header too, and a response
// without a Content-Type gets "text/html; charset=utf-8", as the library of
// 2015 did it; Config.NewServerSession does neither.
//
// Deprecated: use Config.NewServerSession.
func NewServerSession(conn net.Conn, server *http.Server) *Session {
	s := sharedConfig(conn).NewServerSession(conn, server)
	s.compat = true
	return s
}
