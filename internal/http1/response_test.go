package http1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy/spdytest"
)

// How a response is written, byte for byte but for Date.
func TestResponse(t *testing.T) {
	const get10 = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
	long := strings.Repeat("x", 3000)
	for _, c := range []struct {
		name, sent string
		h          http.HandlerFunc
		want       string // LF for CRLF
	}{
		{"nothing", next, func(w http.ResponseWriter, r *http.Request) {}, "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		{"a small body has a length", next, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			io.WriteString(w, "b")
		}, "HTTP/1.1 200 OK\nContent-Length: 2\n\nab"},
		{"fields in order", next, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["B"] = []string{"1", "2"}
			w.Header()["C-lower"] = []string{"3"}
			w.Header()["A"] = []string{""}
			w.WriteHeader(404)
		}, "HTTP/1.1 404 Not Found\nA: \nB: 1\nB: 2\nC-lower: 3\nContent-Length: 0\n\n"},
		{"a length that was said", next, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3000")
			io.WriteString(w, long)
		}, "HTTP/1.1 200 OK\nContent-Length: 3000\n\n" + long},
		{"a body without a length", next, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, long)
		}, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nbb8\n" + long + "\n0\n\n"},
		{"a flush", next, func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		}, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\n1\nb\n0\n\n"},
		{"held, then more", next, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			io.WriteString(w, long)
		}, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\nbb8\n" + long + "\n0\n\n"},
		{"trailers", next, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-T, X-Not")
			io.WriteString(w, "a")
			w.Header().Set("X-T", "1")
			w.Header().Set("X-Other", "2")
			w.Header().Set(http.TrailerPrefix+"X-U", "3")
		}, "HTTP/1.1 200 OK\nTrailer: X-T, X-Not\nTransfer-Encoding: chunked\n\n1\na\n0\nX-T: 1\nX-U: 3\n\n"},
		{"trailers that were not announced", next, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			w.Header().Set(http.TrailerPrefix+"X-U", "3")
		}, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\n0\nX-U: 3\n\n"},
		{"trailers that frame", next, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			w.Header().Set(http.TrailerPrefix+"content-length", "9")
			w.Header().Set(http.TrailerPrefix+"Connection", "close")
			w.Header().Set(http.TrailerPrefix+"X-U", "3")
		}, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\n0\nX-U: 3\n\n"},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			if n, err := io.WriteString(w, "hello"); n != 5 || err != nil {
				t.Errorf("HEAD: Write got %d, %v", n, err)
			}
		}, "HTTP/1.1 200 OK\nContent-Length: 5\n\n"},
		{"204", next, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "hello"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("204: Write got %v", err)
			}
		}, "HTTP/1.1 204 No Content\n\n"},
		{"304", next, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(304)
		}, "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n"},
		{"interim", next, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
			w.WriteHeader(200)
			w.WriteHeader(201) // too late
			w.WriteHeader(100) // too
		}, "HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 200 OK\nLink: </a>\nContent-Length: 0\n\n"},
		{"no interim in HTTP/1.0", get10, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(100) },
			"HTTP/1.1 200 OK\nContent-Length: 0\nConnection: keep-alive\n\n"},
		{"HTTP/1.0", get10, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a") },
			"HTTP/1.1 200 OK\nContent-Length: 1\nConnection: keep-alive\n\na"},
		{"HTTP/1.0 without a length", get10, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, long) },
			"HTTP/1.1 200 OK\nConnection: close\n\n" + long},
		{"close", next, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "Close") },
			"HTTP/1.1 200 OK\nContent-Length: 0\nConnection: Close\n\n"},
		{"close, asked for", get + "Connection: close\r\n\r\n", func(w http.ResponseWriter, r *http.Request) {},
			"HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n"},
		{"another option", get + "Connection: close\r\n\r\n", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(426)
		}, "HTTP/1.1 426 Upgrade Required\nUpgrade: websocket\nContent-Length: 0\nConnection: Upgrade, close\n\n"},
		{"what is not the handler's", next, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Transfer-Encoding", "gzip")
			w.Header()["Bad Name"] = []string{"1"}
			w.Header()["Split"] = []string{"a\r\nb: c\x00"}
		}, "HTTP/1.1 200 OK\nSplit: a  b: c \nContent-Length: 0\n\n"},
		{"a body that is not read", post + "Content-Length: 5\r\n\r\nhel", func(w http.ResponseWriter, r *http.Request) {},
			"HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n"},
		{"a body that is not read, but has come", post + "Content-Length: 5\r\n\r\nhello", func(w http.ResponseWriter, r *http.Request) {},
			"HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		{"chunks that are not read", in + end, func(w http.ResponseWriter, r *http.Request) {},
			"HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n"},
	} {
		bubble(t, func(t *testing.T) {
			b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Date"] = nil
				c.h(w, r)
			}, nil)
			defer b.close()
			cl := b.dial(spdytest.PipeConfig{})
			defer cl.Close()
			cl.send(c.sent)
			got, end := cl.take()
			if got != strings.ReplaceAll(c.want, "\n", "\r\n") {
				t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
			}
			if closed := strings.Contains(strings.ToLower(got), "close\r\n"); closed != (end == io.EOF) {
				t.Errorf("%s: %q, and the connection ends with %v", c.name, got, end)
			}
		})
	}
}

