package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Each row of the contract's table of what A sees, over each protocol.
func TestContractAnswers(t *testing.T) {
	// fails makes an origin whose attempts fail with err.
	fails := func(err error) func(t *testing.T, s *stage) {
		return func(t *testing.T, s *stage) {
			s.enroll(t, func(r *http.Request) (*http.Response, error) { return nil, err })
		}
	}
	// answers makes an origin that answers with what edit makes of a 200.
	answers := func(edit func(*http.Response)) func(t *testing.T, s *stage) {
		return func(t *testing.T, s *stage) {
			s.enroll(t, func(r *http.Request) (*http.Response, error) {
				resp := answerOf(r, 200, nil, "body")
				edit(resp)
				return resp, nil
			})
		}
	}
	late := func(t *testing.T, s *stage) {
		s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}
	lost := func(t *testing.T, s *stage) { s.connect(t, "", "", echo).gone() }
	short := func(c *Config) { c.Hold = 30 * time.Millisecond; c.ResponseTimeout = 30 * time.Millisecond }

	for _, test := range []struct {
		name    string
		config  func(*Config)
		origin  func(t *testing.T, s *stage)
		request func(*http.Request)
		status  int
		reason  string
	}{
		{"503 an origin that was never connected", nil, func(*testing.T, *stage) {}, nil, 503, reasonUnavailable},
		{"503 after the hold", short, lost, nil, 503, reasonUnavailable},
		{"503 P is stopping", nil, func(t *testing.T, s *stage) { s.connect(t, "", "", echo); s.h.Stop() }, nil, 503, reasonInternal},
		{"503 P is stopping, the table", nil, func(t *testing.T, s *stage) { s.connect(t, "", "", echo); s.table.Stop() }, nil, 503, reasonInternal},
		{"503 GET, the session ended and none came back", short, func(t *testing.T, s *stage) {
			var f *script
			f = s.enroll(t, func(r *http.Request) (*http.Response, error) { f.end(); return nil, errCut })
		}, nil, 503, reasonUnavailable},
		{"502 the stream ended before the headers", nil, fails(errResetByC), nil, 502, reasonIncomplete},
		{"502 POST, the session ended before the headers", nil, fails(errCut), func(r *http.Request) { r.Method = "POST" }, 502, reasonTerminated},
		{"502 the stream is refused as long as the hold", short, fails(errRefused), nil, 502, reasonIncomplete},
		{"502 status 99", nil, answers(func(r *http.Response) { r.StatusCode = 99 }), nil, 502, reasonProtocol},
		{"502 status 103", nil, answers(func(r *http.Response) { r.StatusCode = 103 }), nil, 502, reasonProtocol},
		{"502 status 1000", nil, answers(func(r *http.Response) { r.StatusCode = 1000 }), nil, 502, reasonProtocol},
		{"502 a 101 that nobody asked for", nil, answers(func(r *http.Response) { r.StatusCode = 101 }), nil, 502, reasonProtocol},
		{"502 a header name with a space", nil, answers(func(r *http.Response) { r.Header["X Y"] = []string{"1"} }), nil, 502, reasonProtocol},
		{"502 a header name with a colon", nil, answers(func(r *http.Response) { r.Header["X:y"] = []string{"1"} }), nil, 502, reasonProtocol},
		{"502 an empty header name", nil, answers(func(r *http.Response) { r.Header[""] = []string{"1"} }), nil, 502, reasonProtocol},
		{"502 a header value with a newline", nil, answers(func(r *http.Response) { r.Header.Set("X-Y", "1\r\nSet-Cookie: a") }), nil, 502, reasonProtocol},
		{"502 a header value with a NUL", nil, answers(func(r *http.Response) { r.Header.Set("X-Y", "1\x00") }), nil, 502, reasonProtocol},
		{"502 two content-lengths", nil, answers(func(r *http.Response) { r.Header["Content-Length"] = []string{"4", "5"} }), nil, 502, reasonProtocol},
		{"502 a content-length with a sign", nil, answers(func(r *http.Response) { r.Header["Content-Length"] = []string{"+4"} }), nil, 502, reasonProtocol},
		{"502 a content-length in words", nil, answers(func(r *http.Response) { r.Header["Content-Length"] = []string{"four"} }), nil, 502, reasonProtocol},
		{"502 a list of content-lengths", nil, answers(func(r *http.Response) { r.Header["Content-Length"] = []string{"4, 4"} }), nil, 502, reasonProtocol},
		{"502 a status beyond 5xx", nil, answers(func(r *http.Response) { r.StatusCode = 600 }), nil, 502, reasonProtocol},
		{"502 a head that is too large", nil, answers(func(r *http.Response) { r.Header.Set("X-Big", strings.Repeat("x", 70_000)) }), nil, 502, reasonTooLarge},
		{"502 a head of too many lines", nil, answers(func(r *http.Response) { r.Header["X-Many"] = slices.Repeat([]string{"x"}, 2000) }), nil, 502, reasonTooLarge},
		{"502 a request that was here before", nil, func(t *testing.T, s *stage) { s.connect(t, "", "", echo) },
			func(r *http.Request) { r.Header.Set("Via", strings.Repeat("1.1 spdy-proxy, ", 9)+"1.1 spdy-proxy") }, 502, reasonLoop},
		{"504 no headers in time", short, late, nil, 504, reasonTimeout},
		{"504 POST, no headers in time", short, late, func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader("body")), 4
		}, 504, reasonTimeout},
		{"405 TRACE", nil, func(*testing.T, *stage) {}, func(r *http.Request) { r.Method = "TRACE" }, 405, reasonRequest},
		{"431 a head that is too large", func(c *Config) { c.MaxHeaderBytes = 5000 }, func(t *testing.T, s *stage) { s.connect(t, "", "", echo) },
			func(r *http.Request) { r.Header.Set("X-Big", strings.Repeat("x", 5000)) }, 431, reasonRequest},
		{"503 too many requests to one origin", func(c *Config) { c.MaxRequests = -1 }, func(t *testing.T, s *stage) { s.connect(t, "", "", echo) }, nil, 503, reasonLimit},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, test.config)
			test.origin(t, s)
			s.each(t, func(t *testing.T, v *visitor) {
				r := v.request(t, "GET", "/", nil)
				if test.request != nil {
					test.request(r)
				}
				got := v.do(t, r)
				got.wantRefusal(t, test.status, test.reason)
				if allow := got.Header.Get("Allow"); (test.status == 405) != (allow != "") {
					t.Errorf("Allow %q", allow)
				}
				rec := s.record(t)
				if rec.Status != test.status || rec.Reason != test.reason || rec.Aborted {
					t.Errorf("record: status %d, reason %q, aborted %v", rec.Status, rec.Reason, rec.Aborted)
				}
			})
		})
	}
}

