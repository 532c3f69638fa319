package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"--only", "no-such"}, {"extra"}, {"--no-such-flag"}} {
		var stderr strings.Builder
		if status := run(t.Context(), args, nil, io.Discard, &stderr); status != 2 || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%v: status %d, standard error %q; want 2 and one line", args, status, stderr.String())
		}
	}
	var out strings.Builder
	if status := run(t.Context(), []string{"--help"}, nil, &out, io.Discard); status != 0 || !strings.Contains(out.String(), "--only") {
		t.Errorf("--help: status %d, %q", status, out.String())
	}
	out.Reset()
	if status := run(t.Context(), []string{"--list"}, nil, &out, io.Discard); status != 0 || strings.Count(out.String(), "\n") != len(attacks()) {
		t.Errorf("--list: status %d, %q", status, out.String())
	}
}

func TestAttacks(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range attacks() {
		if seen[a.name] {
			t.Errorf("there are two attacks %s", a.name)
		}
		seen[a.name] = true
		if a.strike == nil && a.during == nil {
			t.Errorf("%s does nothing", a.name)
		}
		if a.lasts <= 0 || a.lasts > 30*time.Second {
			t.Errorf("%s lasts %v, want 30 s at most", a.name, a.lasts)
		}
		if !regexp.MustCompile(`^[a-z0-9-]{1,18}$`).MatchString(a.name) || a.about == "" {
			t.Errorf("%q, %q: want a short name and what it does", a.name, a.about)
		}
	}
}

func TestAttackerAddr(t *testing.T) {
	for _, tt := range []struct {
		i, each int
		want    string
	}{{0, 1, "127.0.0.2"}, {249, 250, "127.0.0.2"}, {250, 250, "127.0.0.4"}, {511, 64, "127.0.0.10"}} {
		if got := attackerAddr(tt.i, tt.each); got != tt.want || got == innocentAddr {
			t.Errorf("connection %d of %d an address comes from %s, want %s", tt.i, tt.each, got, tt.want)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := parseMetrics("# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\nbroken\n\n")
	if got := m.sum("a"); got != 5 {
		t.Errorf("a is %v, want 5", got)
	}
	if got := m.sum("none"); got != 0 {
		t.Errorf("none is %v, want 0", got)
	}
}

func TestRow(t *testing.T) {
	v := &verdict{before: 16e6, peak: 40e6, after: 20e6, p50: 5 * time.Millisecond, worst: time.Second, notes: []string{"b"}}
	if row := v.row("x"); !regexp.MustCompile(`^x +ok +16/40/20 .* 5/1000 .* b\n$`).MatchString(row) {
		t.Errorf("got %q", row)
	}
	v.problems = []string{"a"}
	if row := v.row("x"); !regexp.MustCompile(`^x +FAILED .* a; b\n$`).MatchString(row) {
		t.Errorf("got %q", row)
	}
	if row := (&verdict{skipped: "why"}).row("x"); !regexp.MustCompile(`^x +skipped: why\n$`).MatchString(row) {
		t.Errorf("got %q", row)
	}
}

// The attacker's process counts, and ends in time and with its input.
func TestStrike(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lasts time.Duration
		open  bool // the input goes on
	}{{"in time", time.Millisecond, true}, {"with its input", time.Minute, false}} {
		t.Run(tt.name, func(t *testing.T) {
			in, input := io.Pipe()
			defer input.Close()
			// Ends when it is read, or closed.
			go func() {
				json.NewEncoder(input).Encode(&target{Lasts: tt.lasts})
				if !tt.open {
					input.Close()
				}
			}()
			var out, stderr strings.Builder
			if status := run(t.Context(), []string{"strike", "nothing"}, in, &out, &stderr); status != 0 {
				t.Fatalf("status %d: %s", status, stderr.String())
			}
			var w word
			if err := json.Unmarshal([]byte(out.String()), &w); err != nil || w.Ready {
				t.Errorf("it says %q (%v), want its counts", out.String(), err)
			}
		})
	}
	for _, args := range [][]string{{"strike"}, {"strike", "no-such"}, {"strike", "gone"}} {
		if status := run(t.Context(), args, strings.NewReader("{}"), io.Discard, io.Discard); status != 1 {
			t.Errorf("%v: status %d, want 1", args, status)
		}
	}
}

// pretend is a site whose front port is a handler, and whose p and c are
// programs that print something.
func pretend(t *testing.T, front, admin http.Handler, p, c string) *site {
	t.Helper()
	if ln, err := net.Listen("tcp", innocentAddr+":0"); err != nil {
		t.Skipf("%s is no address of this machine", innocentAddr)
	} else {
		ln.Close()
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here")
	}
	visible, hidden := httptest.NewServer(front), httptest.NewServer(admin)
	t.Cleanup(visible.Close)
	t.Cleanup(hidden.Close)
	s := &site{
		dir: t.TempDir(), good: "/", goodBody: []byte("good"), origins: 1,
		front: visible.Listener.Addr().String(), admin: hidden.Listener.Addr().String(),
	}
	s.logs = s.dir
	for name, script := range map[string]string{"p": p, "c": c} {
		if err := s.run(process.Command{Dir: s.dir, Name: name, Path: "/bin/sh", Args: []string{"-c", script}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, r := range s.running {
			r.Stop()
		}
	})
	return s
}

// healthy is an admin port that has nothing to tell.
func healthy(sessions, serving int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "spdy_proxy_sessions_started_total{origin=\"@\"} %d\ngoroutines:  9\nincoming: 1\nserving: %d\n", sessions, serving)
	})
}

