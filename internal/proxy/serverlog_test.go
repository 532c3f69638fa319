package proxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// What a visitor can have the servers say, as often as it likes, is for
// debugging.
func TestVisitorsMistakesAreForDebugging(t *testing.T) {
	for _, secure := range []bool{false, true} {
		inBubble(t, func(t *testing.T, f *files) {
			log := newJournal(t, "p at info")
			x := startP(t, f, func(c *proxy.Config) {
				c.TLS = secure
				c.Logger = slog.New(slog.NewTextHandler(log, nil)) // at info
			})
			// send sends text and no more, and waits for the end of the connection.
			send := func(alpn, text string) {
				conn, err := f.dial(deadline(t), "tcp", x.FrontAddr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if alpn != "" {
					conn = tls.Client(conn, &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{alpn}})
				}
				fmt.Fprint(conn, text)
				conn.(interface{ CloseWrite() error }).CloseWrite()
				bufio.NewReader(conn).WriteTo(new(strings.Builder))
			}
			send("", "\x16\x03\x01 no handshake\r\n\r\n")
			send("", "GET / HTTP/1.1\r\n\r\n")
			if secure {
				const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				send("h2", "no preface at all\r\n\r\n")
				send("h2", preface+"\x00\x00\x00\x00\x00\x00\x00\x00\x00")                                         // no SETTINGS
				send("h2", preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"+"\x00\x00\x00\x07\x00\x00\x00\x00\x00")  // a GOAWAY that is too short
				send("h2", preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"+"\x00\x00\x01\x01\x25\x00\x00\x00\x01?") // a head that cannot be read
				send("spdy/3.1", "no frame of SPDY")
				send("spdy/3.1", "\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01") // GOAWAY, PROTOCOL_ERROR
			}
			x.cancel()
			x.wait()
			for line := range strings.Lines(log.String()) {
				if !strings.Contains(line, `level=INFO msg="p `) {
					t.Errorf("with TLS %v: a line that a visitor caused: %s", secure, line)
				}
			}
		})
	}
}

// A panic is our own fault, and said so whatever server had it.
func TestPanicIsAnError(t *testing.T) {
	log := newJournal(t, "the server")
	l := slog.New(proxy.ServerLog(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})))
	std := slog.NewLogLogger(l.Handler(), slog.LevelWarn)
	std.Printf("http: panic serving %v: oh\nstack", "127.0.0.1:1")
	std.Printf("http2: panic serving %v: oh\nstack", "127.0.0.1:1")
	std.Printf("http: TLS handshake error from %s: http: panic serving", "127.0.0.1:1")
	l.With("k", "v").Warn("session ended", "error", &spdy.SessionError{})
	l.Error("handler panicked")
	if got := log.String(); strings.Count(got, "level=ERROR") != 3 || strings.Count(got, "\n") != 3 {
		t.Errorf("got\n%s\nwant three panics", got)
	}
}
