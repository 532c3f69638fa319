package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// world is a bubble with one C, and a P in memory that the test plays.
type world struct {
	t   *testing.T
	ca  *controltest.CA
	log *testlog.Buffer
	cfg Config

	ln   *controltest.Listener
	p    *control.Server
	regs chan *control.Registration

	agent *Agent
	stop  context.CancelFunc // Run's first context
	now   context.CancelFunc // and its second
	ended chan struct{}      // closed when Run has returned

	mu    sync.Mutex
	dials []time.Time                       // guarded by mu; when C dialled
	dial  func(n int) (c net.Conn, e error) // guarded by mu; the n-th dial; nil: P's listener
}

// inWorld runs f in a bubble. change may alter C's configuration.
func inWorld(t *testing.T, change func(w *world), f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, ca: controltest.NewCA(t), log: new(testlog.Buffer), regs: make(chan *control.Registration, 100), ended: make(chan struct{})}
		tokens, err := control.ParseTokens(strings.NewReader("sesame *"))
		if err != nil {
			t.Fatal(err)
		}
		cert := &tls.Config{Certificates: []tls.Certificate{w.ca.Issue(t, "p.example")}}
		w.ln = controltest.NewListener()
		w.p = &control.Server{
			TLS: func() *tls.Config { return cert }, Auth: control.NewAuth(tokens), ID: "p-1",
			Handle: func(r *control.Registration) (func(), error) { return func() { w.regs <- r }, nil },
		}
		served := make(chan struct{})
		// Ends at p.Close, below.
		go func() { w.p.Serve(w.ln); close(served) }()

		w.cfg = Config{
			Proxies: []string{"p.example:1444"},
			Load: func() (Identity, error) {
				return Identity{Token: "sesame", TLS: &tls.Config{RootCAs: w.ca.Pool()}}, nil
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello "+r.URL.Path) }),
			Drain:   30 * time.Second,
			Logger:  slog.New(slog.NewTextHandler(w.log, nil)),
			DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
				if !slices.Contains(w.cfg.Proxies, addr) {
					t.Errorf("C dials %s, want P by its name each time, so that it is looked up anew", addr)
				}
				w.mu.Lock()
				w.dials = append(w.dials, time.Now())
				n, dial := len(w.dials), w.dial
				w.mu.Unlock()
				if dial != nil {
					return dial(n)
				}
				return w.ln.Dial()
			},
		}
		if change != nil {
			change(w)
		}
		if w.agent, err = New(w.cfg); err != nil {
			t.Fatal(err)
		}
		var ctx, now context.Context
		ctx, w.stop = context.WithCancel(t.Context())
		now, w.now = context.WithCancel(t.Context())
		// Ends after stop and now, below.
		go func() { w.agent.Run(ctx, now); close(w.ended) }()

		f(w)

		w.stop()
		w.now()
		<-w.ended
		w.p.Close()
		<-served
		for len(w.regs) > 0 {
			(<-w.regs).Conn.NetConn().Close()
		}
		if strings.Contains(w.log.String(), "sesame") {
			t.Errorf("the token was logged:\n%s", w.log)
		}
	})
}

func (w *world) setDial(f func(n int) (net.Conn, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dial = f
}

// gaps returns the times between C's dials so far.
func (w *world) gaps() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(w.dials); i++ {
		gaps = append(gaps, w.dials[i].Sub(w.dials[i-1]))
	}
	return gaps
}

// session is P's side of a registered C.
type session struct {
	*spdy.Session
	reg *control.Registration
}

// registered returns a session with the next C to register.
func (w *world) registered() *session { return w.registeredWith(&spdy.Config{}) }

func (w *world) registeredWith(c *spdy.Config) *session {
	w.t.Helper()
	r := <-w.regs
	s := &session{c.NewClientSession(r.Conn), r}
	// Ends with the session, which ends with C.
	go s.Serve()
	return s
}

// get asks C for a path.
func (s *session) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://p.example"+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := s.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func (s *session) wantServing(t *testing.T) {
	t.Helper()
	if got, err := s.get(context.Background(), "/x"); err != nil || got != "hello /x" {
		t.Errorf("C answered %q, %v; want hello /x", got, err)
	}
}

func TestServes(t *testing.T) {
	inWorld(t, func(w *world) { w.cfg.Name = "FiLms" }, func(w *world) {
		s := w.registered()
		s.wantServing(t)
		if s.reg.Name != "films" {
			t.Errorf("registered as %q, want films", s.reg.Name)
		}
		if got := w.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "msg=connected") || !strings.Contains(got, "server=p-1") {
			t.Errorf("log\n%s\nwant one line: connected", got)
		}
	})
}

