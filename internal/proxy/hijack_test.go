package proxy_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
	"github.com/coder/websocket"
	xwebsocket "golang.org/x/net/websocket"
)

// Over a session of the engine, net/http's ReverseProxy and WebSocket libraries work on
// both sides as they are.
func TestLibrariesUpgradeOverSPDY(t *testing.T) {
	service := newSocketService(t)
	to, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	own, foreign := http.Header{"Origin": {"http://origin.test"}}, http.Header{"Origin": {"http://foreign.test"}}
	for name, test := range map[string]struct {
		h           http.Handler
		right, none http.Header // of a request that is taken, and of one that gets 403
	}{
		"coder/websocket": {service.Config.Handler, own, foreign},
		"ReverseProxy":    {&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}, nil, foreign},
		"x/net/websocket": {xwebsocket.Handler(func(ws *xwebsocket.Conn) { io.Copy(ws, ws) }), own, nil},
	} {
		t.Run(name, func(t *testing.T) {
			session := spdyPair(t, test.h)
			front := httptest.NewServer(&httputil.ReverseProxy{
				Transport: session,
				Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "origin.test"}) },
			})
			defer front.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			ws, _, err := websocket.Dial(ctx, front.URL, &websocket.DialOptions{HTTPHeader: test.right})
			if err != nil {
				t.Fatal(err)
			}
			defer ws.CloseNow()
			ws.SetReadLimit(16 << 20)
			for _, msg := range [][]byte{[]byte("hello"), bytes.Repeat([]byte("large "), 50_000)} {
				if err := ws.Write(ctx, websocket.MessageText, msg); err != nil {
					t.Fatal(err)
				}
				var got []byte
				for len(got) < len(msg) { // one may come back in pieces
					_, p, err := ws.Read(ctx)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, p...)
				}
				if !bytes.Equal(got, msg) {
					t.Errorf("got %d bytes back, want the %d that were sent", len(got), len(msg))
				}
			}
			if n := session.InFlight(); n != 1 {
				t.Errorf("got %d streams in flight, want the socket's", n)
			}
			if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil && name != "x/net/websocket" { // which sends no frame back
				t.Errorf("Close: %v", err)
			}
			waitFor(t, "no stream in flight", func() bool { return session.InFlight() == 0 })
			_, resp, err := websocket.Dial(ctx, front.URL, &websocket.DialOptions{HTTPHeader: test.none})
			if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
				t.Errorf("a request that is refused: got %v, want 403", err)
			}
			waitFor(t, "no stream in flight", func() bool { return session.InFlight() == 0 })
		})
	}
}

// spdyPair returns a client session whose server runs h.
func spdyPair(t *testing.T, h http.Handler) *spdy.Session {
	near, far := spdytest.Pipe(spdytest.PipeConfig{})
	client := (*spdy.Config)(nil).NewClientSession(near)
	server := (*spdy.Config)(nil).NewServerSession(far, &http.Server{Handler: h})
	var serving sync.WaitGroup
	serving.Go(func() { client.Serve() })
	serving.Go(func() { server.Serve() })
	t.Cleanup(func() {
		client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		serving.Wait()
	})
	return client
}
