package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A job is what one process of the load does. It is read from standard input,
// whose end then asks for the work to end.
type job struct {
	Kind  string   // a constant below
	Addr  string   // HOST:PORT of the front
	Hosts []string // Host fields; connections share them out
	Path  string
	Size  int64 // of the body, in bytes

	Conns int           // at once
	Rate  float64       // of jobRate: requests/s; of jobReaders: bytes/s of each
	For   time.Duration // how long jobSteady and jobRate go on
	Fresh bool          // a connection for each request of jobRate
	Limit time.Duration // for the whole job; what is open then is broken off
}

const (
	jobSteady  = "steady"  // Conns connections, each asks again as soon as it is answered
	jobBulk    = "bulk"    // Conns downloads, once
	jobEndless = "endless" // Conns downloads, again and again until the input ends
	jobRate    = "rate"    // Rate requests a second, whether answered or not
	jobReaders = "readers" // Conns downloads, each read at Rate, until the input ends
	jobUpload  = "upload"  // one body of Size bytes is sent
)

// A result is what became of a job.
type result struct {
	Requests   int     // answered in full
	Bytes      int64   // of bodies
	Seconds    float64 // from the first request to the end of the last body
	P50, P99   float64 // ms, from when the request was due to the end of its body
	Unanswered int     // of jobRate: not in full within Limit
	Running    int     // of jobReaders: got a first byte
	Behind     int     // of those, got less than four fifths of their rate
	Error      string
	WrongBody  bool // the error is about what a body held
	Late       bool // the error is that Limit was over
}

// A report is one line of the load's standard output.
type report struct {
	Running bool    `json:",omitempty"` // all that jobEndless or jobReaders will get going is going
	Result  *result `json:",omitempty"` // the last line
}

// A loader does a job.
type loader struct {
	job
	pattern *pattern
	running func() // says so, once
}

// load is the part that makes the requests.
func load(ctx context.Context, _ []string, stdin io.Reader, stdout io.Writer) error {
	l := &loader{pattern: newPattern()}
	if err := json.NewDecoder(stdin).Decode(&l.job); err != nil {
		return err
	}
	out := json.NewEncoder(stdout)
	l.running = sync.OnceFunc(func() { out.Encode(report{Running: true}) })
	ctx, cancel := context.WithTimeout(ctx, l.Limit)
	defer cancel()
	stop, stopped := context.WithCancel(ctx)
	// Ends with the input, at the latest with the process; nobody waits for it.
	go func() {
		io.Copy(io.Discard, stdin)
		stopped()
	}()
	var r result
	var err error
	switch l.Kind {
	case jobSteady:
		r, err = l.steady(ctx)
	case jobBulk:
		r, err = l.bulk(ctx)
	case jobEndless:
		r, err = l.endless(stop)
	case jobRate:
		r, err = l.rate(ctx)
	case jobReaders:
		r, err = l.readers(stop)
	case jobUpload:
		r, err = l.upload(ctx)
	default:
		return fmt.Errorf("there is no job %q", l.Kind)
	}
	if err != nil {
		r.Error = err.Error()
		_, r.WrongBody = errors.AsType[*wrongBodyError](err)
		r.Late = ctx.Err() != nil
	}
	return out.Encode(report{Result: &r})
}

// request is what connection i sends.
func (l *loader) request(i int) []byte {
	return getRequest(l.Hosts[i%len(l.Hosts)], l.Path)
}

// smallBuffer is what a head and a small body fit into; bigBuffer lets a
// download cost few system calls.
const (
	smallBuffer = 8 << 10
	bigBuffer   = 256 << 10
)

