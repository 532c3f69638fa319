//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/agent"
)

// crowd is how many Cs there are besides the two.
const crowd = 200

func crowdFaults() []fault {
	return []fault{
		{name: "crowd", about: fmt.Sprintf("%d Cs more are connected when p is killed, and started again at once: all must come back", crowd), lasts: 10 * time.Second, once: true, // handshakes with -race are not what is asked for
			inflict: crowdBack},
		{name: "visitors-gone", about: "40 visitors at a time reset their connections in the midst of downloads and uploads", lasts: 4 * time.Second,
			spared: everything, soak: true, inflict: leavers},
	}
}

// crowdBack is about many Cs whose p is killed. They are in this program.
func crowdBack(ctx context.Context, l *lab) error {
	going, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	name := func(i int) string { return fmt.Sprintf("one-%d", i) }
	for i := range crowd {
		a, err := agent.New(agent.Config{
			Proxies: []string{l.control}, Name: name(i),
			Load: func() (agent.Identity, error) {
				return agent.Identity{Token: labToken, TLS: &tls.Config{RootCAs: l.ca.pool(), ServerName: serverName}}, nil
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name(i)) }),
			Session: spdy.Config{KeepAlive: 5 * time.Second},
		})
		if err != nil {
			return err
		}
		// Ends with stop; awaited above.
		all.Go(func() { a.Run(going, going) })
	}
	present := func() error {
		for i := range crowd {
			if err := l.visits.named(ctx, name(i)); err != nil {
				return fmt.Errorf("%s: %w", name(i), err)
			}
		}
		return nil
	}
	if err := until(ctx, comeback, present); err != nil {
		return fmt.Errorf("the crowd does not come: %w", err)
	}
	if err := again(func(l *lab) []*daemon { return []*daemon{l.p} }, syscall.SIGKILL)(ctx, l); err != nil {
		return err
	}
	began := time.Now()
	if err := until(ctx, comeback, present); err != nil {
		return fmt.Errorf("the crowd does not come back: %w", err)
	}
	l.notef("all of %d were back and had answered after %.1f s", crowd, time.Since(began).Seconds())
	return nil
}

// named asks one of the crowd who it is.
func (v *visitors) named(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", v.lab.url("/"), nil)
	if err != nil {
		return err
	}
	r.Host = name + ".lab.test"
	resp, err := v.kept.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", resp.Status)
	}
	if err == nil && string(text) != name {
		v.tally.wrongf(get, "%s answered for %s", text, name)
	}
	return err
}

// leavers begin requests and reset their connections.
func leavers(ctx context.Context, l *lab) error {
	for range 20 {
		var all sync.WaitGroup
		for i := range 40 {
			// Ends soon: it reads or writes for a moment.
			all.Go(func() { l.leave(i%2 == 0) })
		}
		all.Wait()
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// leave is one visitor that resets its connection when a download or an upload has
// just begun.
func (l *lab) leave(downloads bool) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", l.front)
	if err != nil {
		return
	}
	conn.(*net.TCPConn).SetLinger(0)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if l.variant.tls {
		conn = tls.Client(conn, &tls.Config{RootCAs: l.ca.pool(), ServerName: serverName})
	}
	if downloads {
		fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: lab.test\r\n\r\n", largeFile)
		io.CopyN(io.Discard, conn, 10_000)
		return
	}
	fmt.Fprintf(conn, "POST /in/ HTTP/1.1\r\nHost: lab.test\r\nContent-Length: %d\r\n\r\n", uploadSize)
	io.CopyN(conn, body{1, uploadSize}.reader(), 100_000)
}
