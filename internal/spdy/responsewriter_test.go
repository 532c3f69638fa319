package spdy_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A body that is copied from a slow source goes out as it comes, with a
// Content-Type or without.
func TestReadFromSlowSource(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		r, w := io.Pipe()
		h.mux.HandleFunc("/slow", func(rw http.ResponseWriter, _ *http.Request) { io.Copy(rw, r) })
		h.p.Send(req(1, "/slow"))
		io.WriteString(w, "<html>")
		h.p.Want("the first bytes", spdytest.SynReply(1, 0, nv(":status", "200 OK"), nv("content-type", "text/html; charset=utf-8")), data(1, "<html>"))
		io.WriteString(w, "more")
		h.p.Want("the next bytes", data(1, "more"))
		w.Close()
		h.p.Want("the end", data(1, "", fin))
	})
}

// readySource is a source that says whether it has something, as the body of another
// session's response does.
type readySource struct {
	io.Reader
	ready bool
	read  chan struct{} // closed by the first Read, which goes on when goOn is
	goOn  chan struct{}
}

func (s *readySource) Ready() bool { return s.ready }

func (s *readySource) Read(p []byte) (int, error) {
	if s.read != nil {
		close(s.read)
		<-s.goOn
		s.read = nil
	}
	return s.Reader.Read(p)
}

// What is there goes out with the head, and for what is not, the head does not wait.
func TestReadFromReadySource(t *testing.T) {
	for _, ready := range []bool{true, false} {
		onServer(t, setup{}, func(h *serverTest) {
			source := &readySource{strings.NewReader("text"), ready, make(chan struct{}), make(chan struct{})}
			read := source.read
			h.mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/x")
				w.Header().Set("Content-Length", "4")
				w.WriteHeader(200)
				io.Copy(w, source)
			})
			h.p.Send(req(1, "/ready"))
			<-read
			head := spdytest.SynReply(1, 0, nv(":status", "200 OK"), nv("content-type", "text/x"), nv("content-length", "4"))
			if ready {
				h.p.WantIdle("before there is a body")
				close(source.goOn)
				h.p.Want("the head and the body", head, data(1, "text", fin))
			} else {
				h.p.Want("the head, before there is a body", head)
				close(source.goOn)
				// Its end is known with the Read behind it, and comes by itself where the
				// writer was sooner.
				body := h.p.Next("the body")
				if string(body.Data) != "text" {
					t.Errorf("got %v, want the body", body)
				}
				if body.Flags != fin {
					h.p.Want("the end", data(1, "", fin))
				}
			}
		})
	}
}

// Names that a handler spells in its own way are sent once all the same.
func TestHandlersOwnSpelling(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) {
			for name, value := range map[string]string{"content-length": "2", "content-type": "text/x", "date": "today"} {
				w.Header()[name] = []string{value}
			}
			io.WriteString(w, "ok")
		})
		h.p.Send(req(1, "/own"))
		m := h.wantResponse("the response", 1, "200", "ok")
		seen := make(map[string]bool)
		for _, p := range m.head.Pairs {
			if seen[p.Name] {
				h.Errorf("%q was sent twice", p.Name)
			}
			seen[p.Name] = true
		}
		if got, _ := m.head.Get("content-type"); got != "text/x" {
			h.Errorf("content-type: got %q, want text/x", got)
		}
	})
}

// A header block that a peer's default limits would end the session for is not
// sent: one request's headers must not cost the others their session.
func TestHeaderBlockTooLargeToSend(t *testing.T) {
	large := strings.Repeat("v", 200<<10)
	client, server := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/reply":
			w.Header().Set("X-Large", large)
			io.WriteString(w, "ok")
		case "/trailer":
			w.Header().Set(http.TrailerPrefix+"X-Large", large)
			io.WriteString(w, "ok")
		case "/read":
			io.Copy(io.Discard, r.Body)
		}
	}))
	do := func(req *http.Request) error {
		resp, err := client.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	inHeader := request(t, "GET", "/", nil)
	inHeader.Header.Set("X-Large", large)
	inTrailer := request(t, "POST", "/read", unsized{strings.NewReader("x")})
	inTrailer.Trailer = http.Header{"X-Large": {large}}
	for name, req := range map[string]*http.Request{
		"request": inHeader, "request's trailer": inTrailer,
		"reply": request(t, "GET", "/reply", nil), "reply's trailer": request(t, "GET", "/trailer", nil),
	} {
		if err := do(req); err == nil || spdy.Retryable(err) {
			t.Errorf("%s: got %v, want an error that is not retryable", name, err)
		}
	}
	if err := errors.Join(client.Err(), server.Err()); err != nil {
		t.Errorf("the session: got %v, want it to go on", err)
	}
	if err := do(request(t, "GET", "/", nil)); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

// A handler whose source panics ends its stream, not the process.
func TestPanicInCopiedSource(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.Copy(w, panics{})
		})
		h.p.Send(req(1, "/panic"))
		h.wantStatusFin("nothing was sent yet", 1, "500")
		h.alive(3)
	})
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic(http.ErrNotSupported) }

// Seek makes it a file, which is read before anything is sent.
func (panics) Seek(int64, int) (int64, error) { return 0, nil }

// The last bytes of a body whose length is known do not wait until their source says
// that it has no more.
func TestReadFromLateEnd(t *testing.T) {
	for _, typed := range []bool{true, false} {
		onServer(t, setup{}, func(h *serverTest) {
			r, w := io.Pipe()
			defer w.Close()
			h.mux.HandleFunc("/late", func(rw http.ResponseWriter, _ *http.Request) {
				if typed {
					rw.Header().Set("Content-Type", "text/x")
				}
				rw.Header().Set("Content-Length", "10")
				io.Copy(rw, r)
			})
			h.p.Send(req(1, "/late"))
			io.WriteString(w, "0123456789")
			h.p.Want("all of it", spdytest.SynReply(1, 0, nv("content-length", "10")), data(1, "0123456789"))
			h.p.WantIdle("the source has not ended")
			w.Close()
			h.p.Want("the end", data(1, "", fin))
		})
		onServer(t, setup{}, func(h *serverTest) {
			r, w := io.Pipe()
			defer w.Close()
			failed := make(chan error, 1)
			h.mux.HandleFunc("/more", func(rw http.ResponseWriter, _ *http.Request) {
				if typed {
					rw.Header().Set("Content-Type", "text/x")
				}
				rw.Header().Set("Content-Length", "10")
				_, err := io.Copy(rw, r)
				failed <- err
			})
			h.p.Send(req(1, "/more"))
			io.WriteString(w, "0123456789")
			h.p.Want("all of it", spdytest.SynReply(1, 0, nv("content-length", "10")), data(1, "0123456789"))
			io.WriteString(w, "x")
			if err := <-failed; err != http.ErrContentLength {
				h.Errorf("one byte too many: got %v, want %v", err, http.ErrContentLength)
			}
			h.p.Want("the end", data(1, "", fin))
		})
	}
}
