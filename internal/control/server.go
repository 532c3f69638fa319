package control

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/originname"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// Defaults of Server.
const (
	defaultTimeout    = 10 * time.Second
	defaultMaxPending = 1024

	// Answers 401 that an address gets: so many at once, then one an interval,
	// and 429 beyond that. A network gets netFactor times as many.
	refusedBurst    = 20
	refusedInterval = 3 * time.Second
	netFactor       = 8

	maxThrottled = 4096 // addresses and networks remembered

	// What a refused C may still send while the answer travels to it.
	drainTime  = time.Second
	drainBytes = 16 << 20

	// Pauses after an accept that failed.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second

	// stoppingRetry is the Retry-After of a P that is stopping: often another
	// one takes its place.
	stoppingRetry = time.Second
)

// Server is P's end of the control port. Its fields are set before Serve and
// not changed after. TLS, Auth and Handle are needed.
type Server struct {
	// TLS returns the configuration of the next connection, as made by
	// [ServerTLS.Load]: it may be another one each time. TLS 1.2 is the least,
	// whatever it says.
	TLS func() *tls.Config

	// Auth judges the tokens.
	Auth *Auth

	// ID is P's id in Spdy-Proxy-Server.
	ID string

	// Peers returns the Ps that C may connect to as well as to this one, this one
	// first. Nil: there are none.
	Peers func() []Peer

	// Handle takes a C over that may come in, before it is told so: whoever has
	// the answer 200 can rely on being known. Its error refuses, a *RefusalError as it
	// says, any other with 503. Without one the answer is sent, and serve called,
	// which must return soon, having started whatever serves the connection; that
	// is closed then if the answer could not be sent. Close waits for both.
	Handle func(*Registration) (serve func(), err error)

	// Serving, if set, tells how many connections serve an origin, for a C that only
	// asks: see [Dialer.Probe].
	Serving func(name string) int

	// Reach, if set, tells where visitors reach an origin, and if they do not, why:
	// Registration.URLs and Warning. host is what C has dialled.
	Reach func(name, host string) (urls []string, warning string)

	// Wrap, if set, is put around each TCP connection, below TLS.
	Wrap func(net.Conn) net.Conn

	// OnRefused, if set, is told of each attempt that came to nothing. It must not
	// block, and returns the state that the origin is in from now on, in the words of
	// the log, "" if it is in none, or was in that before.
	OnRefused func(Refusal) (state string)

	// Logger gets a line for a refused attempt, and one a minute with a count if
	// there are more of the same kind. Nil: none.
	Logger *slog.Logger

	// Timeout is the time for each of TLS handshake, request head and request
	// body. Zero: 10 s.
	Timeout time.Duration

	// MaxPending is how many connections may be in the handshake; for one more,
	// another is dropped. Zero: 1024.
	MaxPending int

	once    sync.Once
	base    context.Context // ends at Close
	endBase context.CancelFunc
	refused *throttle
	lines   *loglimit.Logger
	pending *handshakes
	turns   turns
	door    chan struct{}  // holds a value while a Take waits for a place
	rooms   chan struct{}  // as many goroutines as it holds serve connections
	running sync.WaitGroup // one for each of them

	hardened atomic.Pointer[hardened]

	mu        sync.Mutex
	listeners map[net.Listener]bool // guarded by mu, as all that follows
	stopping  bool
	closed    bool
}

// RefusalError is an answer that keeps a C out, such as Handle may return.
type RefusalError struct {
	Status     int           // of HTTP, 4xx or 5xx
	RetryAfter time.Duration // in whole seconds; 0: not said
	Reason     string        // one line for the person at C
	header     [2]string     // one more field, if [0] is not empty
	urls       []string      // where visitors reach the origin, and why they do not
	warning    string
}

// Refusal is an attempt that came to nothing.
type Refusal struct {
	RemoteAddr net.Addr
	Name       string // of the origin that was asked for, "" for the default one
	Named      bool   // one was asked for; by whom is another matter
	Status     int    // of the answer; 0: there was none
	Kind       string // "tls", "no_request", "crowded", "method", "token", "throttled", "name", "not_allowed", "too_large", "unavailable"
	Reason     string
}

