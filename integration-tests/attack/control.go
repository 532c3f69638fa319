package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
)

// honestWait is how long an honest c may need to get in while the control port
// is attacked.
const honestWait = 10 * time.Second

func controlAttacks() []attack {
	alone := func(s *site) error {
		s.origins, s.alone = 0, true
		return nil
	}
	return []attack{
		{name: "control-silent", about: "64 silent connections to the control port from the address of the honest c", lasts: 20 * time.Second,
			prepare: func(s *site) error { s.number = 64; return alone(s) }, strike: silent, during: honestLater},
		{name: "control-crowd", about: "512 silent connections to the control port from eight addresses", lasts: 25 * time.Second,
			prepare: func(s *site) error { s.number = 512; return alone(s) }, strike: silent, during: honestLater},
		{name: "control-by-front", about: "1000 connections to the front port that ask for the control port's protocol and say no more, from eight addresses", lasts: 25 * time.Second,
			prepare: func(s *site) error { s.number = 1000; return alone(s) }, strike: silentByFront,
			during: func(ctx context.Context, s *site) {
				s.comeIn(ctx, s.front, "front-")
				honestLater(ctx, s)
			}},
		{name: "control-guesses", about: "22 wrong tokens from the address of the honest c", lasts: 20 * time.Second, prepare: alone, strike: wrongTokens, during: honestLater},
		{name: "control-floods", about: "long heads and bodies, slow ones, junk, and handshakes at the control port", lasts: 10 * time.Second, strike: controlFloods, during: honestLater},
	}
}

// register is an honest c at a given address, without what follows the 200. It comes
// to the control port, or the front port.
func (s *site) register(ctx context.Context, to, from, name string) (time.Duration, error) {
	files := control.ClientTLS{CAFile: s.opts.cert("ca.pem")}
	cfg, err := files.Load()
	if err != nil {
		return 0, err
	}
	token, err := s.opts.token()
	if err != nil {
		return 0, err
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	dialer := control.Dialer{Addr: to, Name: name, Instance: name, Token: token, TLS: cfg, DialContext: d.DialContext}
	ctx, cancel := context.WithTimeout(ctx, honestWait)
	defer cancel()
	began := time.Now()
	pause := time.NewTicker(time.Second)
	defer pause.Stop()
	for {
		conn, err := dialer.Dial(ctx)
		if err == nil {
			conn.Close()
			return time.Since(began), nil
		}
		if _, refused := errors.AsType[*control.RefusedError](err); refused {
			return 0, err // it was heard: trying again is what locks it out longer
		}
		select {
		case <-pause.C: // as c does
		case <-ctx.Done():
			return 0, fmt.Errorf("not within %v: %w", honestWait, reason(err))
		}
	}
}

// comeIn has honest ones come to a port from an address of the attacker's, and from
// those that are no attacker's.
func (s *site) comeIn(ctx context.Context, to, prefix string) {
	for _, h := range []struct{ from, name string }{{attackerAddr(0, 1), "beside"}, {"127.0.0.1", "local"}, {"127.0.0.99", "elsewhere"}} {
		took, err := s.register(ctx, to, h.from, prefix+h.name)
		if err != nil {
			s.failf("an honest c at %s does not get in at %s: %v", h.from, to, err)
			continue
		}
		s.notef("%s got in at %s after %.1f s", h.from, to, took.Seconds())
	}
}

// honestLater has honest ones come to the control port while the attack goes on, and
// c itself.
func honestLater(ctx context.Context, s *site) {
	s.comeIn(ctx, s.control, "")
	c := s.c
	c.Name, c.Args = "later c", append([]string{"--name", "later"}, c.Args...)
	if err := s.run(c); err != nil {
		s.failf("%v", err)
		return
	}
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, honestWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := s.adminText(wait, "/readyz?origin=later")
		if err == nil {
			s.notef("bin/c got in after %.1f s", time.Since(began).Seconds())
			break
		}
		select {
		case <-tick.C:
			continue
		case <-wait.Done():
			s.failf("c does not get in within %v: %v", honestWait, err)
		}
		break
	}
	if s.origins > 0 {
		s.origins += 4
	}
}