// Each response has a Date, that of the time.
func TestDate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, echo, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		for range 3 {
			cl.send(next)
			got, _ := cl.take()
			if want := "\r\nDate: " + time.Now().UTC().Format(http.TimeFormat) + "\r\n"; !strings.Contains(got, want) {
				t.Errorf("got %q, want %q in it", got, want)
			}
			time.Sleep(time.Minute + tick)
		}
	})
}

// What is written past the announced length is refused, and what is short looks so.
func TestLengths(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3")
			n, err := io.WriteString(w, r.URL.Path[1:])
			if r.URL.Path == "/long" && (n != 0 || !errors.Is(err, http.ErrContentLength)) {
				t.Errorf("Write: got %d, %v", n, err)
			}
		}, nil)
		defer b.close()
		for path, want := range map[string]string{"abc": "200 abc; open", "ab": "200 ab, cut short; closed", "long": "200 , cut short; closed"} {
			cl := b.dial(spdytest.PipeConfig{})
			cl.send("GET /" + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
			cl.want(path, strings.Replace(want, " ,", ",", 1))
			cl.Close()
		}
	})
}

// 100 (Continue) is sent when the body is read, and not where it has come.
func TestContinue(t *testing.T) {
	const expecting = post + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	bubble(t, func(t *testing.T) {
		read := make(chan bool)
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			if <-read {
				echo(w, r)
			}
		}, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		cl.send(expecting)
		cl.want("before the body is read", "open")
		read <- true
		cl.want("while it is read", "100; open")
		cl.send("body")
		cl.want("with the body", `200 POST a / "body"; open`)
		cl.send(expecting + "body")
		read <- true
		cl.want("a body that did not wait", `200 POST a / "body"; open`)
		cl.send(expecting)
		read <- false
		cl.want("a body that nobody wants", "200; closed")
		cl.Close()
	})
}

// A handler reads while it writes.
func TestFullDuplex(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			if err := rc.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			for buf := make([]byte, 100); ; {
				n, err := r.Body.Read(buf)
				w.Write(buf[:n])
				rc.Flush()
				if err != nil {
					return
				}
			}
		}, nil)
		defer b.close()
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send(in + "2\r\nab\r\n")
		if got, _ := cl.take(); !strings.HasSuffix(got, "2\r\nab\r\n") {
			t.Errorf("got %q", got)
		}
		cl.send("1\r\nc\r\n" + end)
		if got, err := cl.take(); got != "1\r\nc\r\n0\r\n\r\n" || err != io.EOF {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// Who takes the connection has what was sent behind the request, and no more of it
// is the server's.
func TestHijack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hijack := make(chan struct{})
		var states []http.ConnState
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			<-hijack
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("Write behind it: got %v", err)
			}
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("once more: got %v", err)
			}
			early, _ := rw.Reader.Peek(rw.Reader.Buffered())
			go func() { // ends with the connection
				fmt.Fprintf(conn, "%s|", early)
				io.Copy(conn, conn)
				conn.Close()
			}()
		}, func(b *bed) {
			b.hs.ConnState = func(_ net.Conn, s http.ConnState) { states = append(states, s) }
		})
		defer b.close()
		for _, wait := range []time.Duration{0, watched} {
			states = nil
			cl := b.dial(spdytest.PipeConfig{})
			cl.send(next + "ear")
			time.Sleep(wait)
			cl.send("ly")
			hijack <- struct{}{}
			synctest.Wait()
			cl.send(" late")
			time.Sleep(time.Hour)
			cl.send(" and later")
			cl.CloseWrite()
			if got, err := cl.take(); strings.Replace(got, "|", "", 1) != "early late and later" || !strings.HasPrefix(got, "ear") || err != io.EOF {
				t.Errorf("got %q, %v", got, err)
			}
			if got := fmt.Sprint(states); got != "[new active hijacked]" {
				t.Errorf("states: %v", got)
			}
			cl.Close()
			synctest.Wait()
		}
	})
}

// Who still has a response when its handler has returned, or panicked, does nothing
// to the next one.
func TestLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first := make(chan http.ResponseWriter, 1)
		goOn := make(chan struct{})
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/first":
				w.(http.Flusher).Flush() // its end is in chunks
				first <- w
			case "/panic":
				first <- w
				panic(http.ErrAbortHandler)
			default:
				io.WriteString(w, "next")
				<-goOn
			}
		}, nil)
		defer b.close()
		late := func() {
			t.Helper()
			w := <-first
			if _, err := io.WriteString(w, "late"); !errors.Is(err, errLate) {
				t.Errorf("Write: got %v", err)
			}
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, errLate) {
				t.Errorf("Flush: got %v", err)
			}
			w.WriteHeader(http.StatusContinue)
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, errLate) {
				t.Errorf("Hijack: got %v", err)
			}
		}
		cl := b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n" + next)
		late()
		goOn <- struct{}{}
		cl.want("both", "200; 200 next; open")
		cl = b.dial(spdytest.PipeConfig{})
		defer cl.Close()
		cl.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n")
		late()
		cl.want("a panic", "closed")
	})
}
