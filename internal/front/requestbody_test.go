package front

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

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

// "A request's body is read (and 100 Continue sent) only once its stream is open."
func TestExpectContinue(t *testing.T) {
	s := newStage(t, nil)
	got := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 503") || strings.Contains(got, "100 Continue") {
		t.Errorf("without an origin: %q, want a 503 alone", got)
	}
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(403)
			return
		}
		echo(w, r)
	})
	got = s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody")
	if !strings.HasPrefix(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200") || !strings.Contains(got, `"Body":"body"`) {
		t.Errorf("with one: %q, want 100, then 200", got)
	}
	if strings.Contains(got, `"Expect"`) {
		t.Errorf("C saw the Expect header: %q", got)
	}
}

// Bodies of any length pass both ways, streaming.
func TestBodies(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		io.Copy(w, r.Body)
	})
	s.each(t, func(t *testing.T, v *visitor) {
		for _, known := range []bool{true, false} {
			body := io.Reader(bytes.NewReader(big))
			if !known {
				body = io.MultiReader(body)
			}
			got := v.do(t, v.request(t, "PUT", "/", body))
			if got.err != nil || got.body != string(big) {
				t.Errorf("known length %v: %d bytes came back of %d: %v", known, len(got.body), len(big), got.err)
			}
			if rec := s.record(t); rec.BytesIn != int64(len(big)) || rec.BytesOut != int64(len(big)) || rec.Aborted {
				t.Errorf("record: %d bytes in, %d out, aborted %v", rec.BytesIn, rec.BytesOut, rec.Aborted)
			}
		}
	})
	s.each(t, func(t *testing.T, v *visitor) {
		// What comes is passed on before the rest does, both ways.
		r, w := io.Pipe()
		resp, err := v.rt.RoundTrip(v.request(t, "POST", "/", r))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for _, word := range []string{"one", "two", "three"} {
			io.WriteString(w, word)
			got := make([]byte, len(word))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
				t.Fatalf("got %q, %v; want %q", got, err, word)
			}
		}
		w.Close()
		if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
			t.Errorf("the rest: %q, %v", rest, err)
		}
	})
}

// http.Server's body may not be read after the handler: an attempt that still
// holds it gets an error.
func TestBodyAfterHandler(t *testing.T) {
	body := &requestBody{src: io.NopCloser(strings.NewReader("body")), e: &exchange{in: &http.Request{}}, out: make(http.Header)}
	a := &attemptBody{requestBody: body, ended: func() {}}
	if n, err := a.Read(make([]byte, 2)); n != 2 || err != nil {
		t.Errorf("a read before its end: %d, %v", n, err)
	}
	body.close()
	if n, err := a.Read(make([]byte, 2)); n != 0 || err != errBodyGone {
		t.Errorf("a read after it: %d, %v; want %v", n, err, errBodyGone)
	}
}
