package peer

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// handler hands the requests of one node to the sessions here.
type handler struct {
	l    *Links
	node string
}

// ServeHTTP serves one request of another node's.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header[headerRevoke] != nil {
		h.revoke(w, r)
		return
	}
	h.l.taken.Add(1)
	q := origin.Query{Local: true}
	name, err := origin.ParseName(r.Header.Get(headerOrigin))
	if err == nil {
		q.Name = name
		q.Prefer, err = strconv.ParseUint(r.Header.Get(headerSession), 10, 64)
	}
	if err != nil {
		h.l.line(h.node, slog.LevelWarn, "a node's request does not say for whom it is")
		spdy.ResetStream(r.Context(), spdy.ProtocolError)
		return
	}
	for name := range r.Header {
		if own(name) {
			delete(r.Header, name)
		}
	}
	u, _, err := h.l.cfg.Local.Acquire(r.Context(), q)
	if err != nil {
		spdy.ResetStream(r.Context(), statusGone)
		return
	}
	resp, err := u.RoundTrip(request(r))
	if err != nil {
		spdy.ResetStream(r.Context(), statusOf(err))
		return
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		err = switchProtocols(w, r, resp)
	} else {
		err = respond(w, resp)
	}
	resp.Body.Close()
	if err != nil {
		spdy.ResetStream(r.Context(), statusOf(err))
	}
}

// request makes the request to C of that on the link.
func request(r *http.Request) *http.Request {
	out := r.WithContext(r.Context())
	path, query, asked := strings.Cut(r.RequestURI, "?")
	out.URL = &url.URL{Scheme: "http", RawQuery: query, ForceQuery: asked && query == ""}
	if r.Header.Get("X-Forwarded-Proto") == "https" {
		out.URL.Scheme = "https"
	}
	if strings.HasPrefix(path, "/") {
		out.URL.Opaque = path // as it came
	} else {
		out.URL.Path = path // "*"
	}
	out.RequestURI = ""
	switch {
	case r.Header["Connection"] != nil: // the engine has put it there, for an Upgrade
		out.Body = nil // what comes is the other protocol's
	case r.Body != http.NoBody:
		out.Trailer = make(http.Header)
		b := &requestBody{ReadCloser: r.Body, in: r, out: out.Trailer}
		b.passTrailers()
		out.Body = b
	}
	return out
}

// requestBody is the body of a request, whose trailers are there at its end.
type requestBody struct {
	io.ReadCloser
	in  *http.Request
	out http.Header
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.passTrailers()
	}
	return n, err
}

func (b *requestBody) passTrailers() { maps.Copy(b.out, b.in.Trailer) }

// respond passes a response on. Its error is what ended the response before its time,
// here or at the other node.
func respond(w http.ResponseWriter, resp *http.Response) error {
	head := w.Header()
	maps.Copy(head, resp.Header)
	// Present and nil: nothing is put there that C has not sent.
	for _, name := range []string{"Content-Type", "Date"} {
		if head[name] == nil {
			head[name] = nil
		}
	}
	for name := range resp.Trailer {
		head["Trailer"] = append(head["Trailer"], name)
	}
	w.WriteHeader(resp.StatusCode)
	if resp.ContentLength == 0 {
		// Nothing is flushed, so that the end is in the same frame.
		w = discard{w}
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return err
	}
	for name, values := range resp.Trailer {
		head[http.TrailerPrefix+name] = values
	}
	return nil
}

// discard drops what is written.
type discard struct{ http.ResponseWriter }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

var errNoDuplex = errors.New("a 101 without a connection")

// switchProtocols joins both directions of a stream on the link and one to C, until
// both have ended or one has failed. How long they may go on is for the other node to
// say.
func switchProtocols(w http.ResponseWriter, r *http.Request, resp *http.Response) error {
	rw, ok := resp.Body.(duplex)
	if !ok {
		return errNoDuplex
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	var passing sync.WaitGroup
	defer passing.Wait()
	// Ends with the direction from the other node, at the latest with the stream, which
	// ends below if the other direction fails.
	passing.Go(func() {
		if _, err := io.Copy(rw, conn); err != nil {
			rw.Close() // and with that, the other direction
			return
		}
		rw.CloseWrite()
	})
	_, err = io.Copy(conn, rw)
	if err == nil {
		err = conn.(interface {
			net.Conn
			CloseWrite() error
		}).CloseWrite()
	}
	if err != nil {
		// Here and not by who called: the direction that is left ends by it.
		spdy.ResetStream(r.Context(), statusOf(err))
	}
	return err
}
