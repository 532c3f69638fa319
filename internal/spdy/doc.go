// Package spdy is an implementation of SPDY/3.1, and of SPDY/3, as client and
// as server.
//
// A Session is one connection, of whatever kind: it may have been dialled or
// accepted, by the client or by the server. A client session is an
// http.RoundTripper whose requests share the connection; a server session runs
// an http.Handler.
//
//	s := (*spdy.Config)(nil).NewClientSession(conn)
//	go s.Serve()
//	resp, err := s.RoundTrip(req)
//
// Each session has a reader, which never waits for a stream, and while it has streams
// or something to send a writer, which sends the most urgent stream's DATA first: two
// goroutines. Each running handler, and each request with a body, has one more. Up to 64 that have run a handler
// wait for the next request, for a second or two. One slow reader holds up its own
// stream alone: a stream's window is given back as its body is read, the
// session's as soon as bytes are in the stream's own bounded buffer. Windows
// start at 64 KiB and grow, for readers that keep up, to what the round trip
// asks for, and shrink again for those that no longer do. Corkable, below TLS,
// makes large bodies faster.
//
// SPEC.md has the rules, with the drafts' sections where they come from, the choices
// where the drafts are silent, and the cases that the conformance suite shows.
//
// Errors are a StreamError, which ends one request, or a SessionError, which
// ends them all; Retryable says which requests the peer provably never acted on.
//
// ConfigureServer adds SPDY to a server of net/http, beside HTTP/2 and HTTP/1.1.
//
// The names of the library that had this import path until 2015 are all here
// and mean what they meant, marked Deprecated: Server, Client, NewStreamProxy. Their
// sessions have the default Config and the log of SetLog; what else is different
// about them is told at NewServerSession.
package spdy
