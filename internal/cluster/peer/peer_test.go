package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

// Who is no node of the cluster gets no link, at either end.
func TestRefusesStrangers(t *testing.T) {
	ca, other := controltest.NewCA(t), controltest.NewCA(t)
	inCluster(t, "p1", func(c *cluster) {
		n := c.nodes["p1"]
		own := c.ca
		base := func(cert tls.Certificate) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: own.Pool(), ServerName: "p1", NextProtos: []string{ALPN}}
		}
		clientOnly := own.Issue(c, "p2")
		for what, test := range map[string]struct {
			cfg    *tls.Config
			change func(*tls.Config)
			ok     bool
		}{
			"a node":         {cfg: base(clientOnly), ok: true},
			"no certificate": {cfg: base(clientOnly), change: func(c *tls.Config) { c.Certificates = nil }},
			"a certificate of another CA, as of --client-ca": {cfg: base(other.Issue(c, "p2"))},
			"a certificate of nobody's":                      {cfg: base(ca.Issue(c, "p2"))},
			"the node's own id":                              {cfg: base(own.Issue(c, "p1"))},
			"a name that is no id":                           {cfg: base(own.Issue(c, "P2.example"))},
			"an address and no name":                         {cfg: base(own.Issue(c, "192.0.2.1"))},
			"TLS 1.2":                                        {cfg: base(clientOnly), change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
			"no ALPN":                                        {cfg: base(clientOnly), change: func(c *tls.Config) { c.NextProtos = nil }},
			"HTTP":                                           {cfg: base(clientOnly), change: func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }},
		} {
			if test.change != nil {
				test.change(test.cfg)
			}
			conn, err := c.dial("p1")
			if err != nil {
				t.Fatal(err)
			}
			tc := tls.Client(conn, test.cfg)
			s := (*spdy.Config)(nil).NewClientSession(tc)
			go s.Serve()
			ctx, cancel := context.WithTimeout(c.Context(), time.Second)
			_, err = s.PingContext(ctx)
			cancel()
			if (err == nil) != test.ok {
				t.Errorf("%s: got %v, want it to be a link: %v", what, err, test.ok)
			}
			s.Close()
		}
		synctest.Wait()
		n.links.mu.Lock()
		defer n.links.mu.Unlock()
		if len(n.links.incoming) != 0 || len(n.links.coming) != 0 {
			t.Errorf("afterwards: got %d links, %d handshakes, want none", len(n.links.incoming), len(n.links.coming))
		}
	})
	inCluster(t, "p1", func(c *cluster) {
		// Who dials verifies as well: another CA's node, another node, itself.
		n := c.nodes["p1"]
		stranger := c.add("p2", other)
		n.links.Connect("p2", "p2")
		c.add("p3", c.ca)
		n.links.Connect("p4", "p3")
		n.links.Connect("p1", "p1")
		time.Sleep(10 * time.Second)
		n.wantEvents()
		stranger.wantEvents()
		for _, i := range n.links.Nodes() {
			if i.Up {
				t.Errorf("got %+v, want no link", i)
			}
		}
	})
}

// What somebody does not finish is bounded in time and number.
func TestHandshakesAreBounded(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		n := c.nodes["p1"]
		var first net.Conn
		for i := range maxHandshakes {
			conn, err := c.dial("p1")
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = conn
				synctest.Wait()
			}
		}
		id, err := c.files(c.ca, "p3").Load()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.dial("p1")
		if err != nil {
			t.Fatal(err)
		}
		s := (*spdy.Config)(nil).NewClientSession(tls.Client(conn, id.client("p1")))
		go s.Serve()
		defer s.Close()
		if _, err := s.PingContext(c.Context()); err != nil {
			t.Errorf("a node that comes when there is no place: got %v", err)
		}
		if _, err := first.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the first of those in its place: got %v, want EOF", err)
		}
		time.Sleep(handshakeTime + time.Second)
		n.links.mu.Lock()
		if got := len(n.links.coming); got != 0 {
			t.Errorf("after their time: got %d handshakes, want none", got)
		}
		n.links.mu.Unlock()
		n.wantEvents("up p2") // which nobody has disturbed
	})
}

// One node has some links at most.
func TestLinksOfANodeAreBounded(t *testing.T) {
	inCluster(t, "p1", func(c *cluster) {
		id, err := c.files(c.ca, "p2").Load()
		if err != nil {
			t.Fatal(err)
		}
		up := 0
		for range maxPerNode + 3 {
			conn, err := c.dial("p1")
			if err != nil {
				t.Fatal(err)
			}
			s := (*spdy.Config)(nil).NewClientSession(tls.Client(conn, id.client("p1")))
			go s.Serve()
			defer s.Close()
			if _, err := s.PingContext(c.Context()); err == nil {
				up++
			}
		}
		if up != maxPerNode {
			t.Errorf("got %d links, want %d", up, maxPerNode)
		}
	})
}

