package spdy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// onSynStream takes a stream that the peer opens (draft 3.1, 2.3.2). Its header
// block is inflated whatever becomes of it.
func (s *Session) onSynStream(h frameHeader, payload []byte) error {
	id := binary.BigEndian.Uint32(payload) & maxStreamID
	associated := binary.BigEndian.Uint32(payload[4:]) & maxStreamID
	pri := payload[8] >> 5
	if id == 0 {
		return protocolError("SYN_STREAM for stream 0")
	}
	text, malformed, status, err := s.decode(payload[10:])
	if err != nil {
		return err
	}
	s.traceBlock(h, id, text)

	s.mu.Lock()
	if !s.isPeers(id) {
		s.unlock()
		return protocolError("SYN_STREAM with id %d of the wrong parity", id)
	}
	if s.goAwaySent {
		s.unlock()
		return nil // it crossed our GOAWAY, and will be sent elsewhere
	}
	if id < s.lastID {
		s.unlock()
		return protocolError("SYN_STREAM with id %d after %d", id, s.lastID)
	}
	again := id == s.lastID
	first := s.streams[id]
	if s.lastID = id; !again {
		s.resets.known++
	}
	accept := false
	switch {
	case again && first != nil:
		s.resetLocked(first, ProtocolError, errors.New("SYN_STREAM with an id that is in use"))
	case again:
		err = s.notOpenLocked(id, 0)
	case h.flags&^(flagFin|flagUnidirectional) != 0:
		s.sendResetLocked(id, ProtocolError)
	case malformed != nil:
		s.sendResetLocked(id, status)
	case s.server == nil:
		s.sendResetLocked(id, s.judgePushLocked(h, associated))
	case s.goAwayGot:
		s.sendResetLocked(id, RefusedStream)
	case h.flags&flagUnidirectional != 0:
		s.sendResetLocked(id, ProtocolError) // it could not be answered
	case max(len(s.streams), s.handlers) >= int(min(s.cfg.MaxConcurrentStreams, 1<<30)):
		// Handlers count too, not only streams: a peer that opens and resets
		// streams must not make us run any number of them.
		s.sendResetLocked(id, RefusedStream)
	default:
		accept = true
	}
	s.unlock()
	if accept {
		s.accept(id, pri, h.flags&flagFin != 0)
	}
	return err
}

// judgePushLocked returns the status for a pushed stream (draft 3.1, 3.3): this
// side takes none, and a malformed one is told so.
func (s *Session) judgePushLocked(h frameHeader, associated uint32) Status {
	if h.flags&flagUnidirectional == 0 || s.streams[associated] == nil {
		return ProtocolError
	}
	for _, name := range []string{nameHost, nameScheme, namePath} {
		if _, ok := lookup(s.fields, name); !ok {
			return ProtocolError
		}
	}
	return RefusedStream
}

// accept opens the stream of a request and starts its handler.
func (s *Session) accept(id uint32, pri uint8, fin bool) {
	st := s.newStream()
	st.pri = pri
	st.opened, st.sent = true, true
	st.remoteClosed = fin
	if fin {
		st.buf.end(io.EOF)
	}
	req, bad := s.request(st, fin)
	if bad == nil && s.cfg.FairKey != nil {
		st.fairKey = s.cfg.FairKey(req)
	}
	s.mu.Lock()
	if s.err != nil || s.goAwaySent {
		s.unlock()
		if st.cancel != nil {
			st.cancel()
		}
		return
	}
	s.enterLocked(st, id)
	s.lastGood = id
	if bad != nil {
		s.answerLocked(st, http.StatusBadRequest)
		if !fin {
			s.sendResetLocked(id, Cancel) // the body is not wanted
		}
		s.removeLocked(st, &StreamError{StreamID: id, Status: ProtocolError, Cause: bad})
		s.unlock()
		return
	}
	s.handlers++
	s.unlock()
	select {
	case s.jobs <- st:
	default:
		// Ends when its handler has returned and enough others wait, when none
		// is needed for a while, or with the session. A handler's context ends
		// with its stream. Nobody waits for it, as in net/http.
		go s.runHandlers(st)
	}
}

