package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// A client is one HTTP/1.1 connection of the load. It is written by hand, with
// one buffer that is used again, because the load runs on the same cores as what
// it measures. It understands answers with a Content-Length and no others.
type client struct {
	conn    net.Conn
	pattern *pattern
	buf     []byte
	r, w    int // buf[r:w] has been read and not been used
}

// dial connects to addr. rcvbuf is the size of the socket's receive buffer in
// bytes, 0 for the system's own; buf that of the client's.
func dial(ctx context.Context, addr string, p *pattern, rcvbuf, buf int) (*client, error) {
	d := net.Dialer{Control: receiveBuffer(rcvbuf)}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	return &client{conn: conn, pattern: p, buf: make([]byte, buf)}, nil
}

func (c *client) close() { c.conn.Close() }

// fill reads once. The end of the connection is an error.
func (c *client) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		return errors.New("an answer's head is longer than the buffer")
	}
	n, err := c.conn.Read(c.buf[c.w:])
	c.w += n
	if n == 0 && err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// head reads to the end of an answer's head, and returns the length of its body.
// Header is valid until the next read. An answer other than 200 is an error.
func (c *client) head() (header []byte, length int64, err error) {
	for {
		if i := bytes.Index(c.buf[c.r:c.w], []byte("\r\n\r\n")); i >= 0 {
			header = c.buf[c.r : c.r+i+2]
			c.r += i + 4
			break
		}
		if err := c.fill(); err != nil {
			return nil, 0, fmt.Errorf("no answer: %w", err)
		}
	}
	line, _, _ := bytes.Cut(header, []byte("\r\n"))
	if len(line) < 12 || string(line[9:12]) != "200" {
		return nil, 0, fmt.Errorf("the answer is %q, want 200", line)
	}
	value := field(header, "content-length")
	if value == nil {
		return nil, 0, errors.New("the answer has no Content-Length")
	}
	length, err = strconv.ParseInt(string(value), 10, 64)
	return header, length, err
}

// field returns the value of a header field, whose name is given in lower case.
func field(header []byte, name string) []byte {
	for len(header) > 0 {
		var line []byte
		line, header, _ = bytes.Cut(header, []byte("\r\n"))
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}

// some reads part of a body of length bytes that begins at position at, checks
// it, and returns how much it was: at most limit bytes.
func (c *client) some(at, length int64, limit int) (int, error) {
	if c.r == c.w {
		c.r, c.w = 0, 0
		n, err := c.conn.Read(c.buf[:min(int64(limit), int64(len(c.buf)), length-at)])
		if n == 0 && err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return 0, fmt.Errorf("after %d of %d bytes of a body: %w", at, length, err)
			}
			return 0, &wrongBodyError{fmt.Sprintf("it ends after %d of %d bytes (%v)", at, length, err)}
		}
		c.w = n
	}
	n := int(min(int64(c.w-c.r), int64(limit), length-at))
	err := c.pattern.check(c.buf[c.r:c.r+n], at)
	c.r += n
	return n, err
}

// get sends a request and reads its answer, whose body is want bytes long. Moved,
// if not nil, is told of each piece that has arrived.
func (c *client) get(request []byte, want int64, moved func(n int)) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	_, length, err := c.head()
	if err != nil {
		return err
	}
	if length != want {
		return &wrongBodyError{fmt.Sprintf("it is %d bytes long, want %d", length, want)}
	}
	for at := int64(0); at < length; {
		n, err := c.some(at, length, len(c.buf))
		if err != nil {
			return err
		}
		at += int64(n)
		if moved != nil {
			moved(n)
		}
	}
	return nil
}

func getRequest(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
}

// post sends a body and returns the digest that the answer says was received.
func (c *client) post(host, path string, size int64) (digest string, took time.Duration, err error) {
	start := time.Now()
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", path, host, size)
	if _, err := c.conn.Write(head); err != nil {
		return "", 0, err
	}
	if err := c.pattern.writeTo(c.conn, size); err != nil {
		return "", 0, fmt.Errorf("sending a body: %w", err)
	}
	header, _, err := c.head()
	if err != nil {
		return "", 0, err
	}
	return string(field(header, "x-received-digest")), time.Since(start), nil
}