// A connection that held is redialled at once when it is lost, however it is
// lost.
func TestRedialsAtOnce(t *testing.T) {
	losses := map[string]func(s *session){
		"closed":    func(s *session) { s.Close() },
		"cut":       func(s *session) { s.reg.Conn.NetConn().Close() },
		"garbage":   func(s *session) { s.reg.Conn.Write(bytes.Repeat([]byte{0xff}, 64)) },
		"goes away": func(s *session) { s.Shutdown(context.Background()) },
	}
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				for range 3 {
					s := w.registered()
					s.wantServing(t)
					time.Sleep(heldLongEnough) // of the bubble
					began := time.Now()
					lose(s)
					next := w.registered()
					if took := time.Since(began); took > 10*time.Millisecond {
						t.Errorf("C was back after %v, want at once", took)
					}
					next.wantServing(t)
					time.Sleep(heldLongEnough)
					next.Close()
				}
			})
		})
	}
}

// A P that takes C and drops it soon is not hammered, and one that holds it has
// the pauses start over.
func TestPausesAfterShortConnections(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for range 20 {
			w.registered().Close()
		}
		gaps := w.gaps()
		if gaps[0] > 10*time.Millisecond {
			t.Errorf("the first redial came after %v, want at once", gaps[0])
		}
		wantGrowing(t, gaps[1:])

		s := w.registered()
		time.Sleep(heldLongEnough)
		s.Close()
		w.registered().Close()
		gaps = w.gaps()
		if last := gaps[len(gaps)-1] - heldLongEnough; last > 10*time.Millisecond {
			t.Errorf("after a connection that held, the redial took %v, want at once", last)
		}
	})
}

// wantGrowing holds that pauses follow the contract: random, growing, up to 10 s.
func wantGrowing(t *testing.T, gaps []time.Duration) {
	t.Helper()
	// A connection in memory takes no time, but its last frames may wait some
	// milliseconds for company.
	const slack = 20 * time.Millisecond
	pause := firstPause
	for i, gap := range gaps {
		if gap < pause/2 || gap > pause+slack {
			t.Errorf("pause %d is %v, want %v to %v", i, gap, pause/2, pause)
		}
		pause = min(pause+pause/2, maxPause)
	}
	if pause != maxPause {
		t.Errorf("only %d pauses were seen, too few to reach %v", len(gaps), maxPause)
	}
}

func TestPausesWhileNobodyIsThere(t *testing.T) {
	inWorld(t, func(w *world) {
		w.dial = func(n int) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connection refused, from port %d", 30000+n)}
		}
	}, func(w *world) {
		time.Sleep(5 * time.Minute)
		gaps := w.gaps()
		wantGrowing(t, gaps)
		if same := gaps[len(gaps)-1] == gaps[len(gaps)-2]; same {
			t.Errorf("two pauses of %v, want them random", gaps[len(gaps)-1])
		}
		if n := w.log.Count("\n"); n != 1 || w.log.Count("connection refused") != 1 {
			t.Errorf("%d log lines after %d attempts, want 1 with the reason:\n%s", n, len(gaps)+1, w.log)
		}

		// P is there: found within the pause, served, and said.
		w.setDial(nil)
		began := time.Now()
		w.registered().wantServing(t)
		if took := time.Since(began); took > maxPause {
			t.Errorf("P was found after %v, want at most %v", took, maxPause)
		}
		if w.log.Count("msg=connected") != 1 {
			t.Errorf("the connection was not said once:\n%s", w.log)
		}
	})
}

// A P that was away for some seconds is found again within 2 s.
func TestBackSoonAfterAShortAbsence(t *testing.T) {
	for _, away := range []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second} {
		inWorld(t, nil, func(w *world) {
			s := w.registered()
			time.Sleep(time.Minute)
			w.setDial(func(int) (net.Conn, error) { return nil, errors.New("refused") })
			s.reg.Conn.NetConn().Close()
			time.Sleep(away)
			w.setDial(nil)
			began := time.Now()
			w.registered()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("away for %v: back after %v, want 2 s", away, took)
			}
		})
	}
}