// A link that is lost is seen soon, and made again.
func TestLinkIsMadeAgain(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		p1, p2 := c.nodes["p1"], c.nodes["p2"]
		p1.wantEvents("up p2")
		p2.wantEvents("up p1")
		x := p2.serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		r, _ := p1.know("p2", x)
		fail := make(chan error)
		ask := func() {
			_, err := r.RoundTrip(c.request("GET", "/", nil))
			fail <- err
		}
		go ask()
		synctest.Wait()
		c.eachLine((*spdytest.Conn).Reset)
		if se, ok := errors.AsType[*spdy.SessionError](<-fail); !ok || se.NotProcessed {
			t.Errorf("what was open: got %v, want a SessionError that is not retryable", se)
		}
		if _, err := r.RoundTrip(c.request("GET", "/", nil)); !spdy.Retryable(err) {
			t.Errorf("on the link that is lost: got %v, want one that is retryable", err)
		}
		c.settle()
		p1.wantEvents("lost p2", "up p2")
		p2.wantEvents("lost p1", "up p1")
		if got := p1.links.Totals(); got.Requests != 2 || got.Taken != 0 || p2.links.Totals().Taken != 1 {
			t.Errorf("Totals: got %+v and %+v, want two requests, of which one was taken", got, p2.links.Totals())
		}
		if n := p1.links.Nodes(); len(n) != 1 || !n[0].Up || n[0].Requests != 2 || n[0].RoundTrip <= 0 {
			t.Errorf("got %+v, want a link that stands, and two requests", n)
		}

		// A node that is silent, and whose connection says nothing of it.
		r, _ = p1.know("p2", x)
		go ask()
		synctest.Wait()
		began := time.Now()
		c.eachLine(func(line *spdytest.Conn) { line.Freeze(true) })
		err := <-fail
		if took := time.Since(began); !errors.Is(err, spdy.ErrDead) || took > 2100*time.Millisecond {
			t.Errorf("a silent node: got %v after %v, want ErrDead after 2s", err, took)
		}
		c.settle()
		p1.wantEvents("lost p2", "up p2")
	})
}

// A node that stands still, and one whose answers are lost, look alike: a request may
// have come to C or not. So it fails, and is not one that may be repeated, though nobody
// has read of its body.
func TestStandsStill(t *testing.T) {
	for _, atC := range []bool{false, true} {
		inCluster(t, "p1 p2", func(c *cluster) {
			var came atomic.Int32
			stop := func() { c.eachLine(func(line *spdytest.Conn) { line.Freeze(true) }) }
			// C asks for the body, or a node would, for the window that C's streams start with.
			x := c.nodes["p2"].serve("films", "x.0", spdy.Config{WindowOnRead: true}, func(http.ResponseWriter, *http.Request) {
				came.Add(1)
				stop()
			})
			r, _ := c.nodes["p1"].know("p2", x)
			if !atC {
				stop()
			}
			body := &countedReader{Reader: strings.NewReader("a body")}
			began := time.Now()
			_, err := r.RoundTrip(c.request("POST", "/", body))
			if _, ok := errors.AsType[*spdy.SessionError](err); !ok || !errors.Is(err, spdy.ErrDead) || spdy.Retryable(err) {
				t.Errorf("stopped when it is at C %v: got %v, want ErrDead that is not retryable", atC, err)
			}
			if took := time.Since(began); took > 2*keepAlive+keepAlive/10 {
				t.Errorf("stopped when it is at C %v: it failed after %v", atC, took)
			}
			if atC != (came.Load() == 1) || body.reads.Load() != 0 {
				t.Errorf("stopped when it is at C %v: it was there %d times, %d reads of the body", atC, came.Load(), body.reads.Load())
			}
			c.settle()
		})
	}
}

// A node that cannot be reached is dialled again and again, with pauses.
func TestDialsAgain(t *testing.T) {
	inCluster(t, "p1", func(c *cluster) {
		p1 := c.nodes["p1"]
		p1.links.Connect("p2", "p2")
		time.Sleep(time.Minute)
		p1.wantEvents()
		c.add("p2", c.ca)
		time.Sleep(2 * lastPause)
		p1.wantEvents("up p2")
		p1.links.Connect("p2", "p2") // the same
		c.settle()
		p1.wantEvents()

		// Somebody says that it is elsewhere, and it is not.
		p1.links.Connect("p2", "nowhere")
		c.settle()
		p1.wantEvents()

		// Another address: what is open goes on.
		x := c.nodes["p2"].serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			io.WriteString(w, "slow")
		})
		r, _ := p1.know("p2", x)
		done := make(chan answer)
		go func() { done <- c.read(r.RoundTrip(c.request("GET", "/", nil))) }()
		synctest.Wait()
		c.reachable("elsewhere", c.nodes["p2"])
		p1.links.Connect("p2", "elsewhere")
		c.settle()
		p1.wantEvents("down p2", "up p2")
		if a := <-done; a.body != "slow" || a.err != nil {
			t.Errorf("what was open: got %q, %v", a.body, a.err)
		}
		p1.links.Forget("p2")
		p1.wantEvents("down p2")
		if n := p1.links.Nodes(); len(n) != 0 {
			t.Errorf("got %+v, want none", n)
		}
		time.Sleep(time.Minute)
		p1.wantEvents()
	})
}

