package serve

import (
	"context"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// isWebSocket tells whether r asks for a WebSocket. SPDY has no Connection
// header that would say so once more.
func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// webSocket asks the service for a WebSocket, and if it agrees passes bytes
// both ways until one side ends.
func (s *service) webSocket(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	// The body is not one yet: after the 101 it is what the visitor says.
	out := r.Clone(ctx)
	out.Body, out.ContentLength, out.TransferEncoding, out.RequestURI = nil, 0, nil, ""
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	dropHopByHop(out.Header)
	s.aim(out, r)
	out.Header.Set("Connection", "Upgrade")
	out.Header.Set("Upgrade", "websocket")
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", "") // absent stays absent
	}
	resp, err := s.transport.RoundTrip(out)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		// An ordinary answer goes the ordinary way.
		proxy := *s.proxy
		proxy.Transport = answered{resp}
		proxy.ServeHTTP(w, r)
		return
	}
	conn, ok := resp.Body.(duplex)
	if !ok || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		s.fail(w, r, errNoWebSocket)
		return
	}
	dropHopByHop(resp.Header)
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	if err := s.join(w, r, conn); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// A duplex is the body of a 101: the connection itself.
type duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// join copies between the visitor and the service until the service has said
// all, and what it said is passed on. An error means that it was cut short.
func (s *service) join(w http.ResponseWriter, r *http.Request, conn duplex) error {
	rc := http.NewResponseController(w)
	if err := rc.Flush(); err != nil {
		return err
	}
	// A visitor who leaves ends both directions.
	stop := context.AfterFunc(r.Context(), func() { conn.Close() })
	defer stop()
	visitorDone := make(chan struct{})
	// Ends when the visitor has said all or left, or when the deadline below
	// is set; this function waits for it.
	go func() {
		defer close(visitorDone)
		buf := s.buffers.Get()
		defer s.buffers.Put(buf)
		if _, err := io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{r.Body}, buf); err != nil {
			conn.Close()
			return
		}
		// The service may still have something to say.
		conn.CloseWrite()
	}()
	buf := s.buffers.Get()
	_, err := io.CopyBuffer(flushing{w, rc}, struct{ io.Reader }{conn}, buf)
	s.buffers.Put(buf)
	// Our return ends the visitor's direction too: nobody is left to hear him.
	conn.Close()
	if rc.SetReadDeadline(time.Unix(1, 0)) != nil {
		r.Body.Close()
	}
	<-visitorDone
	return err
}

// A flushing sends on each write at once: somebody waits for it.
type flushing struct {
	w  io.Writer
	rc *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.rc.Flush()
	}
	return n, err
}

// An answered is a RoundTripper that has its answer already.
type answered struct{ resp *http.Response }

func (a answered) RoundTrip(*http.Request) (*http.Response, error) { return a.resp, nil }

// dropHopByHop removes the headers that speak of one connection only (RFC 9110, 7.6.1).
func dropHopByHop(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
}
