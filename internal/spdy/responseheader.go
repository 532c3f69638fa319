package spdy

import (
	"net/http"
	"slices"
	"strings"
)

// makeReply makes the header block of the SYN_REPLY from what the headers are now,
// as canonical returns them, and the length that they announce, -1 if none.
func (w *responseWriter) makeReply(header http.Header, length int64) *pairs {
	s := w.st.s
	p := newPairs()
	p.add(nameStatus, statusLine(w.status))
	p.add(nameVersion, "HTTP/1.1")
	for _, v := range header["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			w.declare = append(w.declare, key)
			if values := header[key]; len(values) > 0 {
				if w.early == nil {
					w.early = make(map[string][]string)
				}
				w.early[key] = slices.Clone(values)
			}
		}
	}
	p.addCanonical(header, true, func(key string) bool {
		switch key {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Content-Length":
			return true
		}
		return strings.HasPrefix(key, http.TrailerPrefix) || key[:min(1, len(key))] == ":"
	})
	if length >= 0 && w.status != http.StatusNoContent && !w.switched() {
		p.add("content-length", header["Content-Length"][0]) // the peer takes but one
	}
	if _, typed := header["Content-Type"]; !typed && s.compat {
		p.add("content-type", "text/html; charset=utf-8")
	}
	if _, dated := header["Date"]; !dated {
		s.mu.Lock()
		date := s.dateLocked()
		s.unlock()
		p.add("date", date)
	}
	return p
}

// holdReply hands the SYN_REPLY over; it goes out with the body's first bytes.
func (w *responseWriter) holdReply() {
	p := w.reply
	w.reply = nil
	st, s := w.st, w.st.s
	if err := s.checkBlock(p); err != nil {
		freePairs(p)
		s.cfg.Logger.Warn("headers of a response are too large to be sent", "stream", st.id)
		s.reset(st, FrameTooLarge, err)
		return
	}
	s.mu.Lock()
	defer s.unlock()
	if st.state == streamClosed || st.err != nil {
		freePairs(p)
		return
	}
	st.send.reply, st.send.hold = p, true
}

// trailers returns what the handler set after it declared it, or nil.
func (w *responseWriter) trailers() *pairs {
	var h http.Header
	for key, values := range w.header {
		name, prefixed := strings.CutPrefix(key, http.TrailerPrefix)
		if !prefixed && !slices.Contains(w.declare, key) {
			continue
		}
		name = http.CanonicalHeaderKey(name)
		if forbiddenTrailer(name) || len(values) == 0 {
			continue
		}
		if early := w.early[name]; !prefixed && len(values) > len(early) && slices.Equal(values[:len(early)], early) {
			values = values[len(early):] // what was added, as ReverseProxy does it
		}
		if h == nil {
			h = make(http.Header)
		}
		h[name] = values
	}
	if h == nil {
		return nil
	}
	p := newPairs()
	p.addHeader(h, true, func(string) bool { return false })
	return p
}