// kinds are Refusal.Kind by status. A 400 is for a request that is none, too.
var kinds = map[int]string{
	http.StatusBadRequest: "name", http.StatusUnauthorized: "token", http.StatusForbidden: "not_allowed", http.StatusMethodNotAllowed: "method",
	http.StatusRequestEntityTooLarge: "too_large", http.StatusRequestHeaderFieldsTooLarge: "too_large",
	http.StatusTooManyRequests: "throttled", http.StatusServiceUnavailable: "unavailable",
}

// refusedOne tells of an attempt, and returns what OnRefused does.
func (s *Server) refusedOne(r Refusal) (state string) {
	if s.OnRefused == nil {
		return ""
	}
	r.Reason = printable(r.Reason)
	return s.OnRefused(r)
}

// refusedBy tells of an attempt that an answer has ended.
func (s *Server) refusedBy(r *RefusalError, reg *Registration, named bool) (state string) {
	return s.refusedOne(Refusal{RemoteAddr: reg.RemoteAddr, Name: reg.Name, Named: named, Status: r.Status, Kind: kinds[r.Status], Reason: r.Reason})
}

// logRefused tells of such an attempt, and writes a line. That an origin is in another
// state is said by itself: whoever else is refused in that minute does not take its line.
func (s *Server) logRefused(kind string, level slog.Level, r *RefusalError, reg *Registration, asked string, named bool) {
	attrs := []slog.Attr{slog.String("remote", reg.RemoteAddr.String()), slog.String("origin", asked), slog.String("answer", r.Error())}
	if state := s.refusedBy(r, reg, named); state != "" {
		kind, attrs = state+" "+asked, append(attrs, slog.String("state", state))
	}
	s.lines.Log(kind, level, "control port: refused", attrs...)
}

func (r *RefusalError) Error() string {
	return fmt.Sprintf("%d %s: %s", r.Status, http.StatusText(r.Status), r.Reason)
}

func (s *Server) init() {
	s.once.Do(func() {
		s.base, s.endBase = context.WithCancel(context.Background())
		s.listeners = make(map[net.Listener]bool)
		s.refused = newThrottle(refusedBurst, netFactor, refusedInterval, maxThrottled)
		s.lines = loglimit.New(s.Logger, 1)
		full := s.MaxPending
		if full <= 0 {
			full = defaultMaxPending
		}
		s.pending = newHandshakes(full)
		s.turns = make(turns, runtime.GOMAXPROCS(0))
		// Those that were dropped and have not noticed yet need some, too.
		s.door = make(chan struct{}, 1)
		s.rooms = make(chan struct{}, 2*full)
	})
}

func (s *Server) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return defaultTimeout
}

// Serve accepts connections until Close, or until ln is closed, and returns
// nil. Whatever else an accept fails of, such as no file descriptor being left,
// is waited out.
func (s *Server) Serve(ln net.Listener) error {
	s.init()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		ln.Close()
		return nil
	}
	s.listeners[ln] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()

	var pause time.Duration
	for {
		conn, err := ln.Accept()
		if err == nil {
			pause = 0
			// Nobody comes in before those who have waited longer.
			if s.turns.take(s.base) {
				s.turns.give()
			}
			select {
			case s.rooms <- struct{}{}:
				s.start(conn)
			case <-s.base.Done():
				conn.Close()
			}
			continue
		}
		if s.base.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if pause == 0 {
			s.lines.Log("accept", slog.LevelError, "control port: accept failed, trying again", slog.Any("err", err))
		}
		pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
		select {
		case <-s.base.Done():
		case <-time.After(pause):
		}
	}
}

// Stop has every C refused with 503 from now on. Those who are in are not
// touched.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
}

// Close closes the listeners and every connection that is not handed over yet,
// and returns when Serve takes no more and the last Handle has returned.
func (s *Server) Close() {
	s.init()
	s.mu.Lock()
	s.closed, s.stopping = true, true
	for ln := range s.listeners {
		ln.Close()
	}
	s.mu.Unlock()
	s.endBase()
	s.running.Wait()
	s.lines.Close()
}

// Config returns the TLS configuration of the next connection, for Take.
func (s *Server) Config() *tls.Config {
	given := s.TLS()
	h := s.hardened.Load()
	if h == nil || h.given != given {
		h = &hardened{given, harden(given)}
		s.hardened.Store(h)
	}
	return h.cfg
}

