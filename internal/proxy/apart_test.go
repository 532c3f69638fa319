package proxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// apart is how long TestApart goes on.
const apart = 2 * time.Second

// marked finds what in a header or a body is not mark's: each visitor's request, and the
// answer to it, has its mark in a value, in a name, and all over its body.
func marked(mark string, h http.Header, body string) error {
	names := 0
	for name := range h {
		if strings.HasPrefix(name, "X-Only-") {
			names++
		}
	}
	switch {
	case len(h["X-Mark"]) != 1 || h["X-Mark"][0] != mark, names != 1 || h["X-Only-"+mark] == nil:
		return fmt.Errorf("%s has the header %v", mark, h)
	case strings.ReplaceAll(body, mark, "") != "":
		return fmt.Errorf("%s has the body %.200q", mark, body)
	}
	return nil
}

func setMark(h http.Header, mark string) {
	h.Set("X-Mark", mark)
	h.Set("X-Only-"+mark, "1")
}

// marks answers with the mark that a request has, as its path says.
type marks struct {
	t      *testing.T
	served atomic.Int64
}

func (m *marks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mark, how, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.UserAgent() != mark || r.URL.RawQuery != mark {
		m.t.Errorf("%s: its agent is %q, its query %q", mark, r.UserAgent(), r.URL.RawQuery)
	}
	if how == "early" {
		if err := marked(mark, r.Header, ""); err != nil {
			m.t.Error("at C:", err)
		}
	} else if body, err := io.ReadAll(r.Body); err == nil {
		if err := marked(mark, r.Header, string(body)); err != nil {
			m.t.Error("at C:", err)
		}
	}
	m.served.Add(1)
	setMark(w.Header(), mark)
	switch how {
	case "refuse":
		if rand.IntN(2) == 0 {
			spdy.ResetStream(r.Context(), spdy.RefusedStream)
			return
		}
		io.WriteString(w, mark)
	case "break":
		w.Header().Set("Content-Length", fmt.Sprint(2*len(mark)))
		io.WriteString(w, mark)
		http.NewResponseController(w).Flush()
		spdy.ResetStream(r.Context(), spdy.InternalError)
	case "resume":
		w.Header().Set("Etag", `"`+mark+`"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat(mark, 5000)))
	case "trailer":
		w.Header().Set("Trailer", "X-End")
		io.WriteString(w, mark)
		w.Header().Set("X-End", mark)
	case "wait":
		io.WriteString(w, mark)
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
		}
		io.WriteString(w, mark)
	case "none":
		w.WriteHeader(http.StatusNoContent)
	default:
		io.WriteString(w, strings.Repeat(mark, 1+rand.IntN(3)*1000))
	}
}

var ways = []string{"plain", "plain", "plain", "HEAD", "up", "early", "refuse", "break", "resume", "trailer", "wait", "none", "leave"}

// visit makes one request, and returns what was not its own.
func visit(ctx context.Context, rt http.RoundTripper, x *p, mark, how string) error {
	method, body := "GET", io.Reader(nil)
	switch how {
	case "HEAD":
		method = "HEAD"
	case "up", "early":
		method, body = "POST", strings.NewReader(strings.Repeat(mark, 3000))
	case "leave":
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(5000))*time.Microsecond)
		defer cancel()
		how = "wait"
	}
	a := fetch(ctx, rt, method, x.url("/"+mark+"/"+how+"?"+mark), body, func(r *http.Request) {
		setMark(r.Header, mark)
		r.Header.Set("User-Agent", mark)
	})
	if a.status == 0 || a.header["Proxy-Status"] != nil {
		return nil // left, or an answer of P's
	}
	whole := string(a.body)
	if a.err != nil {
		whole = whole[:len(whole)/len(mark)*len(mark)]
	}
	return marked(mark, a.header, whole)
}

// pipelined sends some requests at once on a connection of HTTP/1, and reads the answers.
func pipelined(x *p, mark func() string) error {
	conn, err := net.Dial("tcp", x.FrontAddr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	var all []string
	var text strings.Builder
	for i := range 5 {
		m := mark()
		all = append(all, m)
		fmt.Fprintf(&text, "GET /%s/plain?%s HTTP/1.1\r\nHost: a\r\nUser-Agent: %s\r\nX-Mark: %s\r\nX-Only-%s: 1\r\n", m, m, m, m, m)
		for j := range i {
			fmt.Fprintf(&text, "X-Field-%d: %s\r\n", j, m)
		}
		text.WriteString("\r\n")
	}
	io.WriteString(conn, text.String())
	if rand.IntN(2) == 0 {
		conn.(*net.TCPConn).CloseWrite()
	}
	r := bufio.NewReader(conn)
	for _, m := range all {
		res, err := http.ReadResponse(r, nil)
		for err == nil && res.StatusCode == http.StatusContinue { // is who sends nothing more there?
			res, err = http.ReadResponse(r, nil)
		}
		if err != nil {
			return nil // C has gone under way
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return nil
		}
		if res.Header["Proxy-Status"] == nil {
			if err := marked(m, res.Header, string(body)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Of many visitors at once, by each protocol, who are answered, refused, leave, and whose
// origin comes and goes, none sees anything of another's request or answer; nor does C,
// nor a line of the access log.
func TestApart(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	m := &marks{t: t}
	ctx, cancel := context.WithTimeout(t.Context(), apart)
	defer cancel()
	var visitors sync.WaitGroup
	var logs []string
	var asked atomic.Int64
	next := func() string { return fmt.Sprintf("M%07d", asked.Add(1)) }
	for _, tls := range []bool{false, true} {
		name := f.path(fmt.Sprint("access-", tls))
		logs = append(logs, name)
		x := startP(t, f, func(c *proxy.Config) {
			c.TLS, c.AccessLog, c.AccessFormat, c.Stall = tls, name, accesslog.JSON, 80*time.Millisecond
		})
		y := startC(t, x, m, nil)
		visitors.Go(func() { // ends with ctx
			for cut := time.NewTicker(apart * 2 / 5); ; {
				select {
				case <-cut.C:
					y.wire.cut()
				case <-ctx.Done():
					cut.Stop()
					return
				}
			}
		})
		for _, cl := range clients {
			if cl.tls != tls {
				continue
			}
			rt := cl.make(t, x)
			for range 8 {
				visitors.Go(func() { // ends with ctx
					for ctx.Err() == nil {
						if err := visit(ctx, rt, x, next(), ways[rand.IntN(len(ways))]); err != nil {
							t.Errorf("%s: %v", cl.name, err)
						}
					}
				})
			}
		}
		if !tls {
			visitors.Go(func() { // ends with ctx
				for ctx.Err() == nil {
					if err := pipelined(x, next); err != nil {
						t.Errorf("pipelined: %v", err)
					}
				}
			})
		}
		t.Cleanup(func() { y.stop() })
		defer func() { x.cancel(); x.wait() }()
	}
	visitors.Wait()
	t.Logf("%d asked, C has answered %d", asked.Load(), m.served.Load())
	if m.served.Load() == 0 {
		t.Error("nothing was served")
	}
	t.Cleanup(func() { checkLogs(t, logs) })
}

// checkLogs wants one mark in a line.
func checkLogs(t *testing.T, names []string) {
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for line := range strings.Lines(string(b)) {
			var l struct {
				ID    string `json:"id"`
				URI   string `json:"uri"`
				Agent string `json:"user_agent"`
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil || !strings.HasPrefix(l.URI, "/"+l.Agent+"/") || !strings.HasSuffix(l.URI, "?"+l.Agent) || seen[l.ID] {
				t.Errorf("%s, %v: %s", name, err, line)
			}
			seen[l.ID] = true
		}
		if len(seen) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
}