func (l *loader) steady(ctx context.Context) (r result, err error) {
	clients := make([]*client, l.Conns)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.close()
			}
		}
	}()
	// One request each, before the time counts: connections behind the front
	// are made by it.
	err = each(ctx, l.Conns, 64, func(ctx context.Context, i int) error {
		c, err := dial(ctx, l.Addr, l.pattern, 0, smallBuffer)
		if err != nil {
			return err
		}
		clients[i] = c
		return c.get(l.request(i), l.Size, nil)
	})
	if err != nil {
		return r, err
	}
	var all durations
	start := time.Now()
	err = each(ctx, l.Conns, l.Conns, func(ctx context.Context, i int) error {
		// Its share of the hosts, one of them where there are more connections.
		var requests [][]byte
		for h := i % len(l.Hosts); h < len(l.Hosts); h += l.Conns {
			requests = append(requests, l.request(h))
		}
		var took []time.Duration
		now := time.Now()
		for k := 0; now.Sub(start) < l.For; k++ {
			if ctx.Err() != nil {
				return nil // another connection's error is the one to tell
			}
			if err := clients[i].get(requests[k%len(requests)], l.Size, nil); err != nil {
				return err
			}
			then := time.Now()
			took = append(took, then.Sub(now))
			now = then
		}
		all.add(took)
		return nil
	})
	r.Seconds = time.Since(start).Seconds()
	r.Requests = len(all.list)
	r.Bytes = int64(r.Requests) * l.Size
	r.P50, r.P99 = all.quantiles()
	return r, err
}

