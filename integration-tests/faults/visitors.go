//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// patience is how long nothing may come before a request counts as hung. All
	// that p promises comes long before, on a slow machine too.
	patience = 90 * time.Second

	maxMessage   = 64 << 10
	downloadRate = 2 << 20 // bytes/s
	uploadRate   = 1 << 20
)

var (
	smallBody  = body{1, 20_000}
	largeBody  = body{2, 4 << 20}
	uploadSize = int64(700_000)
	streamSize = int64(600_000)
)

// visitors are a light load of every kind of request.
type visitors struct {
	// Fixed by newVisitors.
	lab   *lab
	tally *tally
	kept  *http.Client // keeps its connections
	fresh *http.Client // makes one for each request
	h1    *http.Client // speaks HTTP/1.1, as WebSockets need
	seeds *atomic.Uint64
}

func newVisitors(l *lab) *visitors {
	v := &visitors{lab: l, tally: l.tally, seeds: new(atomic.Uint64)}
	transport := func(h2, keep bool) *http.Transport {
		return &http.Transport{
			DialContext:       (&net.Dialer{Timeout: patience}).DialContext,
			TLSClientConfig:   &tls.Config{RootCAs: l.ca.pool(), ServerName: serverName},
			ForceAttemptHTTP2: h2, DisableKeepAlives: !keep, DisableCompression: true,
		}
	}
	client := func(t http.RoundTripper) *http.Client {
		return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	v.kept, v.fresh, v.h1 = client(transport(true, true)), client(fresh{transport(true, false)}), client(transport(false, false))
	return v
}

// fresh makes a connection for each request. One transport would not: it hands a new
// connection of h2 to whoever comes first, and it may be about to close then.
type fresh struct{ like *http.Transport }

func (f fresh) RoundTrip(r *http.Request) (*http.Response, error) {
	return f.like.Clone().RoundTrip(r)
}

// A visit is a load that goes on.
type visit struct {
	v    *visitors
	stop context.CancelFunc
	all  sync.WaitGroup
}

// start begins the load. It ends by finish, or is broken off when ctx ends.
func (v *visitors) start(ctx context.Context) *visit {
	going, stop := context.WithCancel(ctx)
	t := &visit{v: v, stop: stop}
	loop := func(every time.Duration, one func(context.Context)) {
		// Ends after stop, when its request has; finish waits for it.
		t.all.Go(func() {
			for going.Err() == nil {
				one(ctx)
				pause(going, every)
			}
		})
	}
	for _, client := range []*http.Client{v.kept, v.fresh} {
		loop(60*time.Millisecond, func(ctx context.Context) { v.get(ctx, get, client, 0) })
		loop(100*time.Millisecond, func(ctx context.Context) { v.get(ctx, download, client, downloadRate) })
		loop(100*time.Millisecond, func(ctx context.Context) { v.once(ctx, client) })
	}
	for _, announced := range []bool{true, false} {
		loop(200*time.Millisecond, func(ctx context.Context) { v.upload(ctx, announced) })
	}
	loop(100*time.Millisecond, v.stream)
	loop(100*time.Millisecond, v.sink)
	for range 2 {
		// Ends as the others.
		t.all.Go(func() {
			for going.Err() == nil {
				v.socket(ctx, going)
				pause(going, 200*time.Millisecond)
			}
		})
	}
	return t
}

// finish lets each request that is open come to its end.
func (t *visit) finish() {
	t.stop()
	t.all.Wait()
	for _, c := range []*http.Client{t.v.kept, t.v.fresh, t.v.h1} {
		c.CloseIdleConnections()
	}
}

// A watch gives a request up when nothing has come for patience.
type watch struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func newWatch(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watch{time.AfterFunc(patience, func() { cancel(errHung) }), cancel}
}

// moved says that something has come, or was taken.
func (w *watch) moved() { w.timer.Reset(patience) }

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// A paced reader reads no faster than rate, in bytes/s (0: no limit), and says that
// something has moved.
type paced struct {
	ctx   context.Context
	from  io.Reader
	watch *watch
	rate  int64
	began time.Time
	n     int64
}

func (p *paced) Read(b []byte) (int, error) {
	if p.rate > 0 {
		if p.began.IsZero() {
			p.began = time.Now()
		}
		due := p.began.Add(time.Duration(p.n) * time.Second / time.Duration(p.rate))
		if err := pause(p.ctx, time.Until(due)); err != nil {
			return 0, err
		}
	}
	n, err := p.from.Read(b[:min(len(b), 32<<10)])
	p.n += int64(n)
	p.watch.moved()
	return n, err
}

// do makes one request, and has check look at an answer of the status that is due.
func (v *visitors) do(ctx context.Context, k kind, client *http.Client, method, url, host string, sent *paced, length int64, status int,
	check func(resp *http.Response, watch *watch, ctx context.Context) error) outcome {
	count := v.tally.begin(k)
	ctx, w := newWatch(ctx)
	defer w.end()
	err := func() error {
		var b io.Reader
		if sent != nil {
			sent.ctx, sent.watch = ctx, w
			b = io.NopCloser(sent)
		}
		r, err := http.NewRequestWithContext(ctx, method, url, b)
		if err != nil {
			return err
		}
		r.Host = host
		if sent != nil {
			r.ContentLength = length
		}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		w.moved()
		if resp.StatusCode != status {
			return fmt.Errorf("%s (%s)", resp.Status, resp.Header.Get("Proxy-Status"))
		}
		return check(resp, w, ctx)
	}()
	if err != nil && judge(err) == visible && errors.Is(context.Cause(ctx), errHung) {
		err = errHung
	}
	return count.end(shortened(err))
}

// shortened is err without the addresses and the like, so that equal ones can be counted.
func shortened(err error) error {
	if o := judge(err); o == right || o == untrue || o == hung {
		return err
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

func (v *visitors) get(ctx context.Context, k kind, client *http.Client, rate int64) outcome {
	name, b := smallFile, smallBody
	if k == download {
		name, b = largeFile, largeBody
	}
	return v.do(ctx, k, client, "GET", v.lab.url("/"+name), "", nil, 0, http.StatusOK,
		func(resp *http.Response, w *watch, ctx context.Context) error {
			if resp.ContentLength != b.size {
				return wrongf("a length of %d was announced, not %d", resp.ContentLength, b.size)
			}
			return b.compare(&paced{ctx: ctx, from: resp.Body, watch: w, rate: rate})
		})
}

func (v *visitors) upload(ctx context.Context, announced bool) {
	b := body{v.seeds.Add(1), uploadSize}
	length := int64(-1)
	if announced {
		length = b.size
	}
	v.do(ctx, upload, v.fresh, "POST", v.lab.url("/in/"), "", &paced{from: b.reader(), rate: uploadRate}, length, http.StatusCreated,
		func(resp *http.Response, w *watch, ctx context.Context) error {
			if _, err := io.Copy(io.Discard, &paced{ctx: ctx, from: resp.Body, watch: w}); err != nil {
				return err
			}
			// What c says that it keeps, it must keep.
			file := filepath.Join(v.lab.uploads, path.Base(resp.Header.Get("Location")))
			got, err := identifyFile(file)
			if err != nil {
				return wrongf("what was kept of an upload: %v", err)
			}
			if got != b {
				return wrongf("upload %d was kept where %d is", b.seed, got.seed)
			}
			return os.Remove(file)
		})
}

func (v *visitors) stream(ctx context.Context) {
	b := body{v.seeds.Add(1), streamSize}
	v.do(ctx, stream, v.fresh, "GET", v.lab.url(fmt.Sprintf("/stream?seed=%d&size=%d", b.seed, b.size)), appHost, nil, 0, http.StatusOK,
		func(resp *http.Response, w *watch, ctx context.Context) error {
			return b.compare(&paced{ctx: ctx, from: resp.Body, watch: w})
		})
}

func (v *visitors) sink(ctx context.Context) {
	b := body{v.seeds.Add(1), streamSize}
	v.do(ctx, sink, v.fresh, "POST", v.lab.url("/sink"), appHost, &paced{from: b.reader(), rate: uploadRate}, -1, http.StatusOK, wantText("got", b.seed))
}

// once asks for something that must not be done twice.
func (v *visitors) once(ctx context.Context, client *http.Client) {
	id := v.seeds.Add(1)
	v.do(ctx, once, client, "POST", v.lab.url(fmt.Sprintf("/once?id=%d", id)), appHost, nil, 0, http.StatusOK, wantText("acted on", id))
}

func wantText(what string, id uint64) func(*http.Response, *watch, context.Context) error {
	return func(resp *http.Response, w *watch, ctx context.Context) error {
		text, err := io.ReadAll(&paced{ctx: ctx, from: io.LimitReader(resp.Body, 1000), watch: w})
		if want := fmt.Sprintf("%s %d", what, id); err == nil && string(text) != want {
			return wrongf("the service said %q, not %q", text, want)
		}
		return err
	}
}

// socket sends messages over one WebSocket until the load ends, or it breaks.
func (v *visitors) socket(ctx, going context.Context) {
	count := v.tally.begin(socket)
	open, w := newWatch(ctx)
	defer w.end()
	c, _, err := websocket.Dial(open, v.lab.url("/socket"), &websocket.DialOptions{HTTPClient: v.h1, Host: appHost})
	if err == nil {
		defer c.CloseNow()
		c.SetReadLimit(maxMessage)
	}
	for err == nil {
		w.moved()
		message, _ := io.ReadAll(body{v.seeds.Add(1), 5000}.reader())
		var echo []byte
		if err = c.Write(open, websocket.MessageBinary, message); err == nil {
			_, echo, err = c.Read(open)
		}
		if err == nil && !bytes.Equal(echo, message) {
			err = wrongf("the echo of a WebSocket is not what was sent")
		}
		if err == nil {
			count.end(nil)
			// The connection may break in the pause, and that is seen after it.
			count = v.tally.begin(socket)
			if pause(going, 200*time.Millisecond) != nil {
				c.Close(websocket.StatusNormalClosure, "")
				return
			}
		}
	}
	if judge(err) == visible && errors.Is(context.Cause(open), errHung) {
		err = errHung
	}
	count.end(shortened(err))
}