const (
	// maxWaiting is how many goroutines of a session may wait for a request:
	// the stack of one that has run a handler needs not grow again.
	maxWaiting = 64

	// waitingTime is how long they do without any request.
	waitingTime = time.Second
)

// runHandlers runs the handler of st, and of streams that come after it.
func (s *Session) runHandlers(st *Stream) {
	for st != nil {
		s.runHandler(st, st.req)
		if s.waiting.Add(1) > maxWaiting {
			s.waiting.Add(-1)
			return
		}
		if !s.thinning.Swap(true) {
			s.thinLater()
		}
		st = <-s.jobs // nil: nothing comes any more
		s.waiting.Add(-1)
	}
}

// thinLater has thin called in a while.
func (s *Session) thinLater() {
	s.mu.Lock()
	defer s.unlock()
	if s.jobsClosed {
		return // nobody is going to wait, and stopTimers was here
	}
	s.opened = s.stats.StreamsOpened
	if s.thinWait == nil {
		s.thinWait = time.AfterFunc(waitingTime, s.thin)
	} else {
		s.thinWait.Reset(waitingTime)
	}
}

// thin ends the goroutines that wait for a request, if none came for a while.
func (s *Session) thin() {
	s.thinning.Store(false)
	s.mu.Lock()
	idle := s.opened == s.stats.StreamsOpened && !s.jobsClosed
	for sent := idle; sent; {
		select {
		case s.jobs <- nil:
		default:
			sent = false
		}
	}
	again := s.waiting.Load() > 0 && !s.jobsClosed
	s.unlock()
	if again && !s.thinning.Swap(true) {
		s.thinLater()
	}
}

// endHandlers ends the goroutines that wait for a request, when none can come.
func (s *Session) endHandlers() {
	s.mu.Lock()
	defer s.unlock()
	s.jobsClosed = true
	close(s.jobs)
}

// request makes the request of the fields that the reader decoded last. An
// error is answered with 400.
func (s *Session) request(st *Stream, fin bool) (*http.Request, error) {
	var pseudo [5]string
	for i, name := range [...]string{nameMethod, namePath, nameVersion, nameHost, nameScheme} {
		v, ok := lookup(s.fields, name)
		if !ok {
			return nil, fmt.Errorf("no %s", name)
		}
		if v == "" || strings.IndexByte(v, 0) >= 0 {
			return nil, fmt.Errorf("%s %q", name, v)
		}
		pseudo[i] = v
	}
	method, path, version, host := pseudo[0], pseudo[1], pseudo[2], pseudo[3]
	if !isToken(method) {
		return nil, fmt.Errorf(":method %q", method)
	}
	major, minor, ok := http.ParseHTTPVersion(version)
	if !ok {
		return nil, fmt.Errorf(":version %q", version)
	}
	if !validHost(host) {
		return nil, fmt.Errorf(":host %q", host)
	}
	var u *url.URL
	switch {
	case path[0] == '/':
		var err error
		if u, err = url.ParseRequestURI(path); err != nil {
			return nil, fmt.Errorf(":path: %w", err)
		}
	case path == "*" && method == http.MethodOptions:
		u = &url.URL{Path: "*"}
	default:
		return nil, fmt.Errorf(":path %q", path)
	}
	length, err := parseContentLength(s.fields)
	if err != nil {
		return nil, err
	}
	st.want = length
	if fin && length > 0 {
		return nil, fmt.Errorf("content-length %d without a body", length)
	}
	ctx, cancel := context.WithCancel(s.baseCtx)
	st.cancel = cancel
	req := new(http.Request).WithContext(streamContext{ctx, st})
	st.req = req
	st.rw = &response{header: make(http.Header), length: -1}
	req.Method, req.URL, req.RequestURI, req.Host = method, u, path, host
	req.Proto, req.ProtoMajor, req.ProtoMinor = version, major, minor
	req.Header = s.names.header(s.fields, true)
	req.RemoteAddr, req.TLS, req.ContentLength = s.remoteAddr, s.tls, length
	if v := req.Header["Content-Length"]; len(v) > 1 {
		req.Header["Content-Length"] = v[:1]
	}
	if fin {
		req.ContentLength = 0
		req.Body = http.NoBody
	} else {
		req.Body = &requestBody{st: st, req: req}
	}
	if req.Header["Upgrade"] != nil && !fin && length <= 0 {
		req.Header["Connection"] = []string{"Upgrade"}
		req.ContentLength = 0
		st.want = -1 // what comes is the other protocol's
		st.duplex = true
	}
	announceTrailer(req.Header, &req.Trailer, s.cfg.MaxHeaderPairs)
	if s.upstream {
		for i, name := range [...]string{nameMethod, namePath, nameVersion, nameHost, nameScheme} {
			req.Header[name] = []string{pseudo[i]}
		}
	}
	return req, nil
}

