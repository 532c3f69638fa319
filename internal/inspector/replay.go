package inspector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxReplays is how many may be under way.
	maxReplays = 4
	// replayTime is how long one may take, and replayBytes how much of its answer is
	// waited for.
	replayTime  = time.Minute
	replayBytes = 1 << 20
)

var (
	errGone     = errors.New("this request is not kept any more")
	errReplays  = errors.New("as many replays as there may be are under way: try again when one has ended")
	errAnswered = errors.New("enough was seen of the answer")
)

// edited is a request to be sent in the place of one that is kept.
type edited struct {
	Method string `json:"method"`
	Target string `json:"target"`
	Head   string `json:"head"`
	Body   string `json:"body"`
}

// replay has the request of that id answered again, changed if change is not nil, and
// returns when that has ended. What becomes of it is kept like a visitor's request.
func (i *Inspector) replay(ctx context.Context, id uint64, change *edited) error {
	x := i.get(id)
	if x == nil {
		return errGone
	}
	ctx, cancel := context.WithTimeout(ctx, replayTime)
	defer cancel()
	r, err := x.repeated(ctx, change)
	if err != nil {
		return err
	}
	i.mu.Lock()
	full := i.replays >= maxReplays
	if !full {
		i.replays++
	}
	next := i.handlers[x.origin]
	i.mu.Unlock()
	if full {
		return errReplays
	}
	defer func() {
		i.mu.Lock()
		i.replays--
		i.mu.Unlock()
		// The handler breaks off an answer that nobody waits for.
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			i.log.Error("the handler of a replay panicked", "panic", fmt.Sprint(p))
		}
	}()
	i.serve(x.origin, next, &unread{header: make(http.Header), enough: cancel}, r, id)
	return nil
}

// repeated makes the request anew.
func (x *exchange) repeated(ctx context.Context, change *edited) (*http.Request, error) {
	x.mu.Lock()
	why := x.noReplayLocked()
	method, target, header, body := x.method, x.target, x.header.Clone(), bytes.Clone(x.request.begin)
	x.mu.Unlock()
	if change != nil {
		var err error
		if header, err = parseHead(change.Head); err != nil {
			return nil, err
		}
		method, target, body = strings.ToUpper(change.Method), change.Target, []byte(change.Body)
	} else if why != "" {
		return nil, fmt.Errorf("the request cannot be replayed: %s", why)
	}
	if !validMethod(method) {
		return nil, fmt.Errorf("%.20q is not a method", method)
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || !strings.HasPrefix(target, "/") && target != "*" {
		return nil, fmt.Errorf("%.60q is not a path with a query", target)
	}
	for _, name := range []string{"Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Te", "Trailer", "Expect"} {
		delete(header, name) // of what was sent then
	}
	r := &http.Request{
		Method: method, URL: u, RequestURI: target, Host: x.host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, ContentLength: int64(len(body)),
	}
	if h := header.Get("Host"); h != "" {
		r.Host = h
		delete(header, "Host")
	}
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
		header.Set("Content-Length", fmt.Sprint(len(body)))
	}
	return r.WithContext(ctx), nil
}

func validMethod(m string) bool {
	return m != "" && len(m) <= 32 && strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == "" && m != http.MethodConnect && m != http.MethodTrace
}

// unread is the http.ResponseWriter of a replay, whose answer goes nowhere: the
// exchange sees it on its way. It belongs to the handler.
type unread struct {
	header http.Header
	bytes  int
	enough func() // ends the request
}

func (w *unread) Header() http.Header { return w.header }

func (w *unread) WriteHeader(int) {}

func (w *unread) Write(p []byte) (int, error) {
	if w.bytes += len(p); w.bytes > replayBytes {
		w.enough()
		return 0, errAnswered
	}
	return len(p), nil
}

// Flush, SetReadDeadline and SetWriteDeadline are for http.ResponseController; nothing
// here waits.
func (w *unread) Flush() {}

// SetReadDeadline does nothing.
func (w *unread) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (w *unread) SetWriteDeadline(time.Time) error { return nil }
