//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/agent"
)

// trial is something that happens while visitors ask.
type trial struct {
	name, about string
	do          func(ctx context.Context, w *world) (said string, err error)
	may         bool // a POST may fail, visibly
}

var trials = []trial{
	{"quiet", "nothing happens", quiet, false},
	{"alone", "a p without a cluster has no more than one that was built without that code", alone, false},
	{"run", "three p and two c are started by one command, one p is killed, and all is ended by Ctrl-C", ran, false},
	{"route", "an origin connects to one node, another node routes to it", route, false},
	{"kill", "a node is killed", kill, true},
	{"stop", "a node is stopped for 10 s, and goes on", stop, true},
	{"rolling", "all nodes are restarted in turn", rolling, false},
	{"c", "one of the two c of an origin is killed", killC, true},
}

// try does t while visitors ask, and returns what is not as promised.
func (w *world) try(ctx context.Context, t trial, out io.Writer) (faults []string) {
	v := &visits{w: w, began: time.Now()}
	asking, stop := context.WithCancel(ctx)
	var visitors sync.WaitGroup
	for i := range w.o.workers {
		// Ends with asking; waited for below.
		visitors.Go(func() { v.visitor(asking, rand.New(rand.NewPCG(uint64(i), 7))) })
	}
	said, err := t.do(ctx, w)
	if err == nil {
		err = w.settled(ctx, w.sessions())
	}
	pause(ctx, w.o.while(3*time.Second))
	stop()
	visitors.Wait()
	if err != nil {
		faults = append(faults, err.Error())
	}
	twice := 0
	w.posts.Range(func(_, n any) bool {
		if n.(*atomic.Int32).Load() > 1 {
			twice++
		}
		return true
	})
	if twice > 0 {
		faults = append(faults, fmt.Sprintf("%d POSTs came to an origin twice", twice))
	}
	fmt.Fprintf(out, "%-10s %6d GET, %d failed, slowest %s; %d POST, %d failed, %d twice; %s\n", t.name,
		v.gets.Load(), v.failedGets.Load(), v.slow(), v.sent.Load(), v.failedPosts.Load(), twice, said)
	if first := v.first(); t.may && v.failedGets.Load() == 0 && first != "" {
		fmt.Fprintf(out, "           as may be: %s\n", first)
	}
	if v.failedGets.Load() > 0 || v.failedPosts.Load() > 0 && !t.may {
		faults = append(faults, v.first())
	}
	if v.wrong.Load() > 0 {
		faults = append(faults, fmt.Sprintf("%d answers were another's", v.wrong.Load()))
	}
	if v.gets.Load() == 0 {
		faults = append(faults, "nobody asked")
	}
	for _, n := range w.nodes {
		if list := n.warnings(); len(list) > 0 {
			faults = append(faults, fmt.Sprintf("%s says: %s", n.id, list[0]))
		}
	}
	return faults
}

// visits are what visitors see.
type visits struct {
	w                        *world
	gets, failedGets         atomic.Int64
	sent, failedPosts, wrong atomic.Int64
	began                    time.Time

	mu sync.Mutex
	// Guarded by mu.
	errors  []string      // the first ones
	slowest time.Duration // of GETs
	where   string        // that one was
}

// took notes how long a GET took that has ended now.
func (v *visits) took(d time.Duration, name string, n *node) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if d > v.slowest {
		v.slowest, v.where = d, fmt.Sprintf("%s at %s, from %v on", name, n.id, (time.Since(v.began)-d).Round(time.Millisecond))
	}
}

// slow says which GET was the slowest.
func (v *visits) slow() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return fmt.Sprintf("%v (%s)", v.slowest.Round(time.Millisecond), v.where)
}

func (v *visits) first() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Join(v.errors, "; ")
}

func (v *visits) failed(what string, n *node, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.errors) < 3 {
		v.errors = append(v.errors, fmt.Sprintf("%s at %s, after %v: %v", what, n.id, time.Since(v.began).Round(time.Millisecond), err))
	}
}

// visitor asks until ctx ends: each time on a connection of its own, as many visitors
// do. What is open then is waited for.
func (v *visits) visitor(ctx context.Context, random *rand.Rand) {
	client := &http.Client{Timeout: hold + 10*time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n := v.w.serving(random.IntN(1 << 20))
		if n == nil {
			continue
		}
		name, post := fmt.Sprint("n", random.IntN(v.w.o.origins)), random.IntN(4) == 0
		if !post && random.IntN(8) == 0 {
			name = fileOrigin
		}
		began := time.Now()
		err := v.ask(client, n, name, post)
		n.visitors.Done()
		if !post {
			v.gets.Add(1)
			v.took(time.Since(began), name, n)
		} else {
			v.sent.Add(1)
		}
		switch {
		case err == nil:
		case post:
			v.failedPosts.Add(1)
			v.failed("a POST", n, err)
		default:
			v.failedGets.Add(1)
			v.failed("a GET", n, err)
		}
	}
}

var errOther = errors.New("the answer is another origin's")

