package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/amahi/spdy-proxy/internal/control"
)

func originAttacks() []attack {
	return []attack{
		{name: "broken-service", about: "a service that answers with endless heads, interim answers, trailers, chunks, and nonsense", lasts: 6 * time.Second,
			prepare: brokenService, strike: visitBroken},
		{name: "deaf-service", about: "10 290 uploads to a service that reads none of them", lasts: 6 * time.Second,
			prepare: func(s *site) error { return s.plainService(deaf) }, strike: fillWindows},
		{name: "h2-full-windows", about: "200 connections with a megabyte each of an upload that is not read, from one address", lasts: 6 * time.Second,
			prepare: func(s *site) error { return s.plainService(deaf) }, strike: fillH2},
		{name: "spdy-full-windows", about: "1 000 uploads that are not read, as much of each as p takes, from one address", lasts: 6 * time.Second,
			prepare: func(s *site) error { return s.plainService(deaf) }, strike: fillSPDY},
		{name: "hostile-origin", about: "a c with a token for its own name, and visitors of it: endless frames of each kind", lasts: 6 * time.Second,
			prepare: func(s *site) error {
				s.p.Args = append(s.p.Args, "--domain", "test")
				s.origins = 0
				return nil
			}, strike: hostileOrigin},
		{name: "no-files", about: "a c that has no file descriptors left", lasts: 5 * time.Second, prepare: fewFiles, strike: askMuch},
	}
}

// brokenAnswers is what a broken service writes: once, and then again and again.
var brokenAnswers = [][2]string{
	{"HTTP/1.1 100 Continue\r\n\r\n", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100)},
	{"HTTP/1.1 103 Early Hints\r\n\r\n", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </"+strings.Repeat("x", 1000)+">\r\n\r\n", 100)},
	{"HTTP/1.1 200 OK\r\n", strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100)},
	{"HTTP/1.1 200 OK\r\n", strings.Repeat("X: y\r\n", 10_000)},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100)},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", strings.Repeat("1;"+strings.Repeat("e", 200)+"\r\nx\r\n", 200)},
	{"HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 64<<10)},
	{"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n", strings.Repeat("x", 64<<10)},
	{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx", ""},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345", ""},
	{"HTTP/1.1 99 Low\r\n\r\n", ""},
	{"HTTP/1.1 1000 High\r\n\r\n", ""},
	{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", strings.Repeat("\x81\x7f", 1000)},
	{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n12345", ""},
	{"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", ""},
	{"HTTP/0.0 200 OK\r\n\r\n", ""},
	{"\x16\x03\x01\x02\x00\x01", ""},
	{"", strings.Repeat("\x00", 64<<10)},
	{"HTTP/1.1 200 " + strings.Repeat("long ", 100) + "\r\n\r\n", ""},
	{"HTTP/1.1 200 OK\r\n\r\r\r\n: empty\r\nA B: c\r\n\x01: d\r\n\r\n", ""},
	{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", ""},
	{"HTTP/1.1 302 Found\r\nLocation: " + strings.Repeat("/x", 20_000) + "\r\nContent-Length: 0\r\n\r\n", ""},
}

// brokenService has c serve a service that answers /broken?N by the Nth of
// brokenAnswers.
func brokenService(s *site) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.cleanups = append(s.cleanups, func() { ln.Close() })
	// Ends with the listener, which close ends.
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			// Ends with the connection: c's, which ends before the listener.
			go s.answerBadly(conn)
		}
	}()
	s.c.Args = append(s.c.Args, "--to", "http://"+ln.Addr().String())
	return nil
}

func (s *site) answerBadly(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		var n int
		if _, err := fmt.Sscanf(req.URL.RawQuery, "%d", &n); err != nil || n >= len(brokenAnswers) {
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(s.goodBody), s.goodBody)
			continue
		}
		if _, err := io.WriteString(conn, brokenAnswers[n][0]); err != nil || brokenAnswers[n][1] == "" {
			return
		}
		// As long as c takes it, and for five seconds at most; not so fast that this
		// process, in which the innocent visitor is too, has nothing else to do.
		conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		for {
			time.Sleep(10 * time.Millisecond)
			if _, err := io.WriteString(conn, brokenAnswers[n][1]); err != nil {
				return
			}
		}
	}
}

func visitBroken(ctx context.Context, t *target) {
	crowd(ctx, 2*len(brokenAnswers), func(ctx context.Context, i int) error {
		client := t.visitor(ctx, attackerAddr(0, 1))
		client.Timeout = 2 * time.Second
		defer client.CloseIdleConnections()
		err := t.get(ctx, client, fmt.Sprintf("/broken?%d", i%len(brokenAnswers)), 10<<20)
		if err != nil {
			t.count("no answer", 1)
		}
		return err
	})
}

// deaf reads no body, and answers none but GET.
func deaf(s *site) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			<-r.Context().Done()
			return
		}
		w.Write(s.goodBody)
	})
}