// answering returns a dial to a P that gives each request the same answer.
func (w *world) answering(answer string) func(int) (net.Conn, error) {
	cert := w.ca.Issue(w.t, "p.example")
	return func(int) (net.Conn, error) {
		here, there := net.Pipe()
		// Ends when C closes the connection.
		go func() {
			c := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{cert}})
			c.Read(make([]byte, 4096))
			io.WriteString(c, answer)
			io.Copy(io.Discard, c)
			c.Close()
		}()
		return here, nil
	}
}

func refusal(status int, fields string) string {
	return fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: 0\r\n%s\r\n", status, fields)
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name        string
		answer      string
		least, most time.Duration // of the pauses, once they have grown
		says        string
	}{
		{"401", refusal(401, ""), 30 * time.Second, 60 * time.Second, "401 Unauthorized"},
		{"403", refusal(403, ""), 30 * time.Second, 60 * time.Second, "403 Forbidden"},
		{"400", refusal(400, ""), 5 * time.Second, 10 * time.Second, "400 Bad Request"},
		{"405", refusal(405, ""), 5 * time.Second, 10 * time.Second, "control port"},
		{"413", refusal(413, ""), 5 * time.Second, 10 * time.Second, "413"},
		{"429 with Retry-After", refusal(429, "Retry-After: 100\r\n"), 105 * time.Second, 110 * time.Second, "429"},
		{"429 with a Retry-After of a year", refusal(429, "Retry-After: 31536000\r\n"), 305 * time.Second, 310 * time.Second, "429"},
		{"503 with Retry-After", refusal(503, "Retry-After: 20\r\n"), 25 * time.Second, 30 * time.Second, "503"},
		{"503", refusal(503, ""), 5 * time.Second, 10 * time.Second, "503"},
		{"not HTTP", "SSH-2.0-x\r\n\r\n", 5 * time.Second, 10 * time.Second, "no answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) { w.dial = w.answering(tt.answer) }, func(w *world) {
				time.Sleep(30 * tt.most)
				gaps := w.gaps()
				for i := range gaps {
					if i >= 13 && (gaps[i] < tt.least || gaps[i] > tt.most) {
						t.Errorf("pause %d is %v, want %v to %v", i, gaps[i], tt.least, tt.most)
					}
				}
				if len(gaps) < 20 {
					t.Errorf("%d attempts in %v: C gave up", len(gaps)+1, 30*tt.most)
				}
				if w.log.Count("\n") != 1 || w.log.Count(tt.says) != 1 {
					t.Errorf("log after %d attempts\n%s\nwant one line with %q", len(gaps)+1, w.log, tt.says)
				}
			})
		})
	}
}

// Even the first minute after a 401 has few attempts.
func TestRefusedIsNotHammered(t *testing.T) {
	inWorld(t, func(w *world) { w.dial = w.answering(refusal(401, "")) }, func(w *world) {
		time.Sleep(time.Minute)
		if n := len(w.gaps()) + 1; n > 6 {
			t.Errorf("%d attempts in the first minute, want at most 6", n)
		}
	})
}

// Each change of state is one line.
func TestLogOfStates(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		states := []struct {
			dial func(int) (net.Conn, error)
			says string
		}{
			{w.answering(refusal(401, "")), "401"},
			{w.answering(refusal(503, "")), "503"},
			{func(int) (net.Conn, error) { return nil, &net.OpError{Op: "dial", Err: errors.New("no route")} }, "no route"},
			{func(int) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
			}, "no route"},
			{w.answering(refusal(401, "")), "401"},
		}
		s := w.registered()
		time.Sleep(time.Minute)
		w.setDial(states[0].dial)
		s.Close()
		for i, state := range states {
			w.setDial(state.dial)
			time.Sleep(10 * time.Minute)
			want := []int{3, 4, 5, 5, 6}[i]
			if n := w.log.Count("\n"); n != want || w.log.Count(state.says) == 0 {
				t.Errorf("after state %d %d lines, want %d with %q:\n%s", i, n, want, state.says, w.log)
			}
		}
		w.setDial(nil)
		w.registered()
		synctest.Wait() // for C to have read P's answer
		if n := w.log.Count("\n"); n != 7 {
			t.Errorf("connected again: %d lines, want 7:\n%s", n, w.log)
		}
	})
}