// silent keeps as many connections as Number says that never say a word: half of
// them from the address that c comes from where they are few.
func silent(ctx context.Context, t *target) {
	n := int(t.Number)
	made := t.counter("connections")
	// In place once as many were made as the port holds.
	crowd(ctx, 2*n, func(ctx context.Context, i int) error {
		from := attackerAddr(i, 64)
		if i >= n {
			from = "127.0.0.1"
			if i >= n+64 {
				<-ctx.Done()
				return ctx.Err()
			}
		}
		conn, err := t.dial(ctx, t.Control, from)
		if err != nil {
			return err
		}
		if made.Add(1) >= int64(n+min(n, 64)) {
			t.ready()
		}
		return thrownOut(ctx, conn)
	})
}

// silentByFront is silent, at the front port, after TLS.
func silentByFront(ctx context.Context, t *target) {
	n := int(t.Number)
	made := t.counter("connections")
	crowd(ctx, n, func(ctx context.Context, i int) error {
		conn, err := t.visit(ctx, attackerAddr(i, n/8), control.Protocol)
		if err != nil {
			return err
		}
		// A part of them is thrown out while the others come.
		if made.Add(1) == int64(n) {
			t.ready()
		}
		return thrownOut(ctx, conn)
	})
}

// thrownOut returns when a silent connection that was closed is to come back: soon, but
// not at once, since whoever is thrown out does not notice.
func thrownOut(ctx context.Context, conn net.Conn) error {
	io.Copy(io.Discard, conn)
	select {
	case <-time.After(silentPause):
	case <-ctx.Done():
	}
	return errors.New("closed")
}

// silentPause is how long a silent connection takes to come back.
const silentPause = 300 * time.Millisecond

// put sends a request to the control port and returns the status line.
func (t *target) put(ctx context.Context, from, head string) (string, error) {
	conn, err := t.dial(ctx, t.Control, from)
	if err != nil {
		return "", err
	}
	if conn, err = secure(ctx, conn, "http/1.1"); err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, head); err != nil {
		return "", err
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	line := make([]byte, 12) // HTTP/1.1 401
	_, err = io.ReadFull(conn, line)
	return string(bytes.TrimPrefix(line, []byte("HTTP/1.1 "))), err
}

func wrongTokens(ctx context.Context, t *target) {
	for i := range 22 {
		for _, from := range []string{attackerAddr(0, 1), "127.0.0.1"} {
			status, err := t.put(ctx, from, fmt.Sprintf("PUT /beside HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong-%d\r\nContent-Length: 0\r\n\r\n", i))
			if err != nil {
				status = "none"
			}
			t.count("answers of "+status, 1)
		}
	}
	t.ready()
	<-ctx.Done()
}

func controlFloods(ctx context.Context, t *target) {
	long := strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 64)
	const head = "PUT /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n"
	kinds := []struct{ first, again string }{
		{head, long},
		{head + "Content-Length: 1000000000\r\n\r\n", long},
		{head + "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("1;"+strings.Repeat("e", 100)+"\r\nx\r\n", 100)},
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", strings.Repeat("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 500)},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", long},
		{strings.Repeat("\x80\x03\x00\x01", 100), long},
	}
	time.AfterFunc(2*time.Second, t.ready)
	crowd(ctx, 4*len(kinds), func(ctx context.Context, i int) error {
		kind := kinds[i%len(kinds)]
		conn, err := t.dial(ctx, t.Control, attackerAddr(i, 8))
		if err != nil {
			return err
		}
		t.count("connections", 1)
		if i%4 == 3 {
			conn.Write([]byte(long)) // no TLS at all
			return errors.New("no TLS")
		}
		if conn, err = secure(ctx, conn); err != nil {
			return err
		}
		text := kind.first
		for {
			conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
			if _, err := io.WriteString(conn, text); err != nil {
				return err
			}
			text = kind.again
		}
	})
}