// hardened is a configuration as it was given, and as it is used: thousands of
// connections have one of them.
type hardened struct{ given, cfg *tls.Config }

// Take serves a connection that has come to another port, and on which Protocol was
// agreed on under Config, as if it had come here: it counts among the unfinished
// handshakes. It returns when the connection is closed, or has been handed over.
func (s *Server) Take(conn *tls.Conn) {
	s.init()
	// One after another, as Serve takes its connections: nobody overtakes.
	var serve func()
	select {
	case s.door <- struct{}{}:
		select {
		case s.rooms <- struct{}{}:
			serve = s.begin(conn)
		case <-s.base.Done():
		}
		<-s.door
	case <-s.base.Done():
	}
	if serve == nil {
		conn.NetConn().Close()
		return
	}
	serve()
}

// start serves an accepted connection on a goroutine of its own, for which there
// is room in rooms.
func (s *Server) start(conn net.Conn) {
	serve := s.begin(conn)
	if serve == nil {
		conn.Close()
		return
	}
	// Ends when the handshake has, which deadlines, newcomers and Close see to; Close
	// waits for it.
	go serve()
}

// begin takes a connection, for which there is room in rooms, and returns what
// serves it; nil after Close. If there are too many handshakes, another one ends
// for it, or it waits until one may.
func (s *Server) begin(conn net.Conn) (serve func()) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.rooms
		return nil
	}
	s.running.Add(1)
	s.mu.Unlock()

	ctx, cancel := context.WithCancelCause(s.base)
	place, victims := s.pending.enter(ctx, siteOf(conn.RemoteAddr()), cancel)
	if place == nil {
		cancel(nil)
		<-s.rooms
		s.running.Done()
		return nil
	}
	for _, v := range victims {
		v.drop(errCrowded)
		s.lines.Log("crowded", slog.LevelWarn, "control port: crowded, an unfinished handshake was dropped for another",
			slog.String("dropped", v.site.addr), slog.Int("unfinished", s.pending.size()))
	}
	return func() {
		defer func() {
			s.pending.leave(place)
			cancel(nil)
			<-s.rooms
			s.running.Done()
		}()
		s.serve(ctx, conn, place)
	}
}

// serve takes one connection from its first byte, or from the end of TLS's handshake,
// to Handle, or closes it. The end of ctx ends whatever it waits for.
func (s *Server) serve(ctx context.Context, raw net.Conn, place *pending) {
	conn := raw
	tc, secure := raw.(*tls.Conn)
	var turn *turnConn
	if secure {
		// TLS would wait for a peer that takes nothing. What is still to be computed
		// is little, and needs no turn.
		conn = tc.NetConn()
		s.pending.await(place)
	} else {
		if s.Wrap != nil {
			conn = s.Wrap(raw)
		}
		turn = &turnConn{Conn: conn, ctx: ctx, turns: s.turns, pending: s.pending, place: place}
		tc = tls.Server(turn, s.Config())
	}
	release := context.AfterFunc(ctx, func() {
		if tcp := tcpOf(raw); tcp != nil && context.Cause(ctx) == errCrowded {
			tcp.SetLinger(0) // nor shall the system be left with it
		}
		conn.Close()
	})
	reg, serve, err := s.handshake(ctx, tc, secure, place)
	if err == nil {
		err = s.welcome(reg)
	}
	if turn != nil && reg == nil {
		turn.finish()
	}
	if !release() || err != nil {
		conn.Close()
	} else {
		tuneTCP(raw) // a handshake has its deadlines, and strangers cost as little as can be
	}
	if serve != nil {
		serve()
	}
}

// welcome tells a C that it is in.
func (s *Server) welcome(reg *Registration) error {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 Connection Established\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n" +
		"Content-Length: " + strconv.Itoa(len(helloP)) + "\r\n" +
		s.peers() +
		headerServer + ": " + s.ID + "\r\n")
	writeReach(&b, reg.URLs, reg.Warning)
	b.WriteString("\r\n" + helloP)
	if _, err := io.WriteString(reg.Conn, b.String()); err != nil {
		return err
	}
	return reg.Conn.SetDeadline(time.Time{})
}