// each calls f for 0 to n-1, at most wide at once, and returns the first error,
// which ends the context of the others.
func each(ctx context.Context, n, wide int, f func(ctx context.Context, i int) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(n, wide) {
		// Ends when there is nothing left to call; waited for below.
		running.Go(func() {
			for inner.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(inner, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	running.Wait()
	return context.Cause(inner)
}

func (l *loader) bulk(ctx context.Context) (r result, err error) {
	start := time.Now()
	err = each(ctx, l.Conns, l.Conns, func(ctx context.Context, i int) error {
		c, err := dial(ctx, l.Addr, l.pattern, 0, bigBuffer)
		if err != nil {
			return err
		}
		defer c.close()
		return c.get(l.request(i), l.Size, nil)
	})
	r.Seconds = time.Since(start).Seconds()
	r.Requests = l.Conns
	r.Bytes = int64(l.Conns) * l.Size
	return r, err
}

func (l *loader) endless(ctx context.Context) (r result, err error) {
	var bytes atomic.Int64
	var going atomic.Int32
	start := time.Now()
	err = each(ctx, l.Conns, l.Conns, func(ctx context.Context, i int) error {
		c, err := dial(ctx, l.Addr, l.pattern, 0, bigBuffer)
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, c.close)()
		defer c.close()
		first := sync.OnceFunc(func() {
			if int(going.Add(1)) == l.Conns {
				l.running()
			}
		})
		for {
			err := c.get(l.request(i), l.Size, func(n int) {
				bytes.Add(int64(n))
				first()
			})
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	r.Seconds = time.Since(start).Seconds()
	r.Bytes = bytes.Load()
	return r, unlessStopped(err)
}

// unlessStopped drops the error that the end of the input is.
func unlessStopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// rate keeps asking at its pace: a request counts from when it was due, so that
// an answer that is late makes nothing else look better.
func (l *loader) rate(ctx context.Context) (r result, err error) {
	var (
		all        durations
		idle       = make(chan *client, 1024)
		unanswered atomic.Int32
		running    sync.WaitGroup
		mu         sync.Mutex
		failed     error // guarded by mu; of the first request that was answered wrongly
	)
	one := func(due time.Time) error {
		var c *client
		if !l.Fresh {
			select {
			case c = <-idle:
			default:
			}
		}
		if c == nil {
			var err error
			if c, err = dial(ctx, l.Addr, l.pattern, 0, smallBuffer); err != nil {
				return err
			}
		}
		if err := c.get(l.request(0), l.Size, nil); err != nil {
			c.close()
			return err
		}
		all.add([]time.Duration{time.Since(due)})
		if !l.Fresh {
			select {
			case idle <- c:
				return nil
			default:
			}
		}
		c.close()
		return nil
	}
	interval := time.Duration(float64(time.Second) / l.Rate)
	n := int(l.For / interval)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; i < n && ctx.Err() == nil; i++ {
		due := start.Add(time.Duration(i) * interval)
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			continue
		}
		// Ends with its answer, or with ctx, whose deadline the connection has;
		// waited for below.
		running.Go(func() {
			err := one(due)
			if err == nil {
				return
			}
			unanswered.Add(1)
			mu.Lock()
			defer mu.Unlock()
			if _, wrong := errors.AsType[*wrongBodyError](err); failed == nil && wrong {
				failed = err
			}
		})
	}
	running.Wait()
	close(idle)
	for c := range idle {
		c.close()
	}
	r.Seconds = time.Since(start).Seconds()
	r.Requests = len(all.list)
	r.Bytes = int64(r.Requests) * l.Size
	r.Unanswered = int(unanswered.Load())
	// One that was never answered took at least as long as it was waited for.
	for range r.Unanswered {
		all.add([]time.Duration{l.Limit})
	}
	r.P50, r.P99 = all.quantiles()
	return r, failed
}

// What a slow reader takes at once, and the size of its socket's buffer.
const (
	sip          = 4 << 10
	readerBuffer = 64 << 10
)

func (l *loader) readers(ctx context.Context) (r result, err error) {
	var running, behind atomic.Int32
	err = each(ctx, l.Conns, l.Conns, func(ctx context.Context, i int) error {
		pace := time.Duration(float64(sip) / l.Rate * float64(time.Second))
		// They come within two seconds, not all in one moment.
		timer := time.NewTimer(2 * time.Second * time.Duration(i) / time.Duration(l.Conns))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		c, err := dial(ctx, l.Addr, l.pattern, readerBuffer, sip)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, c.close)()
		defer c.close()
		got, took, err := l.sips(ctx, c, l.request(i), pace, func() {
			if int(running.Add(1)) == l.Conns {
				l.running()
			}
		})
		if took > 0 && float64(got) < 0.8*l.Rate*took.Seconds() {
			behind.Add(1)
		}
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
	r.Running, r.Behind = int(running.Load()), int(behind.Load())
	return r, unlessStopped(err)
}

// sips asks for a body and reads it a sip at each pace. It returns how much that
// was, and in what time from the first byte on.
func (l *loader) sips(ctx context.Context, c *client, request []byte, pace time.Duration, first func()) (got int64, took time.Duration, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, 0, err
	}
	_, length, err := c.head()
	if err != nil {
		return 0, 0, err
	}
	if length != l.Size {
		return 0, 0, &wrongBodyError{fmt.Sprintf("it is %d bytes long, want %d", length, l.Size)}
	}
	var start time.Time
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for got < length {
		for full := min(length, got+sip); got < full; {
			n, err := c.some(got, length, int(full-got))
			if err != nil {
				if !start.IsZero() {
					took = time.Since(start)
				}
				return got, took, err
			}
			if start.IsZero() {
				start = time.Now()
				first()
			}
			got += int64(n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return got, time.Since(start), nil
		}
	}
	return got, time.Since(start), errors.New("a body ended that was to last: it is too small")
}

func (l *loader) upload(ctx context.Context) (r result, err error) {
	want := digestOf(l.pattern, l.Size)
	c, err := dial(ctx, l.Addr, l.pattern, 0, smallBuffer)
	if err != nil {
		return r, err
	}
	defer c.close()
	got, took, err := c.post(l.Hosts[0], l.Path, l.Size)
	if err != nil {
		return r, err
	}
	if got != want {
		return r, &wrongBodyError{fmt.Sprintf("the digest of what was received is %q, want %q", got, want)}
	}
	r.Requests, r.Bytes, r.Seconds = 1, l.Size, took.Seconds()
	return r, nil
}

func digestOf(p *pattern, size int64) string {
	h := sha256.New()
	p.writeTo(h, size)
	return digestField(h.Sum(nil))
}

// digestField writes a digest as c does (RFC 9530).
func digestField(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}
