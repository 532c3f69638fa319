package proxy

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What http.Server costs on a visitor's connection that is kept: loopback, for
// the system calls are what is counted.
func BenchmarkVisitor(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, ConnContext: withLeave,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "body") }),
	}
	ended := make(chan error)
	visitors := newVisitors("front", ln, slog.New(slog.DiscardHandler), nil, time.Hour, time.Hour)
	// Ends when the server is closed, and is waited for.
	go func() { ended <- server.Serve(visitors) }()
	defer func() {
		server.Close()
		<-ended
		visitors.unwatch()
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	answer := bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		for {
			line, err := answer.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if strings.TrimRight(string(line), "\r\n") == "" {
				break
			}
		}
		if _, err := answer.Discard(len("body")); err != nil {
			b.Fatal(err)
		}
	}
}