// writeReach writes the fields of an answer that say where visitors reach an origin.
func writeReach(b *strings.Builder, urls []string, warning string) {
	for _, url := range urls {
		b.WriteString(headerURL + ": " + url + "\r\n")
	}
	if warning != "" {
		b.WriteString(headerWarning + ": " + warning + "\r\n")
	}
}

// peers returns the fields of an answer that tell of other Ps.
func (s *Server) peers() string {
	if s.Peers == nil {
		return ""
	}
	var b strings.Builder
	list := s.Peers()
	for _, p := range list[:min(len(list), maxPeers)] {
		if b.Len() < maxPeerBytes {
			b.WriteString(headerPeers + ": " + p.String() + "\r\n")
		}
	}
	return b.String()
}

// handshake returns the registration of a C that Handle took, and what is to be
// called when it was told. Otherwise an answer was sent if one could be, and the
// error only says that it is over. TLS's own handshake may be over already.
func (s *Server) handshake(ctx context.Context, tc *tls.Conn, secure bool, place *pending) (*Registration, func(), error) {
	addr := tc.RemoteAddr()
	if !secure {
		limited, cancel := context.WithTimeout(ctx, s.timeout())
		err := tc.HandshakeContext(limited)
		cancel()
		if err != nil {
			s.logFailure(ctx, "control port: TLS handshake failed", addr, err)
			s.refusedOne(Refusal{RemoteAddr: addr, Kind: cmp.Or(crowded(ctx), "tls"), Reason: reasonOf(err)})
			return nil, nil, err
		}
	}

	tc.SetDeadline(time.Now().Add(s.timeout()))
	limit := &headReader{r: tc, left: maxHead}
	br := bufio.NewReader(limit)
	req, err := http.ReadRequest(br)
	if err != nil {
		return nil, nil, s.noRequest(ctx, tc, limit, err)
	}

	reg := &Registration{RemoteAddr: addr}
	if turn, ok := tc.NetConn().(*turnConn); ok {
		turn.give() // a file may be looked at for a token, and disks may be slow
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout())
	refusal := s.judge(limited, req, reg, place.site)
	cancel()
	if refusal != nil {
		return nil, nil, s.refuse(tc, refusal)
	}
	if s.Reach != nil {
		reg.URLs, reg.Warning = s.Reach(reg.Name, reg.Host)
	}
	if onlyAsks(req) {
		return nil, nil, s.refuse(tc, s.wouldTake(reg))
	}
	tc.SetDeadline(time.Now().Add(s.timeout()))
	limit.left = 8 * maxBody // chunks have their own overhead
	if err := readBody(tc, req); err != nil {
		told := Refusal{RemoteAddr: addr, Name: reg.Name, Named: true, Kind: cmp.Or(crowded(ctx), "no_request"), Reason: err.Reason}
		if limit.err != nil {
			s.logFailure(ctx, "control port: the request's body did not come", addr, limit.err)
			told.Reason = limit.err.Error()
			s.refusedOne(told)
			return nil, nil, limit.err
		}
		if told.Status = err.Status; err == errTooLarge {
			told.Kind = kinds[err.Status]
		}
		s.refusedOne(told)
		return nil, nil, s.refuse(tc, err)
	}
	// From here on it can be dropped no more: what it has shown is worth the
	// short rest of the way.
	if !s.pending.leave(place) {
		return nil, nil, errCrowded
	}
	if turn, ok := tc.NetConn().(*turnConn); ok {
		turn.finish() // whoever gets the connection may read at once
	}
	reg.Conn = &Conn{Conn: tc, early: earlyIn(br)}
	serve, err := s.Handle(reg)
	if err != nil {
		r, ok := errors.AsType[*RefusalError](err)
		if !ok {
			r = &RefusalError{Status: http.StatusServiceUnavailable, RetryAfter: stoppingRetry, Reason: err.Error()}
		}
		s.logRefused("not admitted", slog.LevelInfo, r, reg, logged(reg.Name), true)
		return nil, nil, s.refuse(tc, r)
	}
	return reg, serve, nil
}

