package spdy_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/amahi/spdy"
)

// The API of 2015, name by name with its signature: what does not compile here
// would not compile in a program that was written for it. Nothing runs.

// Constants that have no type go into variables of any type.
var (
	_ uint16  = spdy.FRAME_SYN_STREAM + spdy.FRAME_SYN_REPLY + spdy.FRAME_RST_STREAM + spdy.FRAME_SETTINGS
	_ int     = spdy.FRAME_PING + spdy.FRAME_GOAWAY + spdy.FRAME_HEADERS + spdy.FRAME_WINDOW_UPDATE
	_ float64 = spdy.MAX_DATA_PAYLOAD + spdy.NORTHBOUND_SLOTS
)

// Their values, as array lengths: these are equal or do not compile.
var (
	_ [1]struct{} = [spdy.FRAME_SYN_STREAM]struct{}{}
	_ [2]struct{} = [spdy.FRAME_SYN_REPLY]struct{}{}
	_ [3]struct{} = [spdy.FRAME_RST_STREAM]struct{}{}
	_ [4]struct{} = [spdy.FRAME_SETTINGS]struct{}{}
	_ [6]struct{} = [spdy.FRAME_PING]struct{}{}
	_ [7]struct{} = [spdy.FRAME_GOAWAY]struct{}{}
	_ [8]struct{} = [spdy.FRAME_HEADERS]struct{}{}
	_ [9]struct{} = [spdy.FRAME_WINDOW_UPDATE]struct{}{}
	_ [0]struct{} = [spdy.FLAG_NONE]struct{}{}
	_ [1]struct{} = [spdy.FLAG_FIN]struct{}{}
	_ [5]struct{} = [spdy.NORTHBOUND_SLOTS]struct{}{}

	_ [1<<24 - 1]struct{} = [spdy.MAX_DATA_PAYLOAD]struct{}{}
	_ [64 << 10]struct{}  = [spdy.INITIAL_FLOW_CONTOL_WINDOW]struct{}{}
)

var (
	_ int32  = spdy.INITIAL_FLOW_CONTOL_WINDOW
	_ string = spdy.FLAG_FIN.String()

	_ = []string{
		spdy.HEADER_STATUS, spdy.HEADER_VERSION, spdy.HEADER_PATH, spdy.HEADER_METHOD, spdy.HEADER_HOST,
		spdy.HEADER_SCHEME, spdy.HEADER_CONTENT_LENGTH,
	}
)

var (
	_ func()                                           = spdy.EnableDebug
	_ func(io.Writer)                                  = spdy.SetLog
	_ func(*url.URL) uint8                             = spdy.PriorityFor
	_ func(string, http.Handler) error                 = spdy.ListenAndServe
	_ func(string, string, string, http.Handler) error = spdy.ListenAndServeTLS
	_ func(string, string, string, http.Handler) error = spdy.ListenAndServeTLSSpdyOnly

	_ func(string) (*spdy.Client, error)                            = spdy.NewClient
	_ func(net.Conn) (*spdy.Client, error)                          = spdy.NewClientConn
	_ func(*spdy.Client, *http.Request) (*http.Response, error)     = (*spdy.Client).Do
	_ func(*spdy.Client, time.Duration) (bool, error)               = (*spdy.Client).Ping
	_ func(*spdy.Client) error                                      = (*spdy.Client).Close
	_ func(*spdy.Server) error                                      = (*spdy.Server).ListenAndServe
	_ func(*spdy.Server, string, string) error                      = (*spdy.Server).ListenAndServeTLSSpdyOnly
	_ func(*spdy.Server, net.Listener) error                        = (*spdy.Server).Serve
	_ func(*spdy.Server) error                                      = (*spdy.Server).Close
	_ func(net.Conn) *spdy.Session                                  = spdy.NewClientSession
	_ func(net.Conn, *http.Server) *spdy.Session                    = spdy.NewServerSession
	_ func(*spdy.Session) error                                     = (*spdy.Session).Serve
	_ func(*spdy.Session)                                           = (*spdy.Session).Close
	_ func(*spdy.Session) *spdy.Stream                              = (*spdy.Session).NewClientStream
	_ func(*spdy.Session, *http.Request, http.ResponseWriter) error = (*spdy.Session).NewStreamProxy
	_ func(*spdy.Session, time.Duration) bool                       = (*spdy.Session).Ping
	_ func(*spdy.Stream, *http.Request, http.ResponseWriter) error  = (*spdy.Stream).Request
	_ func(*spdy.Stream) http.Header                                = (*spdy.Stream).Header
	_ func(*spdy.Stream, int)                                       = (*spdy.Stream).WriteHeader
	_ func(*spdy.Stream, []byte) (int, error)                       = (*spdy.Stream).Write
	_ func(*spdy.Stream) string                                     = (*spdy.Stream).String
	_ func() *spdy.ResponseRecorder                                 = spdy.NewRecorder
	_ func(*spdy.ResponseRecorder) http.Header                      = (*spdy.ResponseRecorder).Header
	_ func(*spdy.ResponseRecorder, []byte) (int, error)             = (*spdy.ResponseRecorder).Write
	_ func(*spdy.ResponseRecorder, int)                             = (*spdy.ResponseRecorder).WriteHeader
	_ http.ResponseWriter                                           = (*spdy.ResponseRecorder)(nil)
	_ http.ResponseWriter                                           = (*spdy.Stream)(nil)
	_                                                               = spdy.Server{Handler: http.Handler(nil), Addr: "", TLSConfig: (*tls.Config)(nil)}
	_                                                               = spdy.ResponseRecorder{Code: int(0), HeaderMap: http.Header(nil), Body: (*bytes.Buffer)(nil)}
)

// The type of the flags has no name outside; a caller's constant finds it.
func _(s *spdy.Session) {
	s.SendGoaway(spdy.FLAG_NONE, make([]byte, 8))
	s.SendGoaway(0, []byte{0, 0, 0, 0, 0, 0, 0, 0})
}

// Results have names in the documentation that callers of 2015 read; programs
// declare variables from calls like these.
func _(c *spdy.Client, s *spdy.Session) (err error) {
	var pinged bool
	if pinged, err = c.Ping(time.Second); pinged {
		return err
	}
	pinged = s.Ping(time.Second)
	if str := s.NewClientStream(); str != nil && pinged {
		return str.Request(new(http.Request), spdy.NewRecorder())
	}
	return s.NewStreamProxy(new(http.Request), spdy.NewRecorder())
}