// SIGHUP ends the pause after a 401, with the new token.
func TestReload(t *testing.T) {
	var token string
	var fail error
	inWorld(t, func(w *world) {
		token, fail = "sesame-old", nil
		load := w.cfg.Load
		w.cfg.Load = func() (Identity, error) {
			id, _ := load()
			id.Token = token
			return id, fail
		}
	}, func(w *world) {
		time.Sleep(time.Hour)
		fail = errors.New("token file is missing")
		if err := w.agent.Reload(); err != fail {
			t.Errorf("Reload: %v, want %v", err, fail)
		}
		token, fail = "sesame", nil
		began := time.Now()
		if err := w.agent.Reload(); err != nil {
			t.Errorf("Reload: %v", err)
		}
		s := w.registered()
		if took := time.Since(began); took != 0 {
			t.Errorf("the new token was tried after %v, want at once", took)
		}
		// A reload drops nothing.
		if err := w.agent.Reload(); err != nil {
			t.Errorf("Reload: %v", err)
		}
		time.Sleep(time.Hour)
		s.wantServing(t)
	})
}

// A P that is gone without a word is noticed within two intervals.
func TestHalfOpen(t *testing.T) {
	inWorld(t, func(w *world) { w.cfg.Session.KeepAlive = 15 * time.Second }, func(w *world) {
		r := <-w.regs
		// Ends when C closes: what C sends arrives nowhere.
		go io.Copy(io.Discard, r.Conn.NetConn())
		began := time.Now()
		s := w.registered()
		if took := time.Since(began); took < 29*time.Second || took > 35*time.Second {
			t.Errorf("noticed after %v, want 30 s", took)
		}
		s.wantServing(t)
		if w.log.Count("connection lost") != 1 {
			t.Errorf("the loss was not said once:\n%s", w.log)
		}
	})
}

// slow is a handler whose answers end when the test lets them.
type slow struct{ begun, let chan struct{} }

func newSlow() *slow {
	return &slow{begun: make(chan struct{}, 1), let: make(chan struct{})}
}

func (s *slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "begin ")
	http.NewResponseController(w).Flush()
	s.begun <- struct{}{}
	select {
	case <-s.let:
		io.WriteString(w, "end")
	case <-r.Context().Done():
	}
}

type result struct {
	body string
	err  error
}

// ask starts a request and returns when its handler has begun.
func (s *slow) ask(p *session) chan result {
	done := make(chan result, 1)
	// Ends with the request, for which the test waits.
	go func() {
		body, err := p.get(context.Background(), "/")
		done <- result{body, err}
	}()
	<-s.begun
	return done
}

func TestStop(t *testing.T) {
	tests := []struct {
		name  string
		steps func(w *world, h *slow) // after stop
		whole bool
		took  time.Duration
	}{
		{"open requests finish", func(w *world, h *slow) { time.Sleep(20 * time.Second); close(h.let) }, true, 20 * time.Second},
		{"they have the limit", func(w *world, h *slow) {}, false, 30 * time.Second},
		{"the second signal is immediate", func(w *world, h *slow) { time.Sleep(5 * time.Second); w.now() }, false, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newSlow()
			inWorld(t, func(w *world) { h.begun, h.let = make(chan struct{}, 1), make(chan struct{}); w.cfg.Handler = h }, func(w *world) {
				s := w.registered()
				done := h.ask(s)
				began := time.Now()
				w.stop()
				// A goodbye is said before anything ends.
				<-s.GoingAway()
				if took := time.Since(began); took > 10*time.Millisecond {
					t.Errorf("GOAWAY came after %v, want at once", took)
				}
				tt.steps(w, h)
				r := <-done
				if whole := r.err == nil && r.body == "begin end"; whole != tt.whole {
					t.Errorf("the open request ended with %q, %v; want whole %v", r.body, r.err, tt.whole)
				}
				<-w.ended
				if took := time.Since(began); took < tt.took || took > tt.took+2100*time.Millisecond {
					t.Errorf("Run returned after %v, want %v and the closing", took, tt.took)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if len(w.dials) != 1 {
					t.Errorf("%d dials, want none after the stop", len(w.dials)-1)
				}
			})
		})
	}
}

// Whatever C is doing, a stop ends it at once if nothing is open.
func TestStopAtOnce(t *testing.T) {
	tests := map[string]func(w *world){
		"in a pause": func(w *world) {
			w.setDial(func(int) (net.Conn, error) { return nil, errors.New("refused") })
			time.Sleep(10 * time.Minute)
		},
		"in a handshake": func(w *world) {
			w.setDial(func(int) (net.Conn, error) { c, _ := net.Pipe(); return c, nil })
			time.Sleep(10*time.Minute + time.Second)
		},
		"idle": func(w *world) { time.Sleep(10 * time.Minute) },
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				s := w.registered()
				if name != "idle" {
					s.reg.Conn.NetConn().Close()
				}
				prepare(w)
				began := time.Now()
				w.stop()
				<-w.ended
				// An engine waits up to 1 s for the peer's end of the connection.
				if took := time.Since(began); took > 1100*time.Millisecond {
					t.Errorf("Run returned after %v, want at once", took)
				}
			})
		})
	}
}