func TestConnect405(t *testing.T) {
	s := newStage(t, nil)
	got := s.raw(t, "CONNECT a.b:80 HTTP/1.1\r\nHost: a.b:80\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 405 ") || !strings.Contains(got, "\r\nAllow: ") {
		t.Errorf("CONNECT: %q, want 405", got)
	}
}

func TestHeadRefusal(t *testing.T) {
	s := newStage(t, nil)
	s.each(t, func(t *testing.T, v *visitor) {
		got := v.do(t, v.request(t, "HEAD", "/", nil))
		got.wantRefusal(t, 503, reasonUnavailable)
		if got.body != "" {
			t.Errorf("body %q", got.body)
		}
	})
}

// "it ended after them, or the body's length is not the announced one: a
// truncated body never looks complete."
func TestBrokenAfterHeaders(t *testing.T) {
	for _, test := range []struct {
		name   string
		length int64
		err    error
		ok     bool
	}{
		{"the stream was reset", 8, errResetByC, false},
		{"the stream was reset, length unknown", -1, errResetByC, false},
		{"the session ended, length unknown", -1, errCut, false},
		{"the session ended, no validator", 8, errCut, false},
		{"shorter than announced", 8, io.EOF, false},
		{"longer than announced", 3, io.EOF, false},
		{"the session ended when all had come", 4, errCut, true},
		{"whole", 4, io.EOF, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, nil)
			s.enroll(t, func(r *http.Request) (*http.Response, error) {
				resp := answerOf(r, 200, nil, "")
				resp.ContentLength = test.length
				resp.Header.Del("Content-Length")
				if test.length >= 0 {
					resp.Header.Set("Content-Length", fmt.Sprint(test.length))
				}
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), errReader{test.err}))
				return resp, nil
			})
			s.each(t, func(t *testing.T, v *visitor) {
				resp, err := v.rt.RoundTrip(v.request(t, "GET", "/", nil))
				var body []byte
				if err == nil {
					body, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				if test.name == "longer than announced" {
					// A sees as much as was announced, or a break.
					if string(body) != "bod" && err == nil {
						t.Errorf("A got %q", body)
					}
				} else if (err == nil) != test.ok || test.ok && string(body) != "body" {
					t.Errorf("A got %q, %v; want ok %v", body, err, test.ok)
				}
				rec := s.record(t)
				if rec.Aborted == test.ok || (rec.Reason != "") == test.ok {
					t.Errorf("record: aborted %v, reason %q", rec.Aborted, rec.Reason)
				}
			})
		})
	}
}

