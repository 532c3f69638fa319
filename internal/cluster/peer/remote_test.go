package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// A request is at C as it was at the node that it came to.
func TestPassesRequests(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		var got *http.Request
		var body string
		x := c.nodes["p2"].serve("photos.example.com", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			got, body = r, fmt.Sprint(string(b), " ", err)
			w.Header().Set("X-Answer", "a")
			w.Header().Add("X-Answer", "b")
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Trailer", "X-Sum")
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, "made")
			w.Header().Set("X-Sum", "4")
		})
		r, _ := c.nodes["p1"].know("p2", x)
		req := c.request("POST", "/", struct{ io.Reader }{strings.NewReader("a body")})
		req.URL.Opaque, req.URL.RawQuery = "//a/../b%2f", "q=%zz&;"
		req.Header = http.Header{
			"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "Via": {"1.1 spdy-proxy"}, "Te": {"trailers"},
			"Spdy-Proxy-Origin": {"other"}, "spdy-proxy-session": {"99"}, "Spdy-Proxy-Dial": {"again"},
		}
		req.Trailer = http.Header{"X-End": {"of the request"}}
		a := c.read(r.RoundTrip(req.WithContext(spdy.WithPriority(c.Context(), 6))))
		if a.status != 201 || a.body != "made" || a.err != nil {
			t.Errorf("got %d %q, %v, want 201 made", a.status, a.body, a.err)
		}
		delete(a.resp.Header, "Date")
		if want := (http.Header{"X-Answer": {"a", "b"}, "Content-Type": {"text/plain"}}); !maps.EqualFunc(a.resp.Header, want, slices.Equal) {
			t.Errorf("the response's headers: got %v, want %v", a.resp.Header, want)
		}
		if want := (http.Header{"X-Sum": {"4"}}); !maps.EqualFunc(a.resp.Trailer, want, slices.Equal) {
			t.Errorf("the response's trailers: got %v, want %v", a.resp.Trailer, want)
		}
		if got.RequestURI != "//a/../b%2f?q=%zz&;" || got.Method != "POST" || got.Host != "films.example" || body != "a body <nil>" || got.ContentLength != -1 {
			t.Errorf("at C: got %s %s of %s, body %q of %d", got.Method, got.RequestURI, got.Host, body, got.ContentLength)
		}
		want := http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "Via": {"1.1 spdy-proxy"}, "Te": {"trailers"}}
		if !maps.EqualFunc(got.Header, want, slices.Equal) {
			t.Errorf("headers at C: got %v, want %v", got.Header, want)
		}
		if p, _ := spdy.PriorityFrom(got.Context()); p != 6 || got.Trailer.Get("X-End") != "of the request" {
			t.Errorf("at C: got priority %d, trailers %v, want 6 and X-End", p, got.Trailer)
		}
		if n := r.InFlight(); n != 0 {
			t.Errorf("afterwards: got %d in flight, want none", n)
		}
	})
}

// What C does not say, nobody says for it.
func TestAddsNothing(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		x := c.nodes["p2"].serve("", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
			if r.URL.Path == "/empty" {
				return
			}
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			io.WriteString(w, "<html>")
		})
		r, _ := c.nodes["p1"].know("p2", x)
		for path, want := range map[string]answer{"/empty": {body: ""}, "/": {body: "<html>"}} {
			a := c.read(r.RoundTrip(c.request("GET", path, nil)))
			delete(a.resp.Header, "Content-Length")
			if a.body != want.body || a.err != nil || len(a.resp.Header) != 0 {
				t.Errorf("%s: got %q, %v, headers %v, want %q and none", path, a.body, a.err, a.resp.Header, want.body)
			}
		}
		if a := c.read(r.RoundTrip(c.request("HEAD", "/empty", nil))); a.status != 200 || a.err != nil {
			t.Errorf("HEAD: got %d, %v", a.status, a.err)
		}
	})
}

