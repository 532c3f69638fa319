package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// perAddr is how many connections each of an attacker's addresses makes where it
// has several: below p's cap, so that all are taken.
const perAddr = 250

func h1Attacks() []attack {
	return []attack{
		{name: "slow-heads", about: "1 000 connections from four addresses: silent, idle after TLS, or with a head that comes a byte a second", lasts: 8 * time.Second, strike: slowHeads},
		{name: "crowded-front", about: "15 000 silent connections from sixty addresses, each within its cap, that come again when they are closed", lasts: 12 * time.Second, strike: crowdedFront},
		{name: "one-address", about: "as many connections as there can be from one address", lasts: 5 * time.Second, strike: oneAddress,
			after: func(_ context.Context, s *site, n counts) {
				if n["held at once"] > 256 {
					s.failf("one address held more than 256 connections")
				}
			}},
		{name: "handshakes", about: "TLS handshakes, whole and half", lasts: 5 * time.Second, strike: handshakes},
		{name: "pipelines", about: "requests without end on one connection, whose answers are not read", lasts: 5 * time.Second, strike: pipelines},
		{name: "junk", about: "bytes that are no request, and requests that are none", lasts: 5 * time.Second, strike: junk,
			after: func(_ context.Context, s *site, n counts) {
				for name := range n {
					if strings.HasPrefix(name, fine) {
						s.failf("there is a request that should not have been %s", name)
					}
				}
			}},
		{name: "long-heads", about: "heads of ten megabytes, and of a hundred thousand lines", lasts: 5 * time.Second, strike: longHeads},
		{name: "chunks", about: "bodies in chunks of one byte with long extensions, and trailers without end", lasts: 5 * time.Second, strike: chunks},
		{name: "odd-paths", about: "paths of 60 KB, with control characters, with bytes that are no UTF-8", lasts: 5 * time.Second, strike: oddPaths},
		{name: "ranges", about: "a thousand ranges of a large file in each request", lasts: 5 * time.Second, strike: ranges},
		{name: "h1-no-read", about: "250 downloads of which not a byte is read, from one address", lasts: 8 * time.Second,
			prepare: func(s *site) error { s.stallSoon(); return nil }, strike: noRead,
			after: func(_ context.Context, s *site, n counts) {
				if s.number == 1 && n["broken off"] < perAddr {
					s.failf("%d downloads that were not read have been broken off, want %d", n["broken off"], perAddr)
				}
			}},
		{name: "abandoned", about: "large downloads of which the first bytes are read", lasts: 5 * time.Second, strike: abandoned},
	}
}

func slowHeads(ctx context.Context, t *target) {
	held, closed := t.counter("connections"), t.counter("closed by p")
	crowd(ctx, 4*perAddr, func(ctx context.Context, i int) error {
		conn, err := t.dial(ctx, t.Front, attackerAddr(i, perAddr))
		if err != nil {
			return err
		}
		if i%3 > 0 && t.TLS {
			if conn, err = secure(ctx, conn, "http/1.1"); err != nil {
				return err
			}
		}
		held.Add(1)
		if i%3 < 2 {
			io.Copy(io.Discard, conn)
		} else {
			head := "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + strings.Repeat("x", 1000)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for j := range head {
				if _, err := io.WriteString(conn, head[j:j+1]); err != nil {
					break
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		}
		if ctx.Err() == nil {
			closed.Add(1)
		}
		return errors.New("closed")
	})
}

// oneAddress also sees how many it can hold.
func oneAddress(ctx context.Context, t *target) {
	most := t.counter("held at once")
	open := t.counter("held at the end")
	crowd(ctx, 3000, func(ctx context.Context, i int) error {
		conn, err := t.dial(ctx, t.Front, attackerAddr(0, 1))
		if err != nil {
			return err
		}
		// P closes at once what is too many.
		conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		var timeout interface{ Timeout() bool }
		if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &timeout) {
			t.count("refused", 1)
			return err
		}
		conn.SetReadDeadline(time.Time{})
		if n := open.Add(1); n > most.Load() {
			most.Store(n)
		}
		_, err = io.Copy(io.Discard, conn)
		if ctx.Err() == nil {
			open.Add(-1)
		}
		return errors.Join(err, io.EOF)
	})
}