// What must hold in every attack is seen where it does not hold.
func TestJudge(t *testing.T) {
	const lives = "echo starts; exec sleep 60"
	for _, tt := range []struct {
		name  string
		p, c  string
		admin http.Handler
		body  string // of the front port
		want  string // in the problems; "": there are none
	}{
		{"all is well", lives, lives, healthy(1, 0), "good", ""},
		{"c ends", lives, "echo the last words", healthy(1, 0), "good", "c has ended: the last words"},
		{"p ends", "echo fatal error: concurrent map writes", lives, healthy(1, 0), "good", "p says fatal error: concurrent map writes"},
		{"a panic", lives, "echo http: panic serving; exec sleep 60", healthy(1, 0), "good", "c says panic serving"},
		{"many lines", lives, "yes | head -1001; exec sleep 60", healthy(1, 0), "good", "1001 lines in the log of c"},
		{"another session", lives, lives, healthy(2, 0), "good", "2 sessions were started, want 1"},
		{"an admin port that fails", lives, lives, http.NotFoundHandler(), "good", "the admin port: /metrics is answered by 404"},
		{"a front port that is not what it was", lives, lives, healthy(1, 0), "evil", "an innocent request after the attack failed: a wrong body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			front := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tt.body) })
			s := pretend(t, front, tt.admin, tt.p, tt.c)
			// Until both have said what they will say.
			err := process.Poll(t.Context(), func() error {
				for _, d := range s.daemons() {
					if d.Log() == "" || strings.Contains(tt.want, "1001") && d.Name == "c" && strings.Count(d.Log(), "\n") < 1001 {
						return fmt.Errorf("%s has not begun", d.Name)
					}
					if strings.Contains(tt.want, d.Name+" has ended") && !s.ended(d.Name) {
						return fmt.Errorf("%s has not ended", d.Name)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			s.judge(ctx)
			got := strings.Join(s.problems, "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("the problems are %q, want %q", got, tt.want)
			}
		})
	}
}

func TestIdle(t *testing.T) {
	s := pretend(t, http.NotFoundHandler(), healthy(1, 7), "exec sleep 60", "exec sleep 60")
	if err := s.idle(t.Context(), time.Second); err == nil || !strings.HasPrefix(err.Error(), "7 requests are still open") {
		t.Errorf("got %v, want that 7 requests are open", err)
	}
}

// The innocent visitor sees what is wrong, and what is late.
func TestInnocent(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // in the problems; "": there are none
	}{
		{"good", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "good") }, ""},
		{"another body", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "evil") }, "innocent requests failed: a wrong body"},
		{"another status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(504) }, "innocent requests failed: an answer of 504"},
		{"broken off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "innocent requests failed: EOF"},
		{"late", func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(300 * time.Millisecond):
			case <-r.Context().Done():
			}
			io.WriteString(w, "good")
		}, "innocent requests took more than 250ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := make(chan struct{}, 100)
			s := pretend(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				tt.handler(w, r)
			}), healthy(1, 0), "exec sleep 60", "exec sleep 60")
			if s.patience = time.Minute; tt.name == "late" {
				s.patience = 250 * time.Millisecond
			}
			v := s.newInnocent()
			v.start(t.Context())
			<-asked
			<-asked
			v.finish(&s.verdict)
			got := strings.Join(s.problems, "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("the problems are %q, want %q", got, tt.want)
			}
			if s.worst == 0 {
				t.Error("it took no time")
			}
		})
	}
}

// Header blocks that are written by hand are what the engine reads: the dialogue
// with it is in the attacks, here are the bytes.
func TestFrames(t *testing.T) {
	b := controlFrame(nil, spdySettings, 1, u32(1, 7, 0))
	if got, want := fmt.Sprintf("%x", b), "80030004"+"0100000c"+"000000010000000700000000"; got != want {
		t.Errorf("a control frame is %s, want %s", got, want)
	}
	b = dataFrame(nil, 5, 1, []byte("x"))
	if got, want := fmt.Sprintf("%x", b), "00000005"+"01000001"+"78"; got != want {
		t.Errorf("a data frame is %s, want %s", got, want)
	}
}