// What went wrong at the other node is what it would be here.
func TestErrors(t *testing.T) {
	large := strings.Repeat("x", 900<<10)
	type want struct {
		retryable bool
		gone      bool        // the node has not got it
		session   bool        // a SessionError
		status    spdy.Status // of a StreamError, else 0
		remote    bool
		tooLarge  bool
	}
	refused := want{retryable: true, status: spdy.RefusedStream, remote: true}
	gone := refused
	gone.gone = true
	for what, test := range map[string]struct {
		serve func(x *testC, w http.ResponseWriter, r *http.Request)
		do    func(n *testNode, x *testC) // before the request
		ask   func(r *http.Request)
		want  want
		body  want // where the headers came
	}{
		"not here any more": {do: func(n *testNode, x *testC) { x.server.Close() }, want: gone},
		"the node has none that takes requests": {do: func(n *testNode, x *testC) {
			go x.server.Shutdown(context.Background())
			synctest.Wait()
		}, want: gone},
		"the node stops": {do: func(n *testNode, x *testC) { n.table.Stop() }, want: gone},
		"C refuses": {serve: func(x *testC, w http.ResponseWriter, r *http.Request) {
			spdy.ResetStream(r.Context(), spdy.RefusedStream)
		}, want: refused},
		"C is lost before the headers": {serve: func(x *testC, w http.ResponseWriter, r *http.Request) {
			x.line.Reset()
		}, want: want{session: true}},
		"C is lost in the body": {serve: func(x *testC, w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "some")
			http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
			x.line.Reset()
		}, body: want{session: true}},
		"C resets before the headers": {serve: func(x *testC, w http.ResponseWriter, r *http.Request) {
			spdy.ResetStream(r.Context(), spdy.InternalError)
		}, want: want{status: spdy.InternalError, remote: true}},
		"C resets with what is a link's own": {serve: func(x *testC, w http.ResponseWriter, r *http.Request) {
			spdy.ResetStream(r.Context(), statusLost)
		}, want: want{status: spdy.ProtocolError, remote: true}},
		"C resets in the body": {serve: func(x *testC, w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "some")
			http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
			spdy.ResetStream(r.Context(), spdy.StreamAlreadyClosed)
		}, body: want{status: spdy.StreamAlreadyClosed, remote: true}},
		"C's answer is too large": {serve: func(x *testC, w http.ResponseWriter, r *http.Request) {
			for i := range 600 {
				w.Header().Set(fmt.Sprint("X-", i), "x")
			}
		}, want: want{status: spdy.FrameTooLarge, tooLarge: true}},
		"the request is too large for C": {ask: func(r *http.Request) { r.Header.Set("X-Large", large) },
			want: want{status: spdy.FrameTooLarge, remote: true, tooLarge: true}},
	} {
		t.Run(what, func(t *testing.T) {
			inCluster(t, "p1 p2", func(c *cluster) {
				var x *testC
				x = c.nodes["p2"].serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
					if test.serve != nil {
						test.serve(x, w, r)
					}
				})
				r, _ := c.nodes["p1"].know("p2", x)
				if test.do != nil {
					test.do(c.nodes["p2"], x)
				}
				req := c.request("GET", "/", nil)
				if test.ask != nil {
					test.ask(req)
				}
				resp, err := r.RoundTrip(req)
				want := test.want
				if err == nil {
					want = test.body
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				if spdy.Retryable(err) != want.retryable || errors.Is(err, spdy.ErrHeaderTooLarge) != want.tooLarge {
					t.Errorf("got %v, retryable %v, want %+v", err, spdy.Retryable(err), want)
				}
				if _, ok := errors.AsType[*spdy.SessionError](err); ok != want.session {
					t.Errorf("got %#v, want a SessionError: %v", err, want.session)
				}
				se, ok := errors.AsType[*spdy.StreamError](err)
				if ok != (want.status != 0) || ok && (se.Status != want.status || se.Remote != want.remote || se.StreamID == 0) {
					t.Errorf("got %#v, want a StreamError with %v, remote %v", err, want.status, want.remote)
				}
				if n := r.InFlight(); n != 0 {
					t.Errorf("afterwards: got %d in flight, want none", n)
				}
				c.settle()
				_, _, err = c.nodes["p1"].table.Acquire(c.Context(), origin.Query{Name: "films"})
				if got := c.nodes["p1"].gone; got != map[bool]int{true: 1}[want.gone] || (err != nil) != want.gone {
					t.Errorf("got Gone told %d times, and afterwards %v, want it gone: %v", got, err, want.gone)
				}
				c.nodes["p1"].wantEvents("up p2") // the link stands
			})
		})
	}
}