func handshakes(ctx context.Context, t *target) {
	whole, half := t.counter("whole"), t.counter("half")
	// What a client says first, and then nothing more.
	var hello bytes.Buffer
	secure(ctx, onlyWrites{w: &hello}, "h2")
	crowd(ctx, 48, func(ctx context.Context, i int) error {
		conn, err := t.dial(ctx, t.Front, attackerAddr(i, 8))
		if err != nil {
			return err
		}
		if i%3 == 0 {
			conn.Write(hello.Bytes())
			half.Add(1)
			io.ReadFull(conn, make([]byte, 1))
			return nil
		}
		_, err = secure(ctx, conn, "h2")
		if err == nil {
			whole.Add(1)
		}
		return err
	})
}

// onlyWrites is a connection that keeps what is written to it, and has nothing
// to read.
type onlyWrites struct {
	net.Conn
	w io.Writer
}

func (c onlyWrites) Write(p []byte) (int, error)      { return c.w.Write(p) }
func (c onlyWrites) Read([]byte) (int, error)         { return 0, io.EOF }
func (c onlyWrites) Close() error                     { return nil }
func (c onlyWrites) SetDeadline(time.Time) error      { return nil }
func (c onlyWrites) SetWriteDeadline(time.Time) error { return nil }

// pour writes the same text again and again, and reads nothing. It gives up on a
// p that does not read for two seconds.
func (t *target) pour(ctx context.Context, from, first, again string) error {
	conn, err := t.visit(ctx, from, "http/1.1")
	if err != nil {
		return err
	}
	defer conn.Close()
	text := []byte(first)
	for {
		conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		n, err := conn.Write(text)
		t.count("bytes", int64(n))
		if err != nil {
			if ctx.Err() == nil {
				t.count("ended by p", 1)
			}
			return err
		}
		text = []byte(again)
	}
}

func pipelines(ctx context.Context, t *target) {
	one := "GET /" + smallFile + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
	crowd(ctx, 16, func(ctx context.Context, i int) error {
		return t.pour(ctx, attackerAddr(0, 1), one, strings.Repeat(one, 200))
	})
}

// fine begins the counts of bad requests that were taken for good ones.
const fine = "answered by 200:"

// badRequests are no HTTP/1.1 that anybody should answer by 200.
var badRequests = []string{
	strings.Repeat("\x00\xff\x16\x03", 4000),
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
	"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
	"GET / HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: local host\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: localhost\r\nA B: c\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n",
	"GET /../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 200-maybe\r\nContent-Length: 5\r\n\r\n",
}

func junk(ctx context.Context, t *target) {
	crowd(ctx, 16, func(ctx context.Context, i int) error {
		for j := range badRequests {
			conn, err := t.visit(ctx, attackerAddr(0, 1), "http/1.1")
			if err != nil {
				return err
			}
			io.WriteString(conn, badRequests[(i+j)%len(badRequests)])
			conn.SetReadDeadline(time.Now().Add(time.Second))
			line, _ := bufio.NewReader(conn).ReadString('\n')
			if strings.Contains(line, " 200 ") {
				t.count(fmt.Sprintf("%s %.40q", fine, badRequests[(i+j)%len(badRequests)]), 1)
			}
			t.count("requests", 1)
			conn.Close()
		}
		return nil
	})
}

func longHeads(ctx context.Context, t *target) {
	long := strings.Repeat("x", 64<<10)
	lines := strings.Repeat("x: y\r\n", 10_000)
	crowd(ctx, 16, func(ctx context.Context, i int) error {
		again := long
		if i%2 == 0 {
			again = lines
		}
		return t.pour(ctx, attackerAddr(0, 1), "GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n", again)
	})
}

func chunks(ctx context.Context, t *target) {
	const head = "POST /" + smallFile + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
	kinds := []string{
		strings.Repeat("1;"+strings.Repeat("e", 200)+"\r\nx\r\n", 200),
		strings.Repeat("1\r\nx\r\n", 5000),
		"0\r\n" + strings.Repeat("T: "+strings.Repeat("t", 60)+"\r\n", 1000),
		strings.Repeat("00000000000000000001\r\nx\r\n", 1000),
		strings.Repeat("1"+strings.Repeat(" ", 1000)+"\r\nx\r\n", 50),
	}
	crowd(ctx, 2*len(kinds), func(ctx context.Context, i int) error {
		return t.pour(ctx, attackerAddr(0, 1), head, kinds[i%len(kinds)])
	})
}

