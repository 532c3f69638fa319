package spdy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
)

// sizes notes how long each write is.
type sizes struct {
	net.Conn
	mu  sync.Mutex
	all []int // guarded by mu
}

func (s *sizes) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.all = append(s.all, len(p))
	s.mu.Unlock()
	return s.Conn.Write(p)
}

// Four full records are written at once, and are no longer than what the system
// sends in one packet: see maxRecord. The sessions make the handshake, too,
// which must not wait for what is collected.
func TestCorkFitsPacket(t *testing.T) {
	const packet = 45 * 1448
	cert, pool := newCertificate(t)
	for version, overhead := range map[uint16]int{tls.VersionTLS12: 5 + 8 + 16, tls.VersionTLS13: 5 + 1 + 16} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			near, far := net.Pipe()
			below := &sizes{Conn: far}
			config := &tls.Config{
				Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "localhost",
				MinVersion: version, MaxVersion: version, DynamicRecordSizingDisabled: true,
			}
			if version == tls.VersionTLS12 {
				config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			}
			const size = 4 << 20
			server := new(spdy.Config).NewServerSession(tls.Server(spdy.Corkable(below), config), &http.Server{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Length", strconv.Itoa(size))
					w.Write(make([]byte, size))
				}),
			})
			client := new(spdy.Config).NewClientSession(tls.Client(near, config))
			var served sync.WaitGroup
			served.Go(func() { server.Serve() })
			served.Go(func() { client.Serve() })
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://host/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
				t.Errorf("got %d bytes, %v, want %d", n, err, size)
			}
			client.Close()
			server.Close()
			served.Wait()
			longest := 0
			for _, n := range below.all {
				longest = max(longest, n)
			}
			if full := 4 * (16<<10 - 128 + overhead); longest != full || full > packet {
				t.Errorf("the longest write has %d bytes, want four records of %d in all, and %d at most", longest, full, packet)
			}
		})
	}
}

// A peer that was slow in the handshake is not dead at its end.
func TestKeepAliveAfterHandshake(t *testing.T) {
	cert, pool := newCertificate(t)
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		server := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{cert}})
		s := (&spdy.Config{KeepAlive: 2 * time.Second}).NewServerSession(server, nil)
		var running sync.WaitGroup
		running.Go(func() { s.Serve() })
		<-time.After(3900 * time.Millisecond)
		peer := tls.Client(far, &tls.Config{RootCAs: pool, ServerName: "localhost"})
		if err := peer.Handshake(); err != nil {
			t.Fatal(err)
		}
		running.Go(func() { io.Copy(io.Discard, peer) }) // ends with the session
		<-time.After(time.Second)
		select {
		case <-s.GoingAway():
			t.Errorf("a second after the handshake the session has ended: %v", s.Err())
		default:
		}
		s.Close()
		peer.Close()
		running.Wait()
	})
}

// A peer that does not begin the handshake cannot keep a session from ending,
// and is as dead as any that is silent.
func TestEndInHandshake(t *testing.T) {
	cert, _ := newCertificate(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	for name, end := range map[string]func(*spdy.Session){
		"Close": (*spdy.Session).Close,
		"Shutdown": func(s *spdy.Session) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.Shutdown(ctx)
		},
		"keep-alive": func(s *spdy.Session) { <-s.Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				s := (&spdy.Config{KeepAlive: 2 * time.Second}).NewServerSession(tls.Server(near, config), nil)
				served := make(chan error, 1)
				go func() { served <- s.Serve() }() // waited for below
				synctest.Wait()
				began := time.Now()
				end(s)
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("it took %v, want 6 s at most", took)
				}
				if err := <-served; name == "keep-alive" != errors.Is(err, spdy.ErrDead) {
					t.Errorf("Serve: got %v", err)
				}
			})
		})
	}
}