// In HTTP/1.0 a body of unknown length ends where the connection does.
func TestBrokenHTTP10(t *testing.T) {
	s := newStage(t, nil)
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		resp := answerOf(r, 200, nil, "")
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), errReader{errResetByC}))
		return resp, nil
	})
	for i, dial := range []func() (net.Conn, error){
		func() (net.Conn, error) { return net.Dial("tcp", s.visitors[0].addr) },
		func() (net.Conn, error) {
			return tls.Dial("tcp", s.visitors[1].addr, &tls.Config{InsecureSkipVerify: true})
		},
	} {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		if answer, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("connection %d: A got %q, %v; want a reset connection", i, answer, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// "A request whose A leaves is reset (CANCEL), and C's handler is told."
func TestVisitorLeaves(t *testing.T) {
	s := newStage(t, nil)
	started, told := make(chan bool, 10), make(chan error, 10)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
		}
		started <- true
		<-r.Context().Done()
		told <- r.Context().Err()
	})
	s.each(t, func(t *testing.T, v *visitor) {
		for _, path := range []string{"/", "/body"} {
			r := v.request(t, "GET", path, nil)
			ctx, cancel := context.WithCancel(r.Context())
			done, answered := make(chan bool), make(chan bool, 1)
			go func() {
				// Ends with the request, and is waited for below.
				defer close(done)
				resp, err := v.rt.RoundTrip(r.WithContext(ctx))
				if err == nil {
					answered <- true
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}()
			await(t, "the handler's start", started)
			if path == "/body" {
				await(t, "the headers", answered)
			}
			cancel()
			await(t, "the end of the handler's context", told)
			rec := s.record(t)
			if !rec.Aborted || path == "/" && rec.Status != statusLeft || path == "/body" && rec.Status != 200 {
				t.Errorf("%s: record: aborted %v, status %d", path, rec.Aborted, rec.Status)
			}
			await(t, "the request's end", done)
		}
	})
}

