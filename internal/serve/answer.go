package serve

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// An answerError is an answer of the service that HTTP forbids, or that cannot be passed on.
type answerError struct{ what string }

func (e *answerError) Error() string { return e.what }

func badAnswer(format string, args ...any) error { return &answerError{fmt.Sprintf(format, args...)} }

// checkAnswer tells what is wrong with an answer of the service, beside what the
// Transport refuses by itself. It mends what an intermediary has to mend.
//
// Interim answers (RFC 9110, 15.2) are not among those that come here: the
// Transport reads them, as it must, and SPDY has no form in which they could go on.
func checkAnswer(resp *http.Response, webSocket bool) error {
	switch code := resp.StatusCode; {
	case code == http.StatusSwitchingProtocols:
		// RFC 9110, 15.2.2; RFC 6455, 4.1 on what a 101 must hold.
		if !webSocket || !httpfield.Equal(resp.Header.Get("Upgrade"), "websocket") {
			return badAnswer("it switches to a protocol that was not asked for")
		}
		if !httpfield.HasToken(resp.Header["Connection"], "upgrade") {
			return badAnswer("it switches the protocol without saying so in Connection")
		}
		if _, ok := resp.Body.(duplex); !ok {
			return badAnswer("it switches the protocol where that cannot be done")
		}
	case code < 200 || code > 599:
		// RFC 9110, 15: others are invalid, and a client is to take them for a 5xx.
		return badAnswer("its status is %03d", code)
	}
	h2 := resp.TLS != nil && resp.TLS.NegotiatedProtocol == "h2"
	if !h2 && resp.ProtoMajor != 1 {
		return badAnswer("it speaks %.20q where HTTP/1.1 was agreed on", resp.Proto)
	}
	size, lines := 0, 0
	for name, values := range resp.Header {
		if trimmed := strings.TrimRight(name, " "); trimmed != name && httpfield.IsToken(trimmed) {
			// RFC 9112, 5.1: a proxy removes white space before the colon. The
			// Transport has not seen these, and the body is as long as they say.
			switch key := textproto.CanonicalMIMEHeaderKey(trimmed); key {
			case "Content-Length", "Transfer-Encoding", "Connection", "Trailer":
				return badAnswer("there is white space after the header's name %s", key)
			default:
				delete(resp.Header, name)
				resp.Header[key] = append(resp.Header[key], values...)
			}
		} else if !httpfield.IsToken(name) {
			return badAnswer("a header has the name %.40q", name)
		}
		for _, v := range values {
			size += len(name) + len(v) + 8
			lines++
		}
	}
	if size > maxServiceHeader || lines > maxServiceLines {
		return badAnswer("its headers are too large: %d bytes in %d lines", size, lines)
	}
	return nil
}

// pass sends the service's answer on. A body that ends before its time breaks
// the visitor's stream off.
func (s *service) pass(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	h := w.Header()
	for name, values := range httpfield.EndToEnd(resp.Header) {
		h[name] = values
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // an answer without a type stays one: nobody may guess it
	}
	for name := range httpfield.Trailers(resp.Header, resp.Trailer) {
		// One that is a header as well goes without being announced: an
		// announced name stands for the trailer alone.
		if _, both := resp.Header[name]; !both {
			h["Trailer"] = append(h["Trailer"], name)
		}
	}
	w.WriteHeader(resp.StatusCode)
	if err := s.copyBody(w, r, resp); err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range httpfield.Trailers(resp.Header, resp.Trailer) {
		h[http.TrailerPrefix+name] = values
	}
}

// copyBody sends the body on: as it comes, if nobody knows its length.
func (s *service) copyBody(w http.ResponseWriter, r *http.Request, resp *http.Response) error {
	if resp.Body == http.NoBody {
		return nil
	}
	from := &bodyReader{Reader: resp.Body}
	var err error
	if to, ok := w.(io.ReaderFrom); ok && resp.ContentLength >= 0 && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		_, err = to.ReadFrom(from) // straight into what is sent
	} else {
		to := flushing{w, http.NewResponseController(w)}
		if err = to.rc.Flush(); err == nil {
			err = s.buffers.copy(to, from)
		}
	}
	if from.err != nil && r.Context().Err() == nil {
		s.limit.Log("broken", slog.LevelWarn, "the service broke off its answer",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("error", shortened(from.err)))
	}
	return err
}

// A bodyReader remembers what ended the body before its end. It hides the
// other methods of the body.
type bodyReader struct {
	io.Reader
	err error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// spelling returns a header's name as its standard writes it, where that is
// not how http.Header does. Any way is right, but small services compare letters.
func spelling(name string) string {
	switch name {
	case "Dnt":
		return "DNT"
	case "Sec-Websocket-Extensions":
		return "Sec-WebSocket-Extensions"
	case "Sec-Websocket-Key":
		return "Sec-WebSocket-Key"
	case "Sec-Websocket-Protocol":
		return "Sec-WebSocket-Protocol"
	case "Sec-Websocket-Version":
		return "Sec-WebSocket-Version"
	case "Soapaction":
		return "SOAPAction"
	}
	return name
}
