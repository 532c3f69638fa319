package proxy_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// The status page shows what goes on.
func TestAdminPort(t *testing.T) {
	f := newFiles(t)
	x := startP(t, f, nil)
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, "No origin is connected"}, {"/readyz", 200, "ready"}, {"/readyz?origin=@", 503, "not connected"}, {"/readyz?origin=film", 503, "film"},
		{"/readyz?origin=-bad-", 503, "bad"}, {"/debug", 200, "incoming: 0\nserving: 0\n"}, {"/debug/pprof/", 404, ""}, {"/debug/pprof/cmdline", 404, ""},
		{"/healthz", 200, "ok"},
	} {
		if status, text := x.adminGet(c.path); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s with no origin: got %d %.200q, want %d with %q", c.path, status, text, c.status, c.want)
		}
	}
	h, arrived, release := blocking()
	startC(t, x, h, nil)
	startC(t, x, h, func(c *agent.Config) { c.Name = "Film" })
	rt := transport(t, nil, false)
	open := async(deadline(t), rt, "GET", x.url("/open"), nil)
	<-arrived
	want(t, "POST", fetch(deadline(t), rt, "POST", x.url("/"), bytes.NewReader(pattern(5000)), nil), 200, "5000")
	// It is over for P, and for C's session, a little after A has its answer.
	waitFor(t, "one request in flight", func() bool {
		_, text := x.adminGet("/debug")
		return strings.Contains(text, "incoming: 1\nserving: 1\n") && x.metric(`spdy_proxy_requests_total{class="2xx",origin="@"}`) == "1"
	})
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, "Default origin (@)"}, {"/", 200, "Origin film"}, {"/readyz?origin=@", 200, "ready"}, {"/readyz?origin=FILM", 200, "ready"},
		{"/debug", 200, "incoming: 1\nserving: 1\n"},
		{"/metrics", 200, "spdy_proxy_origins 2\n"}, {"/metrics", 200, `spdy_proxy_requests_total{class="2xx",origin="@"} 1` + "\n"},
		{"/metrics", 200, `spdy_proxy_body_bytes_total{direction="to_origin"} 5000` + "\n"},
	} {
		if status, text := x.adminGet(c.path); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: got %d %.2000q, want %d with %q", c.path, status, text, c.status, c.want)
		}
	}
	close(release)
	<-open
	// No DNS rebinding.
	a := fetch(deadline(t), rt, "GET", "http://"+x.AdminAddr().String()+"/", nil, asked("evil.example:1445"))
	want(t, "another name", a, 403, "")
}

// With --admin= there is no admin port; with --pprof there are profiles.
func TestAdminOptions(t *testing.T) {
	f := newFiles(t)
	if x := startP(t, f, func(c *proxy.Config) { c.Admin = "" }); x.AdminAddr() != nil {
		t.Errorf("AdminAddr: got %v, want none", x.AdminAddr())
	}
	x := startP(t, f, func(c *proxy.Config) { c.PProf = true })
	if status, text := x.adminGet("/debug/pprof/"); status != 200 || !strings.Contains(text, "goroutine") {
		t.Errorf("/debug/pprof/: got %d %q, want the profiles", status, text)
	}
	if status, text := x.adminGet("/debug/pprof/flight"); status != 200 || !strings.HasPrefix(text, "go 1.") {
		t.Errorf("/debug/pprof/flight: got %d %.40q, want a trace", status, text)
	}
	if status, _ := x.adminGet("/debug/pprof/cmdline"); status != 404 {
		t.Errorf("/debug/pprof/cmdline: got %d, want 404", status)
	}
}
