package spdy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
)

// A session on which nothing happens has no writer, at either end, before the first
// request and from the next PING after the last; and whatever is then to be sent is.
func TestWriterRests(t *testing.T) {
	const interval = 10 * time.Second
	cert, pool := newCertificate(t)
	for _, end := range []string{"Close", "Shutdown"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				cfg := spdy.Config{KeepAlive: interval}
				hold := make(chan struct{})
				server := cfg.NewServerSession(tls.Server(near, &tls.Config{Certificates: []tls.Certificate{cert}}), &http.Server{
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						<-hold
						io.Copy(w, r.Body)
					}),
				})
				client := cfg.NewClientSession(tls.Client(far, &tls.Config{RootCAs: pool, ServerName: "localhost"}))
				var served sync.WaitGroup
				served.Go(func() { server.Serve() })
				served.Go(func() { client.Serve() })
				rest := func(want bool, when string) {
					t.Helper()
					synctest.Wait()
					if c, s := client.Rests(), server.Rests(); c != want || s != want {
						t.Errorf("%s: the client rests: %v, the server rests: %v, want %v", when, c, s, want)
					}
				}
				for range 2 {
					<-time.After(10 * interval)
					rest(true, "idle")
					if _, err := client.PingContext(t.Context()); err != nil {
						t.Error(err)
					}
					rest(true, "after a PING")
					ctx, cancel := context.WithCancel(t.Context())
					got := make(chan *http.Response, 1)
					go func() { // ends with the response
						resp, err := client.RoundTrip(newPost(ctx, t))
						if err != nil {
							t.Error(err)
						}
						got <- resp
					}()
					<-time.After(10 * interval)
					rest(false, "while a request waits for its response")
					hold <- struct{}{}
					if resp := <-got; resp != nil {
						if b, err := io.ReadAll(resp.Body); string(b) != "body" || err != nil {
							t.Errorf("got %q, %v", b, err)
						}
					}
					cancel()
				}
				<-time.After(10 * interval)
				rest(true, "at the end")
				if end == "Close" {
					client.Close()
				} else if err := client.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				served.Wait()
			})
		})
	}
}

func newPost(ctx context.Context, t *testing.T) *http.Request {
	body, w := io.Pipe()
	go func() { // ends when the body is read
		io.WriteString(w, "body")
		w.Close()
	}()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://host/", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// What waits for the end of a session that takes no new stream is told, whether it
// comes before or after, and whatever ends it.
func TestAfterGoingAway(t *testing.T) {
	for name, end := range map[string]func(*spdy.Session){
		"Close":    (*spdy.Session).Close,
		"Shutdown": func(s *spdy.Session) { s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				s := (&spdy.Config{}).NewClientSession(near)
				go s.Serve()         // ends below
				go io.Copy(far, far) // ends with near
				told := make(chan string, 3)
				s.AfterGoingAway(func() { told <- "first" })
				s.AfterGoingAway(func() { told <- "second" })
				synctest.Wait()
				if n := len(told); n != 0 {
					t.Errorf("%d were told of nothing", n)
				}
				end(s)
				s.AfterGoingAway(func() { told <- "late" })
				synctest.Wait()
				if n := len(told); n != 3 {
					t.Errorf("%d were told, want 3", n)
				}
				far.Close()
			})
		})
	}
}

// A frame that is too large resets its stream, above TLS too, where the stream id is
// not read with the frame's header.
func TestTooLargeAboveTLS(t *testing.T) {
	cert, pool := newCertificate(t)
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		s := (&spdy.Config{}).NewServerSession(tls.Server(near, &tls.Config{Certificates: []tls.Certificate{cert}}), nil)
		peer := tls.Client(far, &tls.Config{RootCAs: pool, ServerName: "localhost"})
		var running sync.WaitGroup
		running.Go(func() { s.Serve() })
		running.Go(func() {
			peer.Write([]byte("\x80\x03\x00\x01" + "\x00\xff\xff\xff" + "\x00\x00\x00\x07" + "and so on"))
		})
		got, err := io.ReadAll(peer)
		if err != nil {
			t.Fatal(err)
		}
		if want := "\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x07\x00\x00\x00\x0b"; !bytes.Contains(got, []byte(want)) {
			t.Errorf("got %x, want RST_STREAM of stream 7 with FRAME_TOO_LARGE among it, %x", got, want)
		}
		peer.Close()
		running.Wait()
	})
}
