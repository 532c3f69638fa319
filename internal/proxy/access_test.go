package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/oneline"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// --access-log: one line a request.
func TestAccessLog(t *testing.T) {
	f := newFiles(t)
	for _, format := range []accesslog.Format{accesslog.Combined, accesslog.JSON} {
		asJSON := format == accesslog.JSON
		log := f.path(fmt.Sprintf("access-%v", asJSON))
		x := startP(t, f, func(c *proxy.Config) { c.AccessLog, c.AccessFormat = log, format })
		startC(t, x, hello("c"), nil)
		rt := transport(t, nil, false)
		for i := range 3 {
			fetch(deadline(t), rt, "GET", x.url(fmt.Sprintf("/%d?q=\"\\\n", i)), nil, nil)
			fetch(deadline(t), rt, "GET", x.url(fmt.Sprintf("/%d", i)), nil, func(r *http.Request) {
				r.Header.Set("Authorization", "Bearer visitor-secret")
				r.Header.Set("Cookie", "id=visitor-secret")
			})
		}
		var lines []string
		waitFor(t, "three lines", func() bool {
			b, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			lines = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
			return len(lines) >= 3
		})
		for _, l := range lines {
			if strings.Contains(l, "visitor-secret") {
				t.Errorf("a secret is in the access log: %s", l)
			}
			if asJSON && !json.Valid([]byte(l)) {
				t.Errorf("%s is not JSON", l)
			}
			if !asJSON && !strings.Contains(l, `"GET /`) {
				t.Errorf("%s has no request line", l)
			}
		}
		if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got %v, %v; want a file of mode 0600", info.Mode(), err)
		}
		// It was moved away: SIGHUP begins a new one.
		if err := os.Rename(log, log+".old"); err != nil {
			t.Fatal(err)
		}
		x.Reload()
		fetch(deadline(t), rt, "GET", x.url("/after"), nil, nil)
		waitFor(t, "a line in the new file", func() bool {
			b, _ := os.ReadFile(log)
			return strings.Contains(string(b), "/after")
		})
	}
}

// askOften makes requests whose lines in the access log are some 8 KiB long.
func askOften(t *testing.T, x *p, rt http.RoundTripper, times int) {
	t.Helper()
	long := strings.Repeat("x", 8<<10) // of which a line has a part
	edit := func(r *http.Request) { r.Header = http.Header{"Referer": {long}, "User-Agent": {long}} }
	for i := range times {
		a := fetch(deadline(t), rt, "GET", x.url("/"+long), nil, edit)
		if a.err != nil || a.status != 200 {
			t.Fatalf("request %d of %d: got %v", i, times, a)
		}
	}
}

// Requests do not wait for who reads the access log. What it does not take is
// left out, counted and said once, and what comes after is there again.
func TestAccessLogThatStandsStill(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.AccessLog, c.Stdout = "-", w })
	startC(t, x, hello("c"), nil)
	rt := transport(t, nil, false)
	askOften(t, x, rt, 400)
	x.log.wait(`level=WARN msg="access log: lines are left out, requests go on" file=-`, 1)
	if got := x.metric("spdy_proxy_access_log_dropped_total"); got == "" || got == "0" {
		t.Errorf("the metric is %q, want the number of lines that were left out", got)
	}

	found := make(chan bool, 1)
	// Ends at the line it looks for, or when the pipe is closed, at the test's end.
	go func() {
		lines := bufio.NewReaderSize(r, 64<<10)
		for {
			line, err := lines.ReadString('\n')
			if err != nil || strings.Contains(line, "/after") {
				found <- err == nil
				return
			}
		}
	}()
	x.log.wait(`level=WARN msg="access log: lines were left out" file=-`, 1)
	want(t, "a request after that", fetch(deadline(t), rt, "GET", x.url("/after"), nil, nil), 200, "")
	select {
	case ok := <-found:
		if !ok {
			t.Error("the pipe ended")
		}
	case <-deadline(t).Done():
		t.Error("no line comes after the reader came back")
	}
	if n := x.log.count("access log: "); n != 2 {
		t.Errorf("%d lines about it, want 2", n)
	}
}

// The same for a disk that is full, and for a reader that has gone.
func TestAccessLogThatFails(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	for _, tt := range []struct {
		name, file, says string
	}{
		{"a full disk", "/dev/full", "no space left on device"},
		{"no reader", "-", "broken pipe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := os.Stat(tt.file); tt.file != "-" && err != nil {
				t.Skip(err)
			}
			x := startP(t, newFiles(t), func(c *proxy.Config) { c.AccessLog, c.Stdout = tt.file, w })
			startC(t, x, hello("c"), nil)
			askOften(t, x, transport(t, nil, false), 20)
			waitFor(t, "20 lines counted", func() bool { return x.metric("spdy_proxy_access_log_dropped_total") == "20" })
			x.log.wait("access log: lines are left out, requests go on", 1)
			x.log.wait(tt.says, 1)
			x.cancel()
			x.wait()
			x.log.wait(`msg="access log: lines were left out" file=`+tt.file+" lines=20", 1)
			if n := x.log.count("access log: "); n != 2 {
				t.Errorf("%d lines about it, want 2", n)
			}
		})
	}
}

// What a visitor sends neither ends a line of the access log nor steers a
// terminal that shows it.
func TestAccessLogIsClean(t *testing.T) {
	f := newFiles(t)
	for _, format := range []accesslog.Format{accesslog.Combined, accesslog.JSON} {
		asJSON := format == accesslog.JSON
		log := f.path(fmt.Sprintf("clean-%v", asJSON))
		x := startP(t, f, func(c *proxy.Config) { c.AccessLog, c.AccessFormat = log, format })
		startC(t, x, hello("c"), nil)
		fetch(deadline(t), transport(t, nil, false), "GET", x.url("/"), nil, func(r *http.Request) {
			r.Header.Set("User-Agent", "a\u0085\u009b31m\u202eb\x9bc")
			r.Header.Set("Referer", "\u009b")
		})
		x.cancel()
		x.wait()
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		line, ok := strings.CutSuffix(string(b), "\n")
		for _, r := range line {
			if oneline.Unsafe(r) {
				t.Errorf("%q in %q", r, line)
			}
		}
		if !ok || !strings.Contains(line, "31m") || asJSON && !json.Valid([]byte(line)) {
			t.Errorf("got %q, want one line", b)
		}
	}
}