// A node that stops finishes what it serves for others, who are told first.
func TestShutdown(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		p1, p2 := c.nodes["p1"], c.nodes["p2"]
		p1.wantEvents("up p2")
		x := p2.serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			io.WriteString(w, "slow")
		})
		r, _ := p1.know("p2", x)
		done := make(chan answer)
		go func() { done <- c.read(r.RoundTrip(c.request("GET", "/", nil))) }()
		synctest.Wait()
		began := time.Now()
		if err := p2.links.Shutdown(c.Context()); err != nil || time.Since(began) > 6*time.Second {
			t.Errorf("Shutdown: got %v after %v, want nil after 5s", err, time.Since(began))
		}
		if a := <-done; a.body != "slow" || a.err != nil {
			t.Errorf("what was open: got %q, %v", a.body, a.err)
		}
		p1.wantEvents("down p2")
		if _, err := r.RoundTrip(c.request("GET", "/", nil)); !spdy.Retryable(err) {
			t.Errorf("afterwards: got %v, want one that is retryable", err)
		}
		p2.links.Connect("p1", "p1")
		if len(p2.links.Nodes()) != 0 || p2.links.Serve(controltest.NewListener()) != nil {
			t.Error("after Shutdown: want Connect and Serve to do nothing")
		}
	})
	inCluster(t, "p1 p2", func(c *cluster) {
		p1, p2 := c.nodes["p1"], c.nodes["p2"]
		x := p2.serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		r, _ := p1.know("p2", x)
		done := make(chan error)
		go func() {
			_, err := r.RoundTrip(c.request("GET", "/", nil))
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(c.Context(), 3*time.Second)
		defer cancel()
		if err := p2.links.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: got %v, want context.DeadlineExceeded", err)
		}
		if err := <-done; err == nil {
			t.Error("what was open beyond the limit: got no error")
		}
	})
}

// How long a node that stops lets go on what is open is its own to say; and that it is
// not there then is no news to the others.
func TestShutdownTakesItsTime(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		p1, p2 := c.nodes["p1"], c.nodes["p2"]
		x := p2.serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			for range 60 {
				io.WriteString(w, "slow")
				http.NewResponseController(w).Flush()
				time.Sleep(5 * time.Second)
			}
		})
		r, m := p1.know("p2", x)
		done := make(chan answer)
		go func() { done <- c.read(r.RoundTrip(c.request("GET", "/", nil))) }()
		synctest.Wait()
		p1.log.Take()
		time.AfterFunc(time.Minute, func() {
			r.Withdraw() // as the registry has it, whose link is down
			if !m.Leaves() {
				t.Errorf("a session whose node has said goodbye does not leave: %v", r.Err())
			}
		})
		ctx, cancel := context.WithTimeout(c.Context(), 10*time.Minute)
		defer cancel()
		if err := p2.links.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if a := <-done; len(a.body) != 60*4 || a.err != nil {
			t.Errorf("what was open: got %d bytes, %v, want 240", len(a.body), a.err)
		}
		if log := p1.log.String(); strings.Contains(log, "level=WARN") {
			t.Errorf("p1 warns of a node that stops as it should:\n%s", log)
		}
	})
}

// The files' errors are one line that names the file.
func TestFiles(t *testing.T) {
	ca, other := controltest.NewCA(t), controltest.NewCA(t)
	c := &cluster{T: t, ca: ca, dir: t.TempDir()}
	good := c.files(ca, "p1")
	id, err := good.Load()
	if err != nil || id.ID() != "p1" {
		t.Fatalf("got %v, %v, want the node p1", id, err)
	}
	for what, change := range map[string]func(f *Files){
		"no CA":                       func(f *Files) { f.CAFile += "x" },
		"no certificate":              func(f *Files) { f.CertFile += "x" },
		"no key":                      func(f *Files) { f.KeyFile += "x" },
		"a CA that is none":           func(f *Files) { f.CAFile = f.KeyFile },
		"another's key":               func(f *Files) { f.KeyFile = c.files(ca, "p1").KeyFile },
		"a certificate of another CA": func(f *Files) { f.CAFile = c.files(other, "p1").CAFile },
		"a name that is no id":        func(f *Files) { g := c.files(ca, "p1.example"); f.CertFile, f.KeyFile = g.CertFile, g.KeyFile },
		"no name":                     func(f *Files) { g := c.files(ca, "192.0.2.1"); f.CertFile, f.KeyFile = g.CertFile, g.KeyFile },
	} {
		f := good
		change(&f)
		_, err := f.Load()
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), c.dir) {
			t.Errorf("%s: got %v, want one line that names a file", what, err)
		}
	}
}
