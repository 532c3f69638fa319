package spdy

import (
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Version is the protocol that a session speaks. It is what was negotiated,
// not what a frame says: SPDY/3 and SPDY/3.1 have the same version number on
// the wire and differ in the session's flow-control window.
type Version uint8

const (
	// SPDY31 is SPDY/3.1, ALPN id "spdy/3.1".
	SPDY31 Version = iota
	// SPDY3 is SPDY/3, ALPN id "spdy/3": there is no session window.
	SPDY3
)

// String returns the version's ALPN id.
func (v Version) String() string {
	if v == SPDY3 {
		return "spdy/3"
	}
	return "spdy/3.1"
}

// Defaults of Config, and limits of the protocol.
const (
	// defaultWindow is the size in bytes of every window before any SETTINGS
	// (draft 3.1, 2.6.8).
	defaultWindow = 64 << 10

	defaultMaxStreamWindow  = 24 << 20
	defaultSessionWindow    = 1 << 20
	defaultMaxSessionWindow = 32 << 20
	defaultMaxBuffer        = 64 << 20
	defaultMaxStreams       = 1000
	defaultMaxFrame         = 128 << 10
	maxFrame                = 1<<24 - 1 // what a frame's header can say (draft 3.1, 2.2)
	defaultMaxHeaderBytes   = 64 << 10
	defaultMaxHeaderPairs   = 512
	defaultWriteTimeout     = 30 * time.Second
)

// Config holds what a session can be told. The zero value, and a nil *Config,
// is the configuration to run with. A Config is copied when a session is made;
// changing it afterwards has no effect on that session.
type Config struct {
	// Version is what was negotiated; the zero value is SPDY/3.1.
	Version Version

	// MaxConcurrentStreams is how many streams the peer of a server session
	// may have open, or handlers running, at once; it is announced as
	// SETTINGS 4. Zero means 1000. A client session takes no stream from its
	// peer and announces 0.
	MaxConcurrentStreams uint32

	// FirstStreamID is the id of the first stream that a client session opens.
	// Zero means 1, an even one the next odd one. There are 2^30 ids, and a
	// session goes away with the last: a program that starts with a high one,
	// such as 1<<31 - 9 for the last five, can be tested for what follows.
	FirstStreamID uint32

	// StreamWindow is the receive window in bytes that a stream starts with,
	// announced as SETTINGS 7 without WindowOnRead. Zero means 65536, which is also
	// the least.
	StreamWindow int32

	// WindowOnRead has the streams of a server session start with a window of 0, so
	// announced: the first Read of a request's body opens the window, of StreamWindow
	// bytes. A body that the handler does not ask for stays with its sender, who is
	// told to keep it when the response is out. It is for handlers that pass requests
	// on, and may have to refuse them: see ResetStream. What a peer sends before it
	// has seen the SETTINGS is taken. Client sessions ignore it.
	WindowOnRead bool

	// MaxStreamWindow is the size in bytes to which the receive window of a
	// stream may grow by itself, while its reader keeps up and the round trip
	// asks for it. Zero means 24 MiB; negative means that windows never grow.
	MaxStreamWindow int32

	// SessionWindow is the receive window of the session in bytes at its
	// start. Zero means 1 MiB; the least is 65536. It grows by itself, to some
	// twice what the line carries in a round trip and at most 32 MiB: what is
	// beyond that would only wait in the buffers on the way, and what is urgent
	// behind it. SPDY/3 has none.
	SessionWindow int32

	// MaxBuffer bounds in bytes what all streams of a session together may
	// hold beyond the window that each starts with. Zero means 64 MiB.
	MaxBuffer int64

	// MaxFrameSize is the largest payload in bytes of a control frame that is
	// taken: above it the session ends, since what is compressed has to be read.
	// Zero means 128 KiB, or what a header block of MaxHeaderBytes may take if
	// that is more; the least is 8192 (draft 3.1, 2.2.1), the most 2^24-1.
	MaxFrameSize uint32

	// MaxPeerFrameSize is the largest payload in bytes of a control frame that
	// the peer takes. A request, an answer or trailers that could be larger are
	// not sent: their stream ends with ErrHeaderTooLarge, since the peer would
	// end the session. Zero means 128 KiB; the most is 2^24-1.
	MaxPeerFrameSize uint32

	// MaxHeaderBytes is the largest decoded header block in bytes that is
	// taken; the HEADERS frames of one stream count together. Zero means
	// 64 KiB, the most is 64 MiB. The frame's stream is reset above it, the
	// session ended where compression makes more of a block than 16 times as
	// much, and 1 MiB. A name may have a 64th of it, and 1 KiB at least.
	MaxHeaderBytes int

	// MaxHeaderPairs is how many names a header block may hold, and how many
	// parts their values may have together. Zero means 512. The frame's stream is
	// reset above it.
	MaxHeaderPairs int

	// CompressionLevel is the zlib level, 1 to 9, of the header blocks sent.
	// Zero means stored blocks: several people's secrets and text that an
	// attacker chooses share one compression context, and the length of what
	// is sent would leak them (CRIME). What is outside counts as 0 or 9.
	CompressionLevel int

	// KeepAlive is how long the peer may be silent before it is sent a PING;
	// silent for that long again, it is dead and the session ends. Zero and
	// negative mean never.
	KeepAlive time.Duration

	// WriteTimeout is how long one write of at most some 64 KiB to the
	// connection may take. Zero means 30 s, negative no limit.
	WriteTimeout time.Duration

	// Logger receives one record for each event worth an operator's attention,
	// such as a handler's panic; why a session ended is its caller's to say, which
	// Serve and Err tell, and one of ConfigureServer's says it here. Nil discards
	// them, but for panics, which then go to the server's ErrorLog if it has one.
	Logger *slog.Logger

	// Trace, if set, is called for each frame sent and received, in order for
	// each direction, from the session's two goroutines: it must not block,
	// and may be called twice at once.
	Trace func(FrameInfo)

	// FairKey names whom a request is for, before it is sent by a client session,
	// or when it came to a server session. Streams of one priority share the
	// connection equally between the keys, then between the streams of one key;
	// and the windows of one key's streams grow, beyond what they start with, by
	// a quarter of what the other keys leave of MaxBuffer, or up to three eighths
	// of it all while they have little. Nil: equally between streams, and none has
	// such a bound.
	FairKey func(*http.Request) string
}

// NewClientSession returns a session that opens odd streams on conn. Nothing is
// sent or read before Serve; RoundTrip may be called before it, and waits.
func (c *Config) NewClientSession(conn net.Conn) *Session {
	return newSession(conn, nil, c)
}

// NewServerSession returns a session whose streams run server.Handler
// (http.DefaultServeMux if nil). Of server, Handler, ConnContext and ErrorLog
// are used. Nothing is sent or read before Serve.
//
// The http.ResponseWriter of a handler is an http.Flusher, an io.ReaderFrom and an
// io.StringWriter, and http.ResponseController sets its deadlines. That of a request
// with an Upgrade header is an http.Hijacker: the stream becomes a net.Conn with a
// CloseWrite method, to which a response is written as in HTTP/1.1, so that
// httputil.ReverseProxy and WebSocket libraries find what they expect. A handler that
// calls WriteHeader with 101, and no Hijack, has both directions as the request's Body
// and Write. A method WaitSent() error waits until the peer's windows let out what was
// written. ResetStream refuses a request, or breaks a response off.
func (c *Config) NewServerSession(conn net.Conn, server *http.Server) *Session {
	if server == nil {
		server = &http.Server{}
	}
	return newSession(conn, server, c)
}

// withDefaults returns a copy in which every zero value has become its default.
func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	if d.MaxConcurrentStreams == 0 {
		d.MaxConcurrentStreams = defaultMaxStreams
	}
	d.FirstStreamID = min(d.FirstStreamID|1, maxStreamID)
	d.StreamWindow = max(d.StreamWindow, defaultWindow)
	if d.MaxStreamWindow == 0 {
		d.MaxStreamWindow = defaultMaxStreamWindow
	}
	d.MaxStreamWindow = max(d.MaxStreamWindow, d.StreamWindow)
	if d.SessionWindow == 0 {
		d.SessionWindow = defaultSessionWindow
	}
	d.SessionWindow = max(d.SessionWindow, defaultWindow)
	if d.MaxBuffer == 0 {
		d.MaxBuffer = defaultMaxBuffer
	}
	if d.MaxHeaderBytes <= 0 {
		d.MaxHeaderBytes = defaultMaxHeaderBytes
	}
	d.MaxHeaderBytes = min(d.MaxHeaderBytes, 64<<20)
	if d.MaxFrameSize == 0 {
		d.MaxFrameSize = uint32(max(defaultMaxFrame, frameOf(min(d.MaxHeaderBytes, maxFrame))))
	}
	d.MaxFrameSize = min(max(d.MaxFrameSize, 8192), maxFrame)
	if d.MaxPeerFrameSize == 0 {
		d.MaxPeerFrameSize = defaultMaxFrame
	}
	d.MaxPeerFrameSize = min(d.MaxPeerFrameSize, maxFrame)
	if d.MaxHeaderPairs <= 0 {
		d.MaxHeaderPairs = defaultMaxHeaderPairs
	}
	d.CompressionLevel = min(max(d.CompressionLevel, 0), 9)
	if d.WriteTimeout == 0 {
		d.WriteTimeout = defaultWriteTimeout
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}