// A malformed answer of C's, which no server of ours would give.
func TestMalformedAnswer(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		n := c.nodes["p2"]
		here, there := spdytest.Pipe(spdytest.PipeConfig{})
		p := spdytest.NewPeer(t, there)
		s := (*spdy.Config)(nil).NewClientSession(here)
		go s.Serve()
		m, err := n.table.Register(origin.Registration{Name: "films", Session: s})
		if err != nil {
			t.Fatal(err)
		}
		p.WantPreface()
		r, _ := c.nodes["p1"].know("p2", &testC{member: m})
		done := make(chan error, 1)
		go func() {
			_, err := r.RoundTrip(c.request("GET", "/", nil))
			done <- err
		}()
		f := p.Next("the request")
		p.Send(spdytest.SynReply(f.ID, 0, spdytest.Response("abc")...))
		se, ok := errors.AsType[*spdy.StreamError](<-done)
		if !ok || se.Remote || se.Status != spdy.ProtocolError || !errors.Is(se, spdy.ErrMalformed) {
			t.Errorf("got %v, want a StreamError of this side's with PROTOCOL_ERROR", se)
		}
		p.Close()
	})
}

// countedReader counts the Reads.
type countedReader struct {
	io.Reader
	reads atomic.Int32
}

func (r *countedReader) Read(p []byte) (int, error) {
	r.reads.Add(1)
	return r.Reader.Read(p)
}

// A body stays with who sends it until its stream to C is open.
func TestBodyStays(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		release := make(chan struct{})
		x := c.nodes["p2"].serve("films", "x.0", spdy.Config{MaxConcurrentStreams: 1}, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" {
				<-release
			}
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		})
		r, _ := c.nodes["p1"].know("p2", x)
		go r.RoundTrip(c.request("GET", "/", nil))
		synctest.Wait()
		body := &countedReader{Reader: bytes.NewReader(make([]byte, 300000))}
		done := make(chan answer)
		go func() { done <- c.read(r.RoundTrip(c.request("POST", "/", body))) }()
		time.Sleep(time.Minute)
		if n := body.reads.Load(); n != 0 {
			t.Errorf("while it waits for its turn at C: got %d reads of the body, want none", n)
		}
		close(release)
		if a := <-done; a.body != "300000 <nil>" || a.err != nil {
			t.Errorf("got %q, %v, want all of it at C", a.body, a.err)
		}
	})
}

// Nobody who reads slowly holds up another.
func TestSlowReader(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		x := c.nodes["p2"].serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, 3<<20))
		})
		r, _ := c.nodes["p1"].know("p2", x)
		slow, err := r.RoundTrip(c.request("GET", "/slow", nil))
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(slow.Body, make([]byte, 1000))
		synctest.Wait()
		for range 3 {
			if a := c.read(r.RoundTrip(c.request("GET", "/", nil))); len(a.body) != 3<<20 || a.err != nil {
				t.Errorf("beside it: got %d bytes, %v", len(a.body), a.err)
			}
		}
		if n := x.session.Stats().BytesReceived - 9<<20; n > 1<<20 {
			t.Errorf("%d bytes have left C for a reader of 1000", n)
		}
		if n := r.InFlight(); n != 1 {
			t.Errorf("got %d in flight, want 1", n)
		}
		c.eachLine((*spdytest.Conn).Reset) // what they have carried counts all the same
		c.settle()
		for id, n := range c.nodes {
			if got := n.links.Totals(); max(got.Sent, got.Received) < 9<<20 || min(got.Sent, got.Received) != 0 {
				t.Errorf("Totals of %s: got %+v, want 9 MiB one way", id, got)
			}
		}
		slow.Body.Close()
	})
}