// noRequest tells of a connection on which no request has come, as err and limit say, and
// answers it if that can be. It returns why it is over.
func (s *Server) noRequest(ctx context.Context, tc *tls.Conn, limit *headReader, err error) error {
	why := cmp.Or(limit.err, err)
	s.logFailure(ctx, "control port: no request", tc.RemoteAddr(), why)
	s.refusedOne(Refusal{RemoteAddr: tc.RemoteAddr(), Kind: cmp.Or(crowded(ctx), "no_request"), Reason: why.Error()})
	switch {
	case limit.err != nil:
		return limit.err
	case limit.left <= 0:
		return s.refuse(tc, &RefusalError{Status: http.StatusRequestHeaderFieldsTooLarge,
			Reason: fmt.Sprintf("a request's head has at most %d bytes", maxHead)})
	}
	return s.refuse(tc, &RefusalError{Status: http.StatusBadRequest, Reason: "this is not an HTTP request"})
}

// crowded returns a Refusal's Kind if a handshake ended because there were too many.
func crowded(ctx context.Context) string {
	if context.Cause(ctx) == errCrowded {
		return "crowded"
	}
	return ""
}

// reasonOf says why a TLS handshake failed.
func reasonOf(err error) string {
	if errors.Is(err, io.EOF) {
		return "it left before TLS was complete"
	}
	return err.Error()
}

// logFailure logs what came of a connection that asked for nothing. The
// internet is full of those.
func (s *Server) logFailure(ctx context.Context, msg string, addr net.Addr, err error) {
	if ctx.Err() != nil {
		return // it was ended here
	}
	level := slog.LevelWarn
	if errors.Is(err, io.EOF) {
		level = slog.LevelDebug // a peer that just leaves is a port scan or a health check
	}
	s.lines.Log(msg, level, msg, slog.String("remote", addr.String()), slog.Any("err", err))
}

// judge fills in reg, or returns why not. The order matters: whoever has no
// token learns nothing, not even which names are valid.
//
// A token that is known lets in whatever else came from its address: of those
// behind one address, none can lock out another. Guessing costs a TLS handshake
// a guess, and says 401 or 429 by the number of guesses alone.
func (s *Server) judge(ctx context.Context, req *http.Request, reg *Registration, from site) *RefusalError {
	name, nameErr := s.nameIn(req.RequestURI)
	reg.Name = name
	reg.Agent = printable(req.UserAgent()[:min(len(req.UserAgent()), maxAgent)])
	refused := func(r *RefusalError) *RefusalError {
		asked := ""
		if nameErr == nil {
			asked = logged(name)
		}
		s.logRefused(strconv.Itoa(r.Status), slog.LevelWarn, r, reg, asked, nameErr == nil && !onlyAsks(req))
		return r
	}
	if req.Method != http.MethodPut && !onlyAsks(req) {
		r := &RefusalError{Status: http.StatusMethodNotAllowed, header: [2]string{"Allow", http.MethodPut},
			Reason: "this is the control port of a spdy-proxy: it takes PUT alone"}
		s.refusedBy(r, reg, false)
		return r
	}
	var known, allowed bool
	if reg.Credential, known, allowed = s.Auth.admit(ctx, bearer(req.Header), originname.Name(name)); !known {
		if wait := s.refused.take(from, time.Now()); wait > 0 {
			return refused(&RefusalError{Status: http.StatusTooManyRequests, RetryAfter: wait,
				Reason: "too many refused attempts from this address"})
		}
		return refused(&RefusalError{Status: http.StatusUnauthorized, header: [2]string{"WWW-Authenticate", "Bearer"},
			Reason: "no token, or not one that this proxy knows"})
	}
	if end := s.Auth.expired(reg.Credential); !end.IsZero() {
		// Whoever shows it has the right one: no guess is counted.
		return refused(&RefusalError{Status: http.StatusUnauthorized, header: [2]string{"WWW-Authenticate", challengeExpired},
			Reason: "the invitation has expired: it had to be used by " + end.UTC().Format("2006-01-02 15:04") + " UTC; ask for a new one"})
	}
	err := nameErr
	if err == nil {
		reg.Host = dialled(req.Host)
		reg.Instance = req.Header.Get(headerInstance)
		reg.DialsAgain = req.Header.Get(headerAgain) == again
		err = checkInstance(reg.Instance)
	}
	if err != nil {
		return refused(&RefusalError{Status: http.StatusBadRequest, Reason: err.Error()})
	}
	if !allowed {
		return refused(&RefusalError{Status: http.StatusForbidden,
			Reason: "this token may not register " + nameOf(reg.Name)})
	}
	if req.ContentLength > maxBody {
		s.refusedBy(errTooLarge, reg, true)
		return errTooLarge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return &RefusalError{Status: http.StatusServiceUnavailable, RetryAfter: stoppingRetry, Reason: "this proxy is stopping"}
	}
	return nil
}

