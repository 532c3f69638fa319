package front

import (
	"fmt"
	"net/http"
)

const (
	// MaxHeaderLines is how many lines the head of a request may have, and that
	// of an origin's answer. Trailers that are announced count too.
	MaxHeaderLines = 1000

	// maxHeaderName is the longest name in bytes that the engine takes.
	maxHeaderName = 1 << 10

	// ownHead is more than what a request's head gets on its way to C in 13
	// lines: five names that begin with a colon, Content-Length, Trailer and Te
	// (163 bytes), X-Forwarded-For, X-Forwarded-Proto, X-Request-Id, Via and
	// X-Forwarded-Host (195), without what A has said already.
	ownHead = 384
)

// head is the size of a message's head, counted as the engine counts that of a
// header block (draft 3.1, 2.6.10): what is taken here, C's engine takes.
type head struct {
	bytes   int
	lines   int32
	longest int32 // bytes of the longest name
}

func (n *head) add(name string, values []string) {
	n.longest = max(n.longest, int32(len(name)))
	n.lines += max(1, int32(len(values)))
	for _, v := range values {
		n.bytes += len(name) + len(v) + 8
	}
}

// requestHead returns the size of a request's head, with what the proxy adds.
func requestHead(r *http.Request) head {
	n := head{bytes: ownHead + len(r.Method) + len(r.RequestURI) + 2*len(r.Host)}
	for name, values := range r.Header {
		n.add(name, values)
	}
	for name := range r.Trailer {
		n.longest = max(n.longest, int32(len(name)))
		n.lines++
		n.bytes += len(name) + 2
	}
	return n
}

// tooLarge returns a failure if a request's head is above a limit.
func (h *Handler) tooLarge(n head) *failure {
	detail := ""
	switch {
	case h.cfg.MaxHeaderBytes > 0 && n.bytes > h.cfg.MaxHeaderBytes:
		detail = fmt.Sprintf("the request's head is larger than %d bytes", h.cfg.MaxHeaderBytes)
	case n.lines > MaxHeaderLines:
		detail = fmt.Sprintf("the request's head has more than %d lines", MaxHeaderLines)
	case n.longest > maxHeaderName:
		detail = fmt.Sprintf("a header's name is longer than %d bytes", maxHeaderName)
	default:
		return nil
	}
	return &failure{status: http.StatusRequestHeaderFieldsTooLarge, reason: reasonRequest, detail: detail}
}
