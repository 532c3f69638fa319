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
		{name: "hostile-answers", about: "a c with a token for its own name that refuses, resets, breaks off or garbles each answer", lasts: 6 * time.Second,
			prepare: func(s *site) error {
				s.p.Args = append(s.p.Args, "--domain", "test")
				s.origins = 0
				s.maxLines = 10_000 // some for each of its sessions: it has a token
				return nil
			}, strike: hostileAnswers},
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
		if err := inTurn(ctx, i); err != nil {
			return err
		}
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
		t.evilOrigins(ctx, len(floods), func(ctx context.Context, c *spdyConn, i int) error {
			go c.read(nil) // ends with the connection, which evilOrigins closes
			return floods[i].pour(ctx, t, c)
		})
	})
	both.Go(func() { t.evilVisitors(ctx, len(floods)) })
	both.Wait()
}

// evilOrigins keeps n origins evil-0 to evil-(n-1) registered.
func (t *target) evilOrigins(ctx context.Context, n int, serve func(ctx context.Context, c *spdyConn, i int) error) {
	files := control.ClientTLS{CAFile: t.CA}
	cfg, err := files.Load()
	if err != nil {
		t.count(err.Error(), 1)
		return
	}
	crowd(ctx, n, func(ctx context.Context, i int) error {
		name := fmt.Sprintf("evil-%d", i)
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(attackerAddr(i, 4))}}
		d := control.Dialer{Addr: t.Control, Name: name, Instance: name, Token: t.Token, TLS: cfg, DialContext: from.DialContext}
		conn, err := d.Dial(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		t.count("sessions", 1)
		return serve(ctx, &spdyConn{Conn: conn, blocks: newBlocks(1), next: 1}, i)
	})
}

// evilVisitors asks n evil origins, so that they have something to answer.
func (t *target) evilVisitors(ctx context.Context, n int) {
	crowd(ctx, 2*n, func(ctx context.Context, i int) error {
		client := t.visitor(ctx, attackerAddr(0, 1))
		client.Timeout = 2 * time.Second
		defer client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(ctx, "GET", t.url("/"), nil)
		if err != nil {
			return err
		}
		r.Host = fmt.Sprintf("evil-%d.test", i%n)
		resp, err := client.Do(r)
		if err != nil {
			t.count("no answer", 1)
			return err
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		t.count(fmt.Sprintf("answers of %d", resp.StatusCode), 1)
		return errors.New("once")
	})
}

// hostileAnswers is a c that answers each request in one of several bad ways.
func hostileAnswers(ctx context.Context, t *target) {
	reply := func(c *spdyConn, id uint32, more ...string) []byte {
		return controlFrame(nil, spdySynReply, 0, u32(id), c.of(append([]string{":status", "200", ":version", "HTTP/1.1"}, more...)...))
	}
	bad := []func(c *spdyConn, id uint32) []byte{
		func(c *spdyConn, id uint32) []byte { return controlFrame(nil, spdyRstStream, 0, u32(id, 3)) }, // REFUSED_STREAM: may be sent again
		func(c *spdyConn, id uint32) []byte { return controlFrame(nil, spdyRstStream, 0, u32(id, 6)) },
		func(c *spdyConn, id uint32) []byte { return controlFrame(nil, spdyGoAway, 0, u32(0, 0)) }, // none was acted on
		func(c *spdyConn, id uint32) []byte { c.Close(); return nil },
		func(c *spdyConn, id uint32) []byte {
			return dataFrame(reply(c, id, "content-length", "10"), id, spdyFin, []byte("short"))
		},
		func(c *spdyConn, id uint32) []byte {
			return dataFrame(reply(c, id, "content-length", "1"), id, spdyFin, []byte("long"))
		},
		func(c *spdyConn, id uint32) []byte {
			return controlFrame(reply(c, id), spdyHeaders, spdyFin, u32(id), c.of("x", strings.Repeat("y", 1<<16)))
		},
		func(c *spdyConn, id uint32) []byte { return reply(c, id, "x", strings.Repeat("y", 1<<20)) },
		func(c *spdyConn, id uint32) []byte { return append(reply(c, id), reply(c, id)...) },
		func(c *spdyConn, id uint32) []byte {
			return controlFrame(nil, spdySynReply, 0, u32(id), c.of(":status", "101 Switching Protocols", ":version", "HTTP/1.1"))
		},
		func(c *spdyConn, id uint32) []byte {
			return controlFrame(nil, spdySynReply, 0, u32(id), c.of(":status", "99999", ":version", "HTTP/1.1"))
		},
		func(c *spdyConn, id uint32) []byte {
			b := reply(c, id)
			for range 100 {
				b = controlFrame(b, spdyHeaders, 0, u32(id), c.of("x", "y"))
			}
			return b
		},
		func(c *spdyConn, id uint32) []byte { return controlFrame(nil, spdySettings, 0, u32(1, 4, 0)) }, // no more streams
	}
	var both sync.WaitGroup
	// Each ends with ctx.
	both.Go(func() {
		t.evilOrigins(ctx, len(bad), func(ctx context.Context, c *spdyConn, i int) error {
			return c.read(func(f spdyFrame) {
				if f.kind == spdySynStream {
					t.count("requests", 1)
					if b := bad[i](c, f.id); b != nil {
						c.send(b)
					}
				}
			})
		})
	})
	both.Go(func() { t.evilVisitors(ctx, len(bad)) })
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