// onlyAsks reports whether a request asks what a PUT of the same would be answered. It
// is judged as that; an OPTIONS without a token is any other method.
func onlyAsks(req *http.Request) bool {
	return req.Method == http.MethodOptions && req.Header.Get("Authorization") != ""
}

// wouldTake is the answer to who asks and would be taken.
func (s *Server) wouldTake(reg *Registration) *RefusalError {
	n := 0
	if s.Serving != nil {
		n = s.Serving(reg.Name)
	}
	return &RefusalError{
		Status: http.StatusOK, Reason: "this token may register " + nameOf(reg.Name), header: [2]string{headerServing, strconv.Itoa(n)},
		urls: reg.URLs, warning: reg.Warning,
	}
}

// nameIn returns the origin's name in a request's target, "" for the default origin.
func (s *Server) nameIn(target string) (string, error) {
	path, slash := strings.CutPrefix(target, "/")
	if !slash {
		return "", fmt.Errorf("%.70q is not a name: PUT / or PUT /NAME is wanted", target)
	}
	if path == "" {
		return "", nil
	}
	name, err := originname.ParseNamed(path)
	return string(s.Auth.Domains.Canonical(name)), err
}

var errTooLarge = &RefusalError{Status: http.StatusRequestEntityTooLarge, Reason: fmt.Sprintf("a body has at most %d bytes", maxBody)}

// nameOf is an origin's name for people.
func nameOf(name string) string {
	if name == "" {
		return "the default origin"
	}
	return strconv.Quote(name)
}

// logged is an origin's name as the log has it everywhere.
func logged(name string) string { return cmp.Or(name, "@") }

// dialled returns the host in a Host field.
func dialled(s string) string {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		host = s
	}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
		return ip.WithZone("").String()
	}
	name, err := originname.ParseNamed(host)
	if err != nil {
		return ""
	}
	return string(name)
}

// bearer returns the token of a request, "" if there is none or it is not
// clear which: no token is empty.
func bearer(h http.Header) string {
	v := h.Values("Authorization")
	if len(v) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(v[0], " ")
	if !httpfield.Equal(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// readBody reads a request's body to its end, so that what follows it is the
// next protocol's.
func readBody(w io.Writer, req *http.Request) *RefusalError {
	if httpfield.Equal(req.Header.Get("Expect"), "100-continue") {
		// A failure shows when the body does not come.
		io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	n, err := io.Copy(io.Discard, io.LimitReader(req.Body, maxBody+1))
	switch {
	case n > maxBody:
		return errTooLarge
	case err != nil:
		return &RefusalError{Status: http.StatusBadRequest, Reason: "the body is not what its head announces"}
	}
	return nil
}

// refuse sends an answer and closes, so that it arrives: a TCP socket that is
// closed with something unread sends a reset, and the peer loses the answer.
// It returns r.
func (s *Server) refuse(tc *tls.Conn, r *RefusalError) error {
	var b strings.Builder
	body := r.Reason + "\n"
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n",
		r.Status, http.StatusText(r.Status), len(body))
	if s.ID != "" {
		fmt.Fprintf(&b, "%s: %s\r\n", headerServer, s.ID)
	}
	if r.header[0] != "" {
		fmt.Fprintf(&b, "%s: %s\r\n", r.header[0], r.header[1])
	}
	writeReach(&b, r.urls, r.warning)
	if r.RetryAfter > 0 {
		fmt.Fprintf(&b, "Retry-After: %d\r\n", (r.RetryAfter+time.Second-1)/time.Second)
	}
	b.WriteString("\r\n" + body)
	now := time.Now()
	tc.SetDeadline(now.Add(drainTime))
	if _, err := io.WriteString(tc, b.String()); err == nil && tc.CloseWrite() == nil {
		if half, ok := tc.NetConn().(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		// Below TLS: what it was is of no interest now.
		io.CopyN(io.Discard, tc.NetConn(), drainBytes)
	}
	tc.NetConn().Close() // what TLS had to say was said, or nobody takes it
	return r
}