// visitor returns an HTTP/1.1 client of the attacker's, for what is proper HTTP.
// Its connections end with ctx.
func (t *target) visitor(ctx context.Context, from string) *http.Client {
	dial := func(_ context.Context, _, _ string) (net.Conn, error) { return t.visit(ctx, from, "http/1.1") }
	return &http.Client{Transport: &http.Transport{DialContext: dial, DialTLSContext: dial}}
}

func (t *target) url(path string) string {
	if t.TLS {
		return "https://" + t.Front + path
	}
	return "http://" + t.Front + path
}

// get asks once, and reads as many bytes of the answer as limit says.
func (t *target) get(ctx context.Context, client *http.Client, path string, limit int64, header ...string) error {
	r, err := http.NewRequestWithContext(ctx, "GET", t.url(path), nil)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	n, _ := io.Copy(io.Discard, io.LimitReader(resp.Body, limit))
	resp.Body.Close()
	t.count(fmt.Sprintf("answers of %d", resp.StatusCode), 1)
	t.count("bytes", n)
	return nil
}

func ranges(ctx context.Context, t *target) {
	var small, overlapping strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&small, ",%d-%d", 50_000*i, 50_000*i)
		fmt.Fprintf(&overlapping, ",%d-", i)
	}
	sets := []string{"bytes=" + small.String()[1:], "bytes=" + overlapping.String()[1:], "bytes=" + strings.Repeat("0-0,", 1000) + "0-0"}
	crowd(ctx, 16, func(ctx context.Context, i int) error {
		client := t.visitor(ctx, attackerAddr(0, 1))
		defer client.CloseIdleConnections()
		for j := range sets {
			if err := t.get(ctx, client, "/"+bigFile, 1<<20, "Range", sets[(i+j)%len(sets)]); err != nil {
				return err
			}
		}
		return nil
	})
}

func abandoned(ctx context.Context, t *target) {
	crowd(ctx, 32, func(ctx context.Context, i int) error {
		client := t.visitor(ctx, attackerAddr(0, 1))
		defer client.CloseIdleConnections()
		return t.get(ctx, client, "/"+bigFile, 1000)
	})
}

func crowdedFront(ctx context.Context, t *target) {
	made, closed := t.counter("connections"), t.counter("closed by p")
	crowd(ctx, 60*perAddr, func(ctx context.Context, i int) error {
		conn, err := t.dial(ctx, t.Front, attackerAddr(i, perAddr))
		if err != nil {
			return err
		}
		made.Add(1)
		io.Copy(io.Discard, conn)
		if ctx.Err() == nil {
			closed.Add(1)
		}
		select {
		case <-time.After(silentPause):
		case <-ctx.Done():
		}
		return errors.New("closed")
	})
}

func oddPaths(ctx context.Context, t *target) {
	long := strings.Repeat("x", 60_000)
	paths := []string{
		"/" + long, "/" + strings.Repeat("x/", 20_000), "/?" + long, "/%00", "/%ff%fe", "/a%0d%0ab", "/%1b%5b2J", "/%c2%9b2J", "/%e2%80%ae",
		"/" + strings.Repeat("%2e%2e%2f", 1000), "/" + smallFile + "/" + long, "//" + smallFile, "/.git/config", "/" + strings.Repeat("../", 10_000), "*", "/%",
	}
	crowd(ctx, 16, func(ctx context.Context, i int) error {
		conn, err := t.visit(ctx, attackerAddr(0, 1), "http/1.1")
		if err != nil {
			return err
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for j := range paths {
			method := []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}[(i+j)%6]
			if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nReferer: %s\r\n\r\n", method, paths[(i+j)%len(paths)], paths[j]); err != nil {
				return err
			}
			resp, err := http.ReadResponse(r, &http.Request{Method: method})
			if err != nil {
				return err
			}
			io.Copy(io.Discard, resp.Body)
			t.count(fmt.Sprintf("answers of %d", resp.StatusCode), 1)
			if resp.Close {
				return io.EOF
			}
		}
		return nil
	})
}

func noRead(ctx context.Context, t *target) {
	crowd(ctx, perAddr, func(ctx context.Context, i int) error {
		conn, err := t.visit(ctx, attackerAddr(0, 1), "http/1.1")
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "GET /"+bigFile+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		t.count("held", 1)
		// What is there can be read when it is over, and then the end of it.
		select {
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := io.Copy(io.Discard, conn); n < bigSize/2 && !errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			t.count("broken off", 1)
		}
		<-ctx.Done()
		return ctx.Err()
	})
}