// A request that is given up is given up at C.
func TestCancel(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		ended := make(chan error, 2)
		x := c.nodes["p2"].serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/body" {
				io.WriteString(w, "some")
				http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
			ended <- r.Context().Err()
		})
		r, _ := c.nodes["p1"].know("p2", x)
		ctx, cancel := context.WithCancel(c.Context())
		done := make(chan error)
		go func() {
			_, err := r.RoundTrip(c.request("GET", "/", nil).WithContext(ctx))
			done <- err
		}()
		resp, err := r.RoundTrip(c.request("GET", "/body", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("before the headers: got %v, want context.Canceled", err)
		}
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("in the body: got %v, want context.Canceled", err)
		}
		<-ended
		<-ended
		synctest.Wait()
		if got := x.server.Stats().ResetsReceived[spdy.Cancel]; got != 2 {
			t.Errorf("at C: got %d streams with CANCEL, want 2", got)
		}
		if n := c.nodes["p2"].table.Snapshot()[0].Sessions[0].InFlight(); n != 0 {
			t.Errorf("afterwards: got %d in flight at the other node, want none", n)
		}
	})
}

// upgrade asks for a WebSocket.
func (c *cluster) upgrade(path string) *http.Request {
	r := c.request("GET", path, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-Websocket-Key", "a2V5")
	return r
}

// A WebSocket goes through both links, each direction ends by itself, and one that
// fails ends the other.
func TestUpgrade(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		reset := make(chan struct{})
		x := c.nodes["p2"].serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/no" {
				http.Error(w, "no "+r.Header.Get("Upgrade"), http.StatusForbidden)
				return
			}
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Sec-Websocket-Accept", r.Header.Get("Sec-Websocket-Key"))
			w.WriteHeader(http.StatusSwitchingProtocols)
			if r.URL.Path == "/reset" {
				<-reset
				spdy.ResetStream(r.Context(), spdy.InternalError)
				return
			}
			io.Copy(w, r.Body)
			io.WriteString(w, " bye")
		})
		r, _ := c.nodes["p1"].know("p2", x)
		open := func(path string) (*http.Response, duplex) {
			resp, err := r.RoundTrip(c.upgrade(path))
			if err != nil {
				t.Fatal(err)
			}
			rw, ok := resp.Body.(duplex)
			if !ok || resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "a2V5" {
				t.Fatalf("got %v with a body of type %T, want 101", resp, resp.Body)
			}
			return resp, rw
		}
		_, rw := open("/")
		for range 3 {
			io.WriteString(rw, "hello")
			b := make([]byte, 5)
			if _, err := io.ReadFull(rw, b); err != nil || string(b) != "hello" {
				t.Fatalf("got %q, %v, want it back", b, err)
			}
		}
		io.WriteString(rw, "last")
		rw.CloseWrite()
		if b, err := io.ReadAll(rw); string(b) != "last bye" || err != nil {
			t.Errorf("after the end of one direction: got %q, %v, want last bye", b, err)
		}
		rw.Close()

		_, rw = open("/reset")
		synctest.Wait()
		close(reset)
		_, err := io.ReadAll(rw)
		if se, ok := errors.AsType[*spdy.StreamError](err); !ok || se.Status != spdy.InternalError {
			t.Errorf("C has reset it: got %v, want INTERNAL_ERROR", err)
		}
		if _, err := io.WriteString(rw, "x"); err == nil {
			t.Error("C has reset it: got no error of Write")
		}
		rw.Close()

		_, rw = open("/")
		rw.Close()
		synctest.Wait()
		if n := x.server.InFlight(); n != 0 || r.InFlight() != 0 {
			t.Errorf("all are closed: got %d streams at C, %d here, want none", n, r.InFlight())
		}
		if a := c.read(r.RoundTrip(c.upgrade("/no"))); a.status != 403 || a.body != "no websocket\n" {
			t.Errorf("C does not want it: got %d %q, want 403", a.status, a.body)
		}
	})
}

