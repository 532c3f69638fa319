//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

const (
	visitors = 8
	pause    = 40 * time.Millisecond // between two requests of one: 200 a second in all
)

// ask asks for a small file again and again, half of the visitors with a connection for
// each request, until stdin ends.
func ask(url string, stdin io.Reader, stdout io.Writer) int {
	ctx, stop := context.WithCancel(context.Background())
	// Ends with stdin, which is this program's end.
	go func() {
		io.Copy(io.Discard, stdin)
		stop()
	}()
	var asked, failed atomic.Int64
	var slowest atomic.Int64 // ns
	var running sync.WaitGroup
	for i := range visitors {
		client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: i%2 == 0, DialContext: dialHere}}
		// Ends with ctx.
		running.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				asked.Add(1)
				if err := get(client, url); err != nil {
					failed.Add(1)
					fmt.Fprintln(stdout, err)
				}
				if took := int64(time.Since(began)); took > slowest.Load() {
					slowest.Store(took)
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	running.Wait()
	fmt.Fprintf(stdout, "%d requests, %d failed, the slowest took %v\n", asked.Load(), failed.Load(), time.Duration(slowest.Load()).Round(time.Millisecond))
	if failed.Load() > 0 || asked.Load() == 0 {
		return 1
	}
	return 0
}

// dialHere dials this machine, whatever its names are.
func dialHere(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

func get(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK || string(body) != content {
		return fmt.Errorf("%s: %s, %.60q", url, resp.Status, body)
	}
	return nil
}

// under does something while visitors come, in the Debian's network, and checks that
// each of them got what he asked for.
func (l *lab) under(url, what string, do func() error) {
	self, err := os.Executable()
	if err != nil {
		l.check(what, err)
		return
	}
	cmd := exec.CommandContext(l.ctx, "nsenter", "--target", l.pid, "--net", self, "--load", url)
	end, err := cmd.StdinPipe()
	if err != nil {
		l.check(what, err)
		return
	}
	done := make(chan error, 1)
	var said []byte
	// Ends with the visitors, soon after end is closed.
	go func() {
		out, err := cmd.CombinedOutput()
		said = out
		done <- err
	}()
	select { // some come before
	case <-l.ctx.Done():
	case <-time.After(time.Second):
	}
	err = do()
	select { // and after
	case <-l.ctx.Done():
	case <-time.After(2 * time.Second):
	}
	end.Close()
	visited := <-done
	if err != nil {
		l.check(what, err)
		return
	}
	if visited != nil {
		visited = fmt.Errorf("%w:\n%s", visited, last(said, 2000))
	} else {
		what += ": " + string(last(said[:len(said)-1], 200))
	}
	l.check(what, visited)
}

func last(text []byte, n int) []byte { return text[max(0, len(text)-n):] }
