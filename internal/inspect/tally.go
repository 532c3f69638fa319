package inspect

import "sync/atomic"

// Classes are how requests end: by their status, and the last for those that have
// none of these or were broken off.
var Classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx", "aborted"}

// Tally counts what the requests of one origin do. They all add to it at once,
// without a lock.
type Tally struct {
	classes           [len(Classes)]atomic.Uint64
	errors            atomic.Uint64
	replayed, resumed atomic.Uint64
	in, out           atomic.Uint64
	headers, duration histogram
}

// In counts bytes of a request's body.
func (t *Tally) In(n int) { t.in.Add(uint64(n)) }

// Out counts bytes of a response's body.
func (t *Tally) Out(n int) { t.out.Add(uint64(n)) }

// ended counts a request.
func (t *Tally) ended(r *Request) {
	t.classes[r.class()].Add(1)
	if r.Failed {
		t.errors.Add(1)
	}
	if r.Replayed > 0 {
		t.replayed.Add(uint64(r.Replayed))
	}
	if r.Resumed > 0 {
		t.resumed.Add(uint64(r.Resumed))
	}
	if r.Headers > 0 {
		t.headers.observe(r.Headers)
	}
	t.duration.observe(r.Duration)
}

// figures are the sums that change from one second to the next.
type figures struct{ requests, errors, in, out uint64 }

func (t *Tally) figures() figures {
	f := figures{errors: t.errors.Load(), in: t.in.Load(), out: t.out.Load()}
	for i := range t.classes {
		f.requests += t.classes[i].Load()
	}
	return f
}

// since returns what was counted since last, and puts what there is now in its place.
func (t *Tally) since(last *figures) figures {
	now := t.figures()
	d := now.minus(*last)
	*last = now
	return d
}

func (f figures) minus(o figures) figures {
	return figures{f.requests - o.requests, f.errors - o.errors, f.in - o.in, f.out - o.out}
}

func (f *figures) add(o figures) {
	f.requests += o.requests
	f.errors += o.errors
	f.in += o.in
	f.out += o.out
}

// Counts are what a Tally has counted since the program started.
type Counts struct {
	Requests          [len(Classes)]uint64 // by class
	Errors            uint64               // requests that failed, not for the visitor's sake
	Replayed, Resumed uint64
	In, Out           uint64 // bytes of bodies
	Started, Ended    uint64 // sessions
	Headers           Histogram
	Duration          Histogram
}

func (t *Tally) load() Counts {
	c := Counts{
		Errors: t.errors.Load(), Replayed: t.replayed.Load(), Resumed: t.resumed.Load(), In: t.in.Load(), Out: t.out.Load(),
		Headers: t.headers.load(), Duration: t.duration.load(),
	}
	for i := range t.classes {
		c.Requests[i] = t.classes[i].Load()
	}
	return c
}

func (c *Counts) add(o *Counts) {
	for i := range c.Requests {
		c.Requests[i] += o.Requests[i]
	}
	c.Errors += o.Errors
	c.Replayed += o.Replayed
	c.Resumed += o.Resumed
	c.In += o.In
	c.Out += o.Out
	c.Started += o.Started
	c.Ended += o.Ended
	c.Headers.add(&o.Headers)
	c.Duration.add(&o.Duration)
}