// Which of a node's sessions it is counts, if that is there.
func TestPrefersTheSession(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		var cs []*testC
		for i := range 3 {
			cs = append(cs, c.nodes["p2"].serve("films", fmt.Sprint("x.", i), spdy.Config{}, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, i) }))
		}
		for i, x := range cs {
			r, _ := c.nodes["p1"].know("p2", x)
			for range 3 {
				if a := c.read(r.RoundTrip(c.request("GET", "/", nil))); a.body != fmt.Sprint(i) {
					t.Errorf("asked for session %d, got %s", i, a.body)
				}
			}
			x.server.Close()
			synctest.Wait()
			if i < 2 {
				if a := c.read(r.RoundTrip(c.request("GET", "/", nil))); a.body == fmt.Sprint(i) {
					t.Errorf("got session %d, which has ended", i)
				}
			}
		}
	})
}

// What was handed on by a node is not handed on again.
func TestOneHop(t *testing.T) {
	inCluster(t, "p1 p2 p3", func(c *cluster) {
		x := c.nodes["p3"].serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {})
		c.nodes["p2"].know("p3", x)
		// p2 has no such session of its own.
		r, _ := c.nodes["p1"].know("p2", x)
		if _, err := r.RoundTrip(c.request("GET", "/", nil)); !spdy.Retryable(err) {
			t.Errorf("got %v, want it refused", err)
		}
		if got := x.server.Stats().StreamsOpened; got != 0 {
			t.Errorf("got %d requests at C by two hops, want none", got)
		}
	})
}

// A session that was withdrawn takes no new requests; what is open goes on.
func TestWithdraw(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		x := c.nodes["p2"].serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Minute)
			io.WriteString(w, "slow")
		})
		n := c.nodes["p1"]
		r, m := n.know("p2", x)
		if r.Available() != 1000 || r.MaxStreams() != 1000 || r.Err() != nil {
			t.Errorf("got %d of %d, %v, want 1000 of 1000", r.Available(), r.MaxStreams(), r.Err())
		}
		r.SetLoad(7)
		done := make(chan answer)
		go func() { done <- c.read(r.RoundTrip(c.request("GET", "/", nil))) }()
		synctest.Wait()
		if r.InFlight() != 8 || r.Available() != 992 {
			t.Errorf("got %d in flight, %d available, want 8 and 992", r.InFlight(), r.Available())
		}
		going := r.GoingAway()
		n.table.Withdraw(m)
		r.Withdraw()
		r.Withdraw()
		<-going
		<-r.GoingAway()
		if !m.Leaves() {
			t.Error("Leaves: got false, want true")
		}
		if _, _, err := n.table.Acquire(c.Context(), origin.Query{Name: "films"}); err == nil {
			t.Error("Acquire: got a session that was withdrawn")
		}
		if a := <-done; a.body != "slow" || a.err != nil {
			t.Errorf("what was open: got %q, %v", a.body, a.err)
		}
		none := n.links.Remote("p9", 1, "films", 1)
		if _, err := none.RoundTrip(c.request("POST", "/", strings.NewReader("x"))); !spdy.Retryable(err) {
			t.Errorf("without a link: got %v, want one that is retryable", err)
		}
		<-none.GoingAway()
		if none.Err() == nil {
			t.Error("without a link: got no Err")
		}
	})
}
