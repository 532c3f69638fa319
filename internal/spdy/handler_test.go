package spdy_test

import (
	"bytes"
	"log"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A handler's panic is told once: to Config.Logger, or without one to the server's
// ErrorLog.
func TestPanicIsLoggedOnce(t *testing.T) {
	for _, test := range []struct {
		what             string
		logger, errorLog bool
		logged, told     int
	}{
		{"neither", false, false, 0, 0},
		{"a Logger", true, false, 1, 0},
		{"an ErrorLog", false, true, 0, 1},
		{"both", true, true, 1, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			var logged, told bytes.Buffer
			var conf spdy.Config
			srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a panic of the test's") })}
			if test.logger {
				conf.Logger = slog.New(slog.NewTextHandler(&logged, nil))
			}
			if test.errorLog {
				srv.ErrorLog = log.New(&told, "", 0)
			}
			near, far := spdytest.Pipe(spdytest.PipeConfig{})
			client, server := (*spdy.Config)(nil).NewClientSession(near), conf.NewServerSession(far, srv)
			served := make(chan error, 2)
			for _, s := range []*spdy.Session{client, server} {
				go func() { served <- s.Serve() }() // ends with the session
			}
			resp, err := client.RoundTrip(request(t, "GET", "/", nil))
			if err != nil || resp.StatusCode != 500 {
				t.Errorf("got %v, %v, want 500", resp, err)
			}
			client.Close()
			server.Close()
			<-served
			<-served
			for _, got := range []struct {
				where string
				text  string
				want  int
			}{{"Logger", logged.String(), test.logged}, {"ErrorLog", told.String(), test.told}} {
				if n := strings.Count(got.text, "a panic of the test's"); n != got.want {
					t.Errorf("%s: told %d times, want %d:\n%s", got.where, n, got.want, got.text)
				}
			}
		})
	}
}
