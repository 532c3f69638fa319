// Package spdy is SPDY/3.1.
package spdy

import (
	"context"
	"net"
	"net/http"
	"time"
)

type Session struct{}
type FrameInfo struct{}

func newSession(conn net.Conn, server *http.Server, c *Config) *Session { panic("not yet") }

func NewClientSession(conn net.Conn) *Session { return (*Config)(nil).NewClientSession(conn) }
func NewServerSession(conn net.Conn, server *http.Server) *Session {
	return (*Config)(nil).NewServerSession(conn, server)
}
func (s *Session) Serve() error                                           { panic("not yet") }
func (s *Session) RoundTrip(*http.Request) (*http.Response, error)        { panic("not yet") }
func (s *Session) Close()                                                 { panic("not yet") }
func (s *Session) Shutdown(ctx context.Context) error                     { panic("not yet") }
func (s *Session) Done() <-chan struct{}                                  { panic("not yet") }
func (s *Session) GoingAway() <-chan struct{}                             { panic("not yet") }
func (s *Session) Err() error                                             { panic("not yet") }
func (s *Session) Available() int                                         { panic("not yet") }
func (s *Session) InFlight() int                                          { panic("not yet") }
func (s *Session) Ping(d time.Duration) bool                              { panic("not yet") }
func (s *Session) PingContext(ctx context.Context) (time.Duration, error) { panic("not yet") }
func (s *Session) Stats() Stats                                           { panic("not yet") }
func (s *Session) RemoteAddr() net.Addr                                   { panic("not yet") }
func (s *Session) LocalAddr() net.Addr                                    { panic("not yet") }

func WithPriority(ctx context.Context, p uint8) context.Context { panic("not yet") }
func PriorityFrom(ctx context.Context) (p uint8, ok bool)       { panic("not yet") }
func StreamID(ctx context.Context) uint32                       { panic("not yet") }
func ResponseStreamID(*http.Response) uint32                    { panic("not yet") }