func (v *visits) ask(client *http.Client, n *node, name string, post bool) error {
	method, path, body := http.MethodGet, "/hello", io.Reader(nil)
	if post {
		method, body = http.MethodPost, strings.NewReader(strings.Repeat("x", 2000))
	}
	req, err := http.NewRequest(method, "http://"+n.front+path, body)
	if err != nil {
		return err
	}
	req.Host = name + "." + domain
	if post {
		req.Header.Set("X-Post", strconv.FormatInt(v.w.lastPost.Add(1), 10))
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d, %s, %.80q", resp.StatusCode, resp.Header.Get("Proxy-Status"), text)
	case string(text) != "hello of "+name:
		v.wrong.Add(1)
		return errOther
	}
	return nil
}

// pause waits for d, or for ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func quiet(ctx context.Context, w *world) (string, error) {
	pause(ctx, w.o.while(6*time.Second))
	return "", nil
}

func route(ctx context.Context, w *world) (string, error) {
	took, err := w.routes(ctx, 5)
	if err != nil {
		return "", err
	}
	for i := range took {
		took[i] = took[i].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("routable at another node after %v", took), nil
}

// routes measures several times how long it takes from a session at the last node, and
// nowhere else, to an answer at the first, in order.
func (w *world) routes(ctx context.Context, times int) (took []time.Duration, err error) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Second}
	defer client.CloseIdleConnections()
	for i := range times {
		name := fmt.Sprint("new", i)
		connected := make(chan time.Time, 1)
		own, cancel := context.WithCancel(ctx)
		a, err := agent.New(agent.Config{
			Proxies: []string{w.nodes[len(w.nodes)-1].control}, Name: name, NoFollow: true, Load: w.identity,
			Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "hello of "+name) }),
		})
		if err != nil {
			cancel()
			return nil, err
		}
		ended := make(chan struct{})
		// Ends with own.
		go func() { a.Run(own, own); close(ended) }()
		// Ends with the connection, or own.
		go func() {
			if a.Connected(own) == nil {
				connected <- time.Now()
			}
		}()
		// One request follows the other: the last one that fails says when.
		for began := time.Now(); ; {
			err = (&visits{w: w}).ask(client, w.nodes[0], name, false)
			if err == nil || ctx.Err() != nil || time.Since(began) > comeback {
				break
			}
		}
		now := time.Now()
		if err == nil {
			took = append(took, now.Sub(<-connected))
		}
		cancel()
		<-ended
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}

// kill kills a node under load, and starts it again.
func kill(ctx context.Context, w *world) (string, error) {
	pause(ctx, w.o.while(3*time.Second))
	n := w.nodes[1%len(w.nodes)]
	w.leaves(n)
	if err := n.signal(syscall.SIGKILL); err != nil {
		return "", err
	}
	pause(ctx, w.o.while(9*time.Second))
	return w.again(ctx, n)
}

// leaves has no visitor sent to n, and waits until those that were are gone.
func (w *world) leaves(n *node) {
	w.serve(n, false)
	n.visitors.Wait() // no longer than one waits for an answer
}

// again starts n again, and returns how long it took to be ready.
func (w *world) again(ctx context.Context, n *node) (string, error) {
	if err := n.ends(ctx, comeback); err != nil {
		return "", err
	}
	began := time.Now()
	if err := n.start(); err != nil {
		return "", err
	}
	if err := until(ctx, comeback, func() error {
		if !n.ready(ctx, "") {
			return fmt.Errorf("%s is not ready", n.id)
		}
		return nil
	}); err != nil {
		return "", err
	}
	w.serve(n, true)
	return fmt.Sprintf("ready %v after its new start", time.Since(began).Round(time.Millisecond)), nil
}

func stop(ctx context.Context, w *world) (string, error) {
	pause(ctx, w.o.while(3*time.Second))
	n := w.nodes[len(w.nodes)-1]
	w.leaves(n)
	if err := n.signal(syscall.SIGSTOP); err != nil {
		return "", err
	}
	pause(ctx, 10*time.Second)
	if err := n.signal(syscall.SIGCONT); err != nil {
		return "", err
	}
	// It is to notice by itself.
	err := w.settled(ctx, w.sessions())
	w.serve(n, true)
	return "", err
}

// rolling restarts each node, which is told by SIGTERM, with the visitors of a load
// balancer that looks whether it is ready.
func rolling(ctx context.Context, w *world) (string, error) {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	for _, n := range w.nodes {
		// Ends with looking.
		go func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					if ready := n.ready(looking, ""); looking.Err() == nil {
						w.serve(n, ready)
					}
				case <-looking.Done():
					return
				}
			}
		}()
	}
	var longest time.Duration
	for _, n := range w.nodes {
		began := time.Now()
		if err := n.signal(syscall.SIGTERM); err != nil {
			return "", err
		}
		if err := n.ends(ctx, drain+10*time.Second); err != nil {
			return "", err
		}
		longest = max(longest, time.Since(began))
		if _, err := w.again(ctx, n); err != nil {
			return "", err
		}
		if err := w.settled(ctx, w.sessions()); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("a node took %v to stop at most", longest.Round(time.Millisecond)), nil
}

func killC(ctx context.Context, w *world) (string, error) {
	pause(ctx, w.o.while(3*time.Second))
	if err := syscall.Kill(w.cs[0].PID(), syscall.SIGKILL); err != nil {
		return "", err
	}
	<-w.cs[0].Done()
	pause(ctx, w.o.while(6*time.Second))
	return "", w.startC(0)
}