func fillWindows(ctx context.Context, t *target) {
	crowd(ctx, holdConns, func(ctx context.Context, i int) error {
		h, err := t.dialH2(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		go h.read(nil) // ends with the connection
		piece := make([]byte, 4<<10)
		err = h.do(func() {
			for range holdStreams {
				h.fr.WriteData(h.open(false, "POST", "/deaf"), false, piece)
			}
		})
		if err != nil {
			return err
		}
		t.count("held", holdStreams)
		<-ctx.Done()
		return ctx.Err()
	})
}

func fillH2(ctx context.Context, t *target) {
	crowd(ctx, 200, func(ctx context.Context, i int) error {
		h, err := t.dialH2(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		piece := make([]byte, 16<<10)
		left := 65535 // of the connection's window; one stream's is as large
		send := func() {
			h.do(func() {
				for ; left >= len(piece); left -= len(piece) {
					h.fr.WriteData(1, false, piece)
					t.count("bytes", int64(len(piece)))
				}
			})
		}
		if err := h.do(func() { h.open(false, "POST", "/deaf") }); err != nil {
			return err
		}
		return h.read(func(f http2.Frame) {
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					left += int(f.Increment)
				}
				if f.StreamID == 1 {
					t.count("windows of the stream", 1)
				}
			}
			send()
		})
	})
}

func fillSPDY(ctx context.Context, t *target) {
	crowd(ctx, 4, func(ctx context.Context, i int) error {
		c, err := t.dialSPDY(ctx, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		go c.read(nil) // ends with the connection
		piece := make([]byte, 16<<10)
		for range 250 {
			id := c.next
			b := c.open(nil, 0, "POST", "/deaf")
			for range 4 {
				b = dataFrame(b, id, 0, piece[:16000])
			}
			if err := c.send(b); err != nil {
				return err
			}
			t.count("bytes", 4*16000)
		}
		<-ctx.Done()
		return ctx.Err()
	})
}

// hostileOrigin is a c that registers, and pours one kind of frame into p; a
// visitor of it asks meanwhile, so that there are streams to be answered.
func hostileOrigin(ctx context.Context, t *target) {
	files := control.ClientTLS{CAFile: t.CA}
	cfg, err := files.Load()
	if err != nil {
		t.count(err.Error(), 1)
		return
	}
	floods := append(spdyFrameFloods(),
		flood{nil, func(c *spdyConn, n uint32) []byte {
			id := 2*(n%1000) + 1
			b := controlFrame(nil, spdySynReply, 0, u32(id), c.of(":status", "200", ":version", "HTTP/1.1"))
			return dataFrame(b, id, 0, make([]byte, 10_000))
		}},
		flood{nil, func(c *spdyConn, n uint32) []byte {
			id := 2*(n%1000) + 1
			return controlFrame(nil, spdySynReply, 0, u32(id), c.of(":status", "200", ":version", "HTTP/1.1", "x", strings.Repeat("y", 1<<16)))
		}},
		flood{nil, func(c *spdyConn, n uint32) []byte {
			id := c.next + 1 // even: a push
			c.next += 2
			return controlFrame(nil, spdySynStream, 2, u32(id, 1), []byte{0, 0}, c.request("GET", "/"))
		}},
	)
	var both sync.WaitGroup
	// Each ends with ctx.
	both.Go(func() {
		crowd(ctx, len(floods), func(ctx context.Context, i int) error {
			name := fmt.Sprintf("evil-%d", i)
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(attackerAddr(i, 4))}}
			d := control.Dialer{Addr: t.Control, Name: name, Instance: name, Token: t.Token, TLS: cfg, DialContext: from.DialContext}
			conn, err := d.Dial(ctx)
			if err != nil {
				return err
			}
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			t.count("sessions", 1)
			c := &spdyConn{Conn: conn, blocks: newBlocks(1), next: 1}
			go c.read(nil) // ends with the connection, by pour's end
			defer conn.Close()
			return floods[i].pour(ctx, t, c)
		})
	})
	both.Go(func() {
		crowd(ctx, 2*len(floods), func(ctx context.Context, i int) error {
			client := t.visitor(ctx, attackerAddr(0, 1))
			client.Timeout = 2 * time.Second
			defer client.CloseIdleConnections()
			r, err := http.NewRequestWithContext(ctx, "GET", t.url("/"), nil)
			if err != nil {
				return err
			}
			r.Host = fmt.Sprintf("evil-%d.test", i%len(floods))
			resp, err := client.Do(r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
			return errors.New("once")
		})
	})
	both.Wait()
}

// fewFiles starts c with as many file descriptors as it needs to run and few
// more.
func fewFiles(s *site) error {
	s.c.Args = slices.Concat([]string{"-c", `ulimit -n 24 && exec "$0" "$@"`, s.c.Path}, s.c.Args)
	s.c.Path = "/bin/sh"
	s.excuse = "an answer of 503"
	return nil
}

func askMuch(ctx context.Context, t *target) {
	crowd(ctx, 200, func(ctx context.Context, i int) error {
		client := t.visitor(ctx, attackerAddr(0, 1))
		defer client.CloseIdleConnections()
		for {
			if err := t.get(ctx, client, "/"+bigFile, 100_000, "Range", "bytes=0-99999"); err != nil {
				return err
			}
		}
	})
}