// When P says goodbye, C connects anew at once, and the old session finishes
// what it serves.
func TestGoodbyeOfP(t *testing.T) {
	h := newSlow()
	inWorld(t, func(w *world) { h.begun, h.let = make(chan struct{}, 1), make(chan struct{}); w.cfg.Handler = h }, func(w *world) {
		old := w.registered()
		done := h.ask(old)
		time.Sleep(time.Minute)
		began := time.Now()
		shut := make(chan error, 1)
		// Ends when the open request has, for which the test waits.
		go func() { shut <- old.Shutdown(context.Background()) }()
		next := w.registered()
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("C was back after %v, want at once", took)
		}
		if next.reg.Instance != old.reg.Instance {
			t.Errorf("instance %q, want the same as before, %q", next.reg.Instance, old.reg.Instance)
		}
		close(h.let)
		if r := <-done; r.err != nil || r.body != "begin end" {
			t.Errorf("the request of the old session: %q, %v", r.body, r.err)
		}
		if err := <-shut; err != nil {
			t.Errorf("P's Shutdown: %v", err)
		}
		<-h.ask(next)
	})
}

// A session that P said goodbye to, and that is then lost with what it served, is
// said once, with the cause.
func TestLostAfterGoodbye(t *testing.T) {
	h := newSlow()
	inWorld(t, func(w *world) { h.begun, h.let = make(chan struct{}, 1), make(chan struct{}); w.cfg.Handler = h }, func(w *world) {
		old := w.registered()
		done := h.ask(old)
		// Ends with the session, which is cut below.
		go old.Shutdown(context.Background())
		next := w.registered()
		old.reg.Conn.NetConn().Close()
		if r := <-done; r.err == nil {
			t.Errorf("the open request ended with %q, want an error", r.body)
		}
		synctest.Wait() // C has seen the end before its handler has ended
		close(h.let)
		<-h.ask(next)
		synctest.Wait()
		if w.log.Count("level=WARN") != 1 || w.log.Count("open requests were cut off") != 1 {
			t.Errorf("log\n%s\nwants one warning: that open requests were cut off", w.log)
		}
	})
}

// A loss is one warning, whatever the cause, and says which; a line behind it has the
// frames that came before.
func TestLossIsOneWarning(t *testing.T) {
	for name, tt := range map[string]struct {
		lose func(s *session)
		says string
	}{
		"closed":  {func(s *session) { s.Close() }, ""},
		"cut":     {func(s *session) { s.reg.Conn.NetConn().Close() }, "connection lost"},
		"garbage": {func(s *session) { s.reg.Conn.Write(bytes.Repeat([]byte{0xff}, 64)) }, "connection lost"},
		"said to err": {func(s *session) {
			s.reg.Conn.Write([]byte("\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01"))
		}, "PROTOCOL_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				s := w.registered()
				s.wantServing(t)
				tt.lose(s)
				time.Sleep(5 * time.Second)
				w.registered().wantServing(t)
				if tt.says == "" {
					if w.log.Count("level=WARN") > 0 {
						t.Errorf("log\n%s\nwants no warning", w.log)
					}
				} else if w.log.Count("level=WARN") != 1 || w.log.Count(tt.says) == 0 || w.log.Count("last frames of the lost connection") != 1 ||
					w.log.Count("recv SYN_STREAM stream=1 flags=FIN") != 1 || w.log.Count("\n") != 4 {
					t.Errorf("log\n%s\nwants, between two lines of being connected, a warning with %q and a line with the frames", w.log, tt.says)
				}
			})
		})
	}
}

// What a visitor makes a handler do is a few lines, and then one a minute.
func TestLinesOfHandlersAreBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("of the handler") })
	}, func(w *world) {
		s := w.registered()
		for range 500 {
			s.get(context.Background(), "/")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.log.Count("of the handler"); n != linesAtOnce+1 || w.log.Count(fmt.Sprint("times=", 500-linesAtOnce)) != 1 {
			t.Errorf("%d lines of 500 panics, want %d, and one with times=%d", n, linesAtOnce+1, 500-linesAtOnce)
		}
	})
}