// Held requests leave when A leaves, and when the origin is back they go on.
func TestHeld(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo).gone()
	held := func(want int) {
		t.Helper()
		for end := time.Now().Add(patience); s.table.Waiting() != want; {
			if time.Now().After(end) {
				t.Fatalf("%d requests are held, want %d", s.table.Waiting(), want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	answers := make(chan reply, 10)
	cancels := make(map[string]context.CancelFunc)
	for _, v := range s.visitors {
		ctx, cancel := context.WithCancel(context.Background())
		cancels[v.proto] = cancel
		leaver := v.request(t, "GET", "/", nil).WithContext(ctx)
		// Each ends with its request; the answers are waited for.
		go v.rt.RoundTrip(leaver)
		go func() { answers <- v.do(t, v.request(t, "POST", "/", strings.NewReader("body"))) }()
	}
	held(6)
	for _, cancel := range cancels {
		cancel()
	}
	held(3)
	for range s.visitors {
		if rec := s.record(t); rec.Status != statusLeft || rec.Held <= 0 {
			t.Errorf("record of one that left: status %d, held %v", rec.Status, rec.Held)
		}
	}
	s.connect(t, "", "", echo)
	for range s.visitors {
		if got := await(t, "an answer", answers); got.StatusCode != 200 || got.seen(t).Body != "body" {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		if rec := s.record(t); rec.Held <= 0 || rec.Replayed != 0 {
			t.Errorf("record: held %v, replayed %d", rec.Held, rec.Replayed)
		}
	}
}

// What is known as smuggling: the message could be read in two ways. Each is
// refused, or read in one way and no second request is made of it.
func TestSmuggling(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	for _, test := range []struct{ name, text string }{
		{"two content-lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody"},
		{"a list of content-lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nbody"},
		{"a content-length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody"},
		{"an unknown transfer-encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
		{"chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"},
		{"transfer-encoding on two lines", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
		{"a space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nbody"},
		{"a space before transfer-encoding's colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
		{"no host", "GET / HTTP/1.1\r\n\r\n"},
		{"a control byte in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-Y: a\x00b\r\n\r\n"},
		{"a header that starts with a fold", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
		{"a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"HTTP/0.9", "GET /\r\n\r\n"},
		{"a bare LF in a chunk header", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;\nx\r\nbody\r\n0\r\n\r\n"},
		{"a chunk without its end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodyGARBAGE0\r\n\r\n"},
		{"a chunk size with a sign", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n"},
		{"a chunk size that overflows", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n"},
	} {
		got := s.raw(t, test.text+"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
		if strings.Count(got, "HTTP/1.1 ") != 1 || !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 501") && !strings.HasPrefix(got, "HTTP/1.1 505") {
			t.Errorf("%s: %q, want one refusal", test.name, got)
		}
		if strings.Contains(got, "smuggled") {
			t.Errorf("%s: a second request was made of it: %q", test.name, got)
		}
	}
	t.Run("content-length beside transfer-encoding", func(t *testing.T) {
		// RFC 9112, 6.3: chunked counts; C must not see the other.
		got := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
		if strings.HasPrefix(got, "HTTP/1.1 200") && (!strings.Contains(got, `"Body":"body"`) || strings.Contains(got, `"Content-Length":["100"]`) || strings.Contains(got, "Transfer-Encoding\":")) {
			t.Errorf("%q", got)
		}
	})
	t.Run("a folded header", func(t *testing.T) {
		// RFC 9112, 5.2: a space takes the fold's place, or 400.
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Y: a\r\n b\r\n\r\n")
		if strings.HasPrefix(got, "HTTP/1.1 200") && !strings.Contains(got, `"X-Y":["a b"]`) {
			t.Errorf("%q", got)
		}
	})
}

// A body that was not read to its end never becomes the next request.
func TestUnreadBodyIsNoRequest(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, head := range []string{
		"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
		"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
		"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nX\r\n",
		"POST /first HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n",
	} {
		got := s.raw(t, head+smuggled)
		if strings.Contains(got, "smuggled") {
			t.Errorf("%q: the body became a request: %q", head, got)
		}
	}
}

// The body that A does not send is told to C, and A gets a 400.
func TestUnreadableBody400(t *testing.T) {
	s := newStage(t, nil)
	begun, failed := make(chan bool, 1), make(chan error, 1)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		io.ReadFull(r.Body, make([]byte, 4))
		begun <- true
		_, err := io.ReadAll(r.Body)
		failed <- err
	})
	conn, err := net.Dial("tcp", s.visitors[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n")
	await(t, "the body's start", begun)
	io.WriteString(conn, "X\r\n")
	answer, _ := io.ReadAll(conn)
	if got := string(answer); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "error="+reasonRequest) {
		t.Errorf("%q, want 400", got)
	}
	if err := await(t, "C's error", failed); err == nil {
		t.Error("C saw a whole body")
	}
}

// An origin's early answer reaches A while A still sends.
func TestEarlyAnswer(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too long", http.StatusRequestEntityTooLarge)
	})
	s.each(t, func(t *testing.T, v *visitor) {
		body := bytes.Repeat([]byte("x"), 4<<20)
		got := v.do(t, v.request(t, "POST", "/", bytes.NewReader(body)))
		if got.StatusCode != 413 || got.body != "too long\n" {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
	})
	t.Run("and then A falls silent", func(t *testing.T) {
		got := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin")
		if !strings.HasPrefix(got, "HTTP/1.1 413 ") {
			t.Errorf("%q", got)
		}
	})
}

// "Upgrade: websocket (no other) works end to end."
func TestUpgrade(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-Websocket-Key") != "k" {
			echo(w, r)
			return
		}
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-Websocket-Accept", "v")
		w.WriteHeader(101)
		http.NewResponseController(w).Flush()
		io.Copy(flusher{w}, r.Body)
		io.WriteString(w, " bye")
	})
	dial := func(t *testing.T, head string) (net.Conn, *bufio.Reader, *http.Response) {
		t.Helper()
		conn, err := net.Dial("tcp", s.visitors[0].addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, head)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return conn, r, resp
	}
	open := "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n"

	t.Run("both ways", func(t *testing.T) {
		conn, r, resp := dial(t, open)
		if resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "v" || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") ||
			len(resp.Header["Content-Type"]) > 0 {
			t.Fatalf("%d %v, want 101", resp.StatusCode, resp.Header)
		}
		for _, word := range []string{"one", "two"} {
			io.WriteString(conn, word)
			got := make([]byte, len(word))
			if _, err := io.ReadFull(r, got); err != nil || string(got) != word {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		if s.h.InFlight() != 1 {
			t.Errorf("%d in flight, want 1", s.h.InFlight())
		}
		conn.(*net.TCPConn).CloseWrite()
		if rest, err := io.ReadAll(r); err != nil || string(rest) != " bye" {
			t.Errorf("after A's end: %q, %v", rest, err)
		}
		rec := s.record(t)
		if rec.Status != 101 || !rec.Upgraded || rec.BytesIn != 6 || rec.BytesOut != 10 || rec.Aborted {
			t.Errorf("record: %d, upgraded %v, %d in, %d out, aborted %v", rec.Status, rec.Upgraded, rec.BytesIn, rec.BytesOut, rec.Aborted)
		}
	})
	t.Run("broken off by Shutdown", func(t *testing.T) {
		s := newStage(t, nil)
		s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(101)
			io.Copy(io.Discard, r.Body)
		})
		conn, err := net.Dial("tcp", s.visitors[0].addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, open)
		r := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.h.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
		if _, err := io.ReadAll(r); err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Error("the connection stays open")
			}
		}
		if s.h.InFlight() != 0 {
			t.Errorf("%d in flight after Shutdown", s.h.InFlight())
		}
	})
	for name, head := range map[string]string{
		"another protocol":  "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\nSec-WebSocket-Key: k\r\n\r\n",
		"not GET":           "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nContent-Length: 0\r\n\r\n",
		"not in Connection": "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
		"HTTP/1.0":          "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, resp := dial(t, head); resp.StatusCode != 200 || resp.Header.Get("Upgrade") != "" {
				t.Errorf("%d, Upgrade %q; want 200 without", resp.StatusCode, resp.Header.Get("Upgrade"))
			}
		})
	}
	t.Run("refused by C", func(t *testing.T) {
		s := newStage(t, nil)
		o := s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
		conn, err := net.Dial("tcp", s.visitors[0].addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, open)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 403 {
			t.Fatal(resp, err)
		}
		s.record(t)
		if _, err := o.member.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := o.member.InFlight(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
	t.Run("over h2 and SPDY it is a request like any other", func(t *testing.T) {
		for _, v := range s.visitors[1:] {
			r := v.request(t, "GET", "/", nil)
			r.Header.Set("Sec-Websocket-Key", "k")
			if v.proto != "h2" {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
			}
			if got := v.do(t, r); got.StatusCode != 200 {
				t.Errorf("%s: %d %q", v.proto, got.StatusCode, got.body)
			}
		}
	})
}

type flusher struct{ w http.ResponseWriter }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	http.NewResponseController(f.w).Flush()
	return n, err
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	s := newStage(t, nil)
	started, finish := make(chan bool), make(chan bool)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		started <- true
		<-finish
		io.WriteString(w, "done")
	})
	v := s.visitors[0]
	answer := make(chan reply, 1)
	// Ends with its request, and is waited for.
	go func() { answer <- v.do(t, v.request(t, "GET", "/", nil)) }()
	await(t, "the request", started)
	s.h.Stop()
	ended := make(chan error, 1)
	// Ends when the request does, and is waited for.
	go func() { ended <- s.h.Shutdown(t.Context()) }()
	late := s.visitors[1].get(t, "/")
	late.wantRefusal(t, 503, reasonInternal)
	select {
	case err := <-ended:
		t.Errorf("Shutdown returned %v while a request was running", err)
	default:
	}
	close(finish)
	if got := await(t, "the answer", answer); got.body != "done" {
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
	if err := await(t, "Shutdown", ended); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestMaxRequests(t *testing.T) {
	s := newStage(t, func(c *Config) { c.MaxRequests = 1 })
	started, finish := make(chan bool, 2), make(chan bool)
	block := func(w http.ResponseWriter, r *http.Request) {
		started <- true
		<-finish
	}
	s.connect(t, "", "", block)
	v := s.visitors[0]
	answer := make(chan reply, 1)
	// Ends with its request, and is waited for.
	go func() { answer <- v.do(t, v.request(t, "GET", "/", nil)) }()
	await(t, "the request", started)
	v.get(t, "/").wantRefusal(t, 503, reasonLimit)
	close(finish)
	if got := await(t, "the answer", answer); got.StatusCode != 200 {
		t.Errorf("the first: %d", got.StatusCode)
	}
	for range 2 {
		s.record(t) // written when its place is free again
	}
	if got := v.get(t, "/"); got.StatusCode != 200 {
		t.Errorf("after the first: %d %q", got.StatusCode, got.body)
	}
}

func TestSfString(t *testing.T) {
	if got := sfString("a\"b\\c\nd\xff"); got != `"a\"b\\c?d?"` {
		t.Errorf("%s", got)
	}
}

// A visitor can ask for a broken answer as often as it likes; the log has a line
// a minute.
func TestRefusedIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h, table := newIn(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		register(t, table, newScript(t, func(r *http.Request) (*http.Response, error) { return answerOf(r, 999, nil, ""), nil }))
		for _, pause := range []time.Duration{0, 0, 0, time.Minute} {
			time.Sleep(pause)
			if w, _ := serveIn(t, h, httptest.NewRequest("GET", "/", nil)); w.Code != 502 {
				t.Errorf("status %d, want 502", w.Code)
			}
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "times=1") || !strings.Contains(lines[1], "times=3") ||
			!strings.Contains(lines[0], `reason="status 999"`) {
			t.Errorf("four refused answers, the last after a minute: got the lines %q, want two", lines)
		}
		table.Shutdown(t.Context())
	})
}