// streamContext is the context of a handler.
type streamContext struct {
	context.Context
	st *Stream
}

func (c streamContext) Value(key any) any {
	if key == (streamKey{}) {
		return c.st
	}
	return c.Context.Value(key)
}

// runHandler runs the handler of one stream and ends the response.
func (s *Session) runHandler(st *Stream, req *http.Request) {
	finished := false
	defer func() {
		if finished {
			st.finishHandler()
		} else {
			// A panic ends its stream, not the process; runtime.Goexit too.
			st.abandon(recover())
		}
		// A timer would keep the request in memory until its time.
		st.buf.setDeadline(time.Time{})
		st.boundRest()
	}()
	s.handler.ServeHTTP(st, req)
	finished = true
}

// finishHandler ends the response, and stops the reading of a request's body
// that is still coming.
func (st *Stream) finishHandler() {
	s, rw := st.s, st.rw
	if rw.status == 0 && !st.failed() {
		st.WriteHeader(http.StatusOK)
	}
	if rw.reply != nil {
		st.holdReply()
	}
	trailers := rw.trailers()
	short := rw.length >= 0 && rw.written < rw.length && rw.bodyAllowed(st)
	if short && !st.failed() {
		// What was announced will never come: the peer must see that.
		s.abortHandler(st, InternalError, fmt.Errorf("%w: the handler announced %d bytes and wrote %d", ErrBodyLength, rw.length, rw.written))
		freePairs(trailers)
		return
	}
	s.mu.Lock()
	late := st.late || st.deadline.passed()
	s.unlock()
	if late {
		// What failed to be written is missing, and nothing else would show it.
		s.abortHandler(st, InternalError, os.ErrDeadlineExceeded)
		freePairs(trailers)
		return
	}
	if trailers != nil {
		if err := s.checkBlock(trailers); err != nil {
			s.abortHandler(st, FrameTooLarge, err)
			freePairs(trailers)
			return
		}
	}
	s.mu.Lock()
	s.handlerEndedLocked(st)
	if st.held != nil && rw.length < 0 && trailers == nil && rw.bodyAllowed(st) && !st.duplexed() {
		st.held.add("content-length", strconv.Itoa(st.send.size))
	}
	st.finishLocked(trailers)
	lingers := !st.closed
	s.unlock()
	if lingers {
		st.stopReading()
	}
	st.cancel()
}

// boundRest has the write deadline go on for what the handler has left in the
// stream's buffer: a peer that gives no window would have it there for ever.
func (st *Stream) boundRest() {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	at := st.deadline.at
	if st.closed || st.localClosed || at.IsZero() {
		st.deadline.stop()
		return
	}
	st.deadline.stop()
	st.deadline.timer = time.AfterFunc(time.Until(at), func() {
		s.mu.Lock()
		defer s.unlock()
		if !st.closed && !st.localClosed {
			s.resetLocked(st, InternalError, os.ErrDeadlineExceeded)
		}
	})
}

// handlerEndedLocked is called once for each handler.
func (s *Session) handlerEndedLocked(st *Stream) {
	s.handlers--
	st.bodyDone = true
	s.ungrowLocked(st)
}