// A P with --max-header-bytes of 1 MiB can hand on what it takes.
func TestTakesLargeHeads(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, bytes := 0, 0
			for _, values := range r.Header {
				n += len(values)
				for _, v := range values {
					bytes += len(v)
				}
			}
			fmt.Fprint(w, n, " ", bytes)
		})
	}, func(w *world) {
		s := w.registeredWith(&spdy.Config{MaxPeerFrameSize: 2 << 20})
		for _, tt := range []struct{ lines, each int }{{1, 1 << 20}, {8000, 100}} {
			req, err := http.NewRequest("GET", "http://p.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["User-Agent"] = nil
			for i := range tt.lines {
				req.Header.Set(fmt.Sprint("X-", i), strings.Repeat("x", tt.each))
			}
			res, err := s.RoundTrip(req)
			if err != nil {
				t.Fatalf("%d lines of %d bytes: %v", tt.lines, tt.each, err)
			}
			body, err := io.ReadAll(res.Body)
			if want := fmt.Sprint(tt.lines, " ", tt.lines*tt.each); err != nil || string(body) != want {
				t.Errorf("%d lines of %d bytes: C got %q, %v; want %q", tt.lines, tt.each, body, err, want)
			}
		}
	})
}

// Every connection has an instance of its own, whatever address it goes to: two
// addresses may lead to one P, and an instance replaces itself.
func TestInstances(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Proxies = []string{"p.example:1444", "p.example:2444"}
		w.cfg.Connections = 3
	}, func(w *world) {
		ids := make(map[string]bool)
		process := make(map[string]bool)
		for range 6 {
			id := w.registered().reg.Instance
			ids[id] = true
			random, _, _ := strings.Cut(id, ".")
			process[random] = true
		}
		if len(ids) != 6 || len(process) != 1 {
			t.Errorf("instances %v, want 6 of one process", ids)
		}
		w.stop()
		<-w.ended
	})
}

// A connection that is lost does not touch the others.
func TestConnectionsAreApart(t *testing.T) {
	inWorld(t, func(w *world) { w.cfg.Connections = 2 }, func(w *world) {
		a, b := w.registered(), w.registered()
		a.reg.Conn.NetConn().Close()
		w.registered().wantServing(t)
		b.wantServing(t)
	})
}

// The default origin has no name, and is called @ where it has to be named.
func TestDefaultName(t *testing.T) {
	for _, name := range []string{"", "@"} {
		a, err := New(Config{Proxies: []string{"p:1"}, Name: name, Load: func() (Identity, error) { return Identity{}, nil }})
		if err != nil || a.cfg.Name != "" {
			t.Errorf("the name %q: got %q, %v; want the default origin", name, a.cfg.Name, err)
		}
	}
}

func TestNewErrors(t *testing.T) {
	load := func() (Identity, error) { return Identity{}, nil }
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no proxy", Config{}, "--proxy"},
		{"no port", Config{Proxies: []string{"localhost"}}, "HOST:PORT"},
		{"no host", Config{Proxies: []string{":1444"}}, "HOST:PORT"},
		{"a URL", Config{Proxies: []string{"https://localhost:1444"}}, "HOST:PORT"},
		{"a URL without a port", Config{Proxies: []string{"https://localhost"}}, "HOST:PORT"},
		{"no such port", Config{Proxies: []string{"localhost:65536"}}, "HOST:PORT"},
		{"port 0", Config{Proxies: []string{"localhost:0"}}, "HOST:PORT"},
		{"too many", Config{Proxies: []string{"p:1"}, Connections: 65}, "--connections"},
		{"less than none", Config{Proxies: []string{"p:1"}, Connections: -1}, "--connections"},
		{"a name", Config{Proxies: []string{"p:1"}, Name: "a_b"}, "--name"},
		{"a name like another", Config{Proxies: []string{"p:1"}, Name: "pаypal"}, "--name"},
		{"files", Config{Proxies: []string{"p:1"}, Load: func() (Identity, error) { return Identity{}, errors.New("no file") }}, "no file"},
	}
	for _, tt := range tests {
		if tt.cfg.Load == nil {
			tt.cfg.Load = load
		}
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", tt.name, err, tt.want)
		}
	}
	a, err := New(Config{Proxies: []string{"p:1"}, Load: load})
	if err != nil {
		t.Fatal(err)
	}
	if a.cfg.Session.MaxConcurrentStreams != 10_000 || a.cfg.Session.FairKey == nil || a.cfg.Connections != 1 {
		t.Errorf("defaults: %+v", a.cfg)
	}
}