func (st *Stream) failed() bool {
	st.s.mu.Lock()
	defer st.s.unlock()
	return st.closed
}

// duplexed: after a 101 both directions are raw bytes.
func (st *Stream) duplexed() bool { return st.rw.status == http.StatusSwitchingProtocols }

// abortHandler resets the stream of a handler that will not finish its response.
func (s *Session) abortHandler(st *Stream, status Status, cause error) {
	s.mu.Lock()
	s.handlerEndedLocked(st)
	s.unlock()
	s.reset(st, status, cause)
	st.cancel()
}

// abandon ends the stream of a handler that panicked.
func (st *Stream) abandon(cause any) {
	s := st.s
	if cause != nil && cause != http.ErrAbortHandler {
		stack := make([]byte, 64<<10)
		stack = stack[:runtime.Stack(stack, false)]
		s.cfg.Logger.Error("handler panicked", "peer", s.remoteAddr, "panic", fmt.Sprint(cause), "stack", string(stack))
		if l := s.server.ErrorLog; l != nil {
			l.Printf("spdy: panic serving %v: %v\n%s", s.conn.RemoteAddr(), cause, stack)
		}
	}
	s.mu.Lock()
	if st.closed || st.replied || cause == http.ErrAbortHandler {
		s.unlock()
		s.abortHandler(st, InternalError, fmt.Errorf("handler panicked: %v", cause))
		return
	}
	s.handlerEndedLocked(st)
	// Nothing went out yet: what was held back is forgotten.
	s.answerLocked(st, http.StatusInternalServerError)
	if !st.remoteClosed {
		s.sendResetLocked(st.id, Cancel)
	}
	s.removeLocked(st, &StreamError{StreamID: st.id, Status: InternalError, Cause: fmt.Errorf("handler panicked: %v", cause)})
	s.unlock()
}

// stopReading drops what was not read of a request's body and what still
// comes, giving the window back, so that the peer can finish sending.
func (st *Stream) stopReading() {
	s := st.s
	s.mu.Lock()
	if st.discard || st.remoteClosed {
		s.unlock()
		return
	}
	st.discard = true
	s.unlock()
	n := st.buf.abort(http.ErrBodyReadAfterClose)
	s.give(st, n+st.buf.takeConsumed())
}

// requestBody is the body of a request. It has one reader.
type requestBody struct {
	st  *Stream
	req *http.Request
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.st.readBody(p)
	if err == io.EOF {
		mergeTrailer(&b.req.Trailer, b.st.buf.takeTrailer())
	}
	return n, err
}

// WriteTo writes what is left of the body to w, without a copy in between.
func (b *requestBody) WriteTo(w io.Writer) (int64, error) {
	if st, ok := w.(*Stream); ok {
		// An echo: it sends the headers before the first bytes come.
		return st.ReadFrom(struct{ io.Reader }{b})
	}
	n, err := b.st.writeBodyTo(w)
	if err == nil {
		mergeTrailer(&b.req.Trailer, b.st.buf.takeTrailer())
	}
	return n, err
}

// Close drops the rest of the body.
func (b *requestBody) Close() error {
	b.st.stopReading()
	b.st.buf.abort(http.ErrBodyReadAfterClose)
	return nil
}

// response is what a handler has said so far. Owned by the handler.
type response struct {
	header  http.Header
	status  int // 0 before WriteHeader
	length  int64
	written int64
	reply   *pairs // made, but without its Content-Type: the first bytes decide
	declare []string
	// early has the values of declared names that went out as headers.
	early map[string][]string
}

func (rw *response) bodyAllowed(st *Stream) bool {
	return st.req.Method != http.MethodHead && bodyAllowed(rw.status)
}

// Header returns the response's headers; changes count until WriteHeader, those
// of trailers until the handler's end.
func (st *Stream) Header() http.Header {
	if st.rw == nil {
		return http.Header{}
	}
	return st.rw.header
}

// WriteHeader fixes the response's status and headers. Only the first call
// counts; 1xx other than 101 have no form in SPDY and are not sent.
func (st *Stream) WriteHeader(code int) {
	rw := st.rw
	if rw == nil {
		return
	}
	if code < 100 || code > 999 {
		panic(fmt.Sprintf("spdy: WriteHeader with status %d", code))
	}
	if rw.status != 0 {
		st.s.log(slog.LevelWarn, "superfluous WriteHeader", "stream", st.id, "status", code)
		return
	}
	if code < 200 && code != http.StatusSwitchingProtocols {
		return
	}
	rw.status = code
	header := canonical(rw.header)
	length, _ := contentLength(slices.Values(header["Content-Length"]))
	if rw.bodyAllowed(st) && !st.duplexed() {
		rw.length = length
	}
	rw.reply = st.makeReply(header, length)
	_, typed := header["Content-Type"]
	_, coded := header["Content-Encoding"]
	if typed || coded || st.s.upstream || !rw.bodyAllowed(st) || st.duplexed() {
		st.holdReply()
	}
	if st.duplexed() {
		st.Flush()
	}
}

// makeReply makes the header block of the SYN_REPLY from what the headers are now,
// as canonical returns them, and the length that they announce, -1 if none.
func (st *Stream) makeReply(header http.Header, length int64) *pairs {
	rw, s := st.rw, st.s
	p := newPairs()
	p.add(nameStatus, statusLine(rw.status))
	p.add(nameVersion, "HTTP/1.1")
	for _, v := range header["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			rw.declare = append(rw.declare, key)
			if values := header[key]; len(values) > 0 {
				if rw.early == nil {
					rw.early = make(map[string][]string)
				}
				rw.early[key] = slices.Clone(values)
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
	if length >= 0 && rw.status != http.StatusNoContent && !st.duplexed() {
		p.add("content-length", header["Content-Length"][0]) // the peer takes but one
	}
	if _, typed := header["Content-Type"]; !typed && s.upstream {
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
func (st *Stream) holdReply() {
	p := st.rw.reply
	st.rw.reply = nil
	if err := st.s.checkBlock(p); err != nil {
		freePairs(p)
		st.s.log(slog.LevelWarn, "headers of a response are too large to be sent", "stream", st.id)
		st.s.reset(st, FrameTooLarge, err)
		return
	}
	st.s.mu.Lock()
	defer st.s.unlock()
	if st.closed || st.err != nil {
		freePairs(p)
		return
	}
	st.held = p
	st.holdLocked()
}

func (rw *response) declared(key string) bool {
	for _, d := range rw.declare {
		if d == key {
			return true
		}
	}
	return false
}

// trailers returns what the handler set after it declared it, or nil.
func (rw *response) trailers() *pairs {
	var h http.Header
	for key, values := range rw.header {
		name, prefixed := strings.CutPrefix(key, http.TrailerPrefix)
		if !prefixed && !rw.declared(key) {
			continue
		}
		name = http.CanonicalHeaderKey(name)
		if forbiddenTrailer(name) || len(values) == 0 {
			continue
		}
		if early := rw.early[name]; !prefixed && len(values) > len(early) && slices.Equal(values[:len(early)], early) {
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

// dateLocked returns the Date of now.
func (s *Session) dateLocked() string {
	now := time.Now()
	if sec := now.Unix(); sec != s.dateSec || s.date == "" {
		s.dateSec = sec
		s.date = now.UTC().Format(http.TimeFormat)
	}
	return s.date
}

// Write sends p as DATA, after a SYN_REPLY 200 if none went out. It waits only
// for window and for room in the stream's buffer. Small writes go out within a
// millisecond; Flush sends them at once.
func (st *Stream) Write(p []byte) (int, error) {
	n, err := st.startBody(p)
	if err != nil || n == 0 {
		return 0, err
	}
	if !st.rw.bodyAllowed(st) {
		return len(p), nil // HEAD
	}
	if n < len(p) {
		m, err := st.writeAll(p[:n], true)
		if err == nil {
			err = http.ErrContentLength
		}
		return m, err
	}
	return st.writeAll(p, true)
}

// WriteString is Write.
func (st *Stream) WriteString(p string) (int, error) { return st.Write([]byte(p)) }

// startBody sends the headers if they are due, and returns how many of p's
// bytes the announced length allows.
func (st *Stream) startBody(p []byte) (int, error) {
	rw := st.rw
	if rw == nil {
		return 0, errNotHandler
	}
	if rw.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	if !bodyAllowed(rw.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if rw.reply != nil && len(p) > 0 {
		rw.reply.add("content-type", http.DetectContentType(p))
		st.holdReply()
	}
	n := len(p)
	if rw.length >= 0 {
		if left := rw.length - rw.written; int64(n) > left {
			n = int(left)
			if n == 0 {
				return 0, http.ErrContentLength
			}
		}
	}
	rw.written += int64(n)
	return n, nil
}

var errNotHandler = errors.New("spdy: the stream has no handler to write for")

// writeAll sends p.
func (st *Stream) writeAll(p []byte, lazy bool) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	err = st.writeFrom(func(space []byte) (int, bool, error) {
		m := copy(space, p[n:])
		n += m
		return m, n < len(p), nil
	}, lazy)
	return n, err
}

// ReadFrom sends what r gives until its end, reading it straight into the
// stream's buffer.
func (st *Stream) ReadFrom(r io.Reader) (n int64, err error) {
	rw := st.rw
	if rw == nil {
		return 0, errNotHandler
	}
	if rw.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	if rw.reply != nil || !rw.bodyAllowed(st) {
		// The first bytes decide the Content-Type, or nothing is to be sent.
		first := make([]byte, 512)
		m, err := 0, error(nil)
		for m == 0 && err == nil {
			m, err = r.Read(first) // and no more: the next may be long in coming
		}
		k, werr := st.Write(first[:m])
		n = int64(k)
		if werr != nil || err != nil {
			if werr == nil && err != io.EOF {
				werr = err
			}
			return n, werr
		}
		if !rw.bodyAllowed(st) {
			m, err := io.Copy(io.Discard, r)
			return n + m, err
		}
	}
	if rw.length >= 0 && rw.written == rw.length {
		return n, endOf(r)
	}
	err = st.writeFrom(func(space []byte) (int, bool, error) {
		if rw.length >= 0 {
			space = space[:min(int64(len(space)), rw.length-rw.written)]
		}
		m, err := r.Read(space)
		rw.written += int64(m)
		n += int64(m)
		if err == io.EOF {
			return m, false, nil
		}
		if err == nil && rw.written == rw.length {
			return m, false, endOf(r)
		}
		return m, err == nil, err
	}, true)
	return n, err
}

// endOf says what is wrong with a body that must be at its end: one byte more
// than announced is one too many.
func endOf(r io.Reader) error {
	var one [1]byte
	n, err := io.ReadFull(r, one[:])
	if n > 0 {
		return http.ErrContentLength
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// Flush sends what was written so far.
func (st *Stream) Flush() { st.FlushError() }

// FlushError is Flush for http.ResponseController.
func (st *Stream) FlushError() error {
	rw := st.rw
	if rw == nil {
		return errNotHandler
	}
	if rw.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	if rw.reply != nil {
		st.holdReply()
	}
	st.s.mu.Lock()
	defer st.s.unlock()
	if st.err != nil {
		return st.err
	}
	st.sendHeldLocked()
	return nil
}

// SetReadDeadline bounds reads of the request's body; the zero time: no bound.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.buf.setDeadline(t)
	return nil
}

// SetWriteDeadline bounds writes of the response's body; the zero time: no bound.
// It may be called while a Write waits, which it ends; that is an error that wraps
// os.ErrDeadlineExceeded. A response is broken off if one of its Writes failed so,
// if its handler returns after the deadline, and if the peer has not taken it whole
// by then.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	st.setWriteDeadline(t)
	return nil
}

// EnableFullDuplex has nothing to do: a stream is duplex.
func (st *Stream) EnableFullDuplex() error { return nil }
