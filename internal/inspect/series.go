package inspect

import "time"

// How long the past is kept, by the second and by the minute.
const (
	keptSeconds = 300
	keptMinutes = 24 * 60
)

// Point is how it went in one second, or in one minute.
type Point struct {
	Requests, Errors float32 // that ended, a second
	In, Out          float32 // bytes of bodies a second
	Held, Open       uint32  // requests that waited for an origin, and that were under way, at the most
	P50, P99         float32 // until the response's headers, in seconds; 0: there was none
}

// series is the past. Guarded by Board.mu.
type series struct {
	seconds ring
	minutes ring

	// The minute that has begun.
	sum        figures
	held, open uint32
	ticks      int
	before     [classesOfTime]uint32 // Board.headers at its begin
}

// ring is the last points, the oldest at next if it is full.
type ring struct {
	points []Point
	next   int
	size   int
	last   time.Time // of the newest
}

func (r *ring) add(p Point, at time.Time) {
	if len(r.points) < r.size {
		r.points = append(r.points, p)
	} else {
		r.points[r.next] = p
		r.next = (r.next + 1) % r.size
	}
	r.last = at
}

// list returns the points, the oldest first.
func (r *ring) list() []Point {
	return append(append(make([]Point, 0, len(r.points)), r.points[r.next:]...), r.points[:r.next]...)
}

// point returns what happened in d.
func (f figures) point(d time.Duration, held, open uint32, counts *[classesOfTime]uint32) Point {
	s := float32(d.Seconds())
	p50, p99 := quantiles(counts)
	return Point{
		Requests: float32(f.requests) / s, Errors: float32(f.errors) / s, In: float32(f.in) / s, Out: float32(f.out) / s,
		Held: held, Open: open, P50: float32(p50.Seconds()), P99: float32(p99.Seconds()),
	}
}

// Series returns the last five minutes by the second, or the last day by the minute,
// the oldest point first, and when the last one was.
func (b *Board) Series(day bool) (points []Point, step time.Duration, last time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if day {
		return b.series.minutes.list(), time.Minute, b.series.minutes.last
	}
	return b.series.seconds.list(), time.Second, b.series.seconds.last
}

// Trends of one origin: slots of five seconds, five minutes of them.
const (
	slotTime  = 5 * time.Second
	keptSlots = 60
)

// calm is how a rate follows what happens: a fifth of the way each second.
const calm = 0.2

// trend is how one origin does of late. Guarded by Board.mu.
type trend struct {
	last  figures    // of its Tally, a second ago
	rates [4]float32 // a second: requests, errors, in, out
	slots [keptSlots][2]uint32
	slot  int64                    // since the Board's start, the newest in slots
	hist  [2][classesOfTime]uint32 // of its Tally's headers: at the last whole minute, and at the one before
}

// tick is called once a second with what has happened in it.
func (t *trend) tick(d figures, slot int64) {
	for i, n := range [...]uint64{d.requests, d.errors, d.in, d.out} {
		t.rates[i] += calm * (float32(n) - t.rates[i])
		if t.rates[i] < 0.01 {
			t.rates[i] = 0
		}
	}
	for t.slot < slot {
		if slot-t.slot > keptSlots {
			t.slot = slot - keptSlots
		}
		t.slot++
		t.slots[t.slot%keptSlots] = [2]uint32{}
	}
	t.slots[slot%keptSlots][0] += uint32(d.requests)
	t.slots[slot%keptSlots][1] += uint32(d.errors)
}

// recent returns how many requests there were in each slot, the oldest first.
func (t *trend) recent(slot int64) []uint32 {
	list := make([]uint32, keptSlots)
	for i := range list {
		if at := slot - int64(keptSlots-1-i); at >= 0 && at <= t.slot && at > t.slot-keptSlots {
			list[i] = t.slots[at%keptSlots][0]
		}
	}
	return list
}

// Run keeps the past, a point a second, until done is closed.
func (b *Board) Run(done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			b.sample(now)
		}
	}
}

// sample notes the second that has ended.
func (b *Board) sample(now time.Time) {
	open, held := b.cfg.Load()
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.other.since(&b.otherLast)
	slot := int64(now.Sub(b.started) / slotTime)
	minute := b.series.ticks+1 == 60
	for _, e := range b.entries {
		t := e.tally.Load()
		if t == nil {
			continue
		}
		if e.trend == nil {
			e.trend = &trend{slot: slot}
		}
		one := t.since(&e.trend.last)
		if one != (figures{}) || e.trend.rates != [4]float32{} {
			e.trend.tick(one, slot)
		}
		if minute {
			h := t.headers.load()
			e.trend.hist[1], e.trend.hist[0] = e.trend.hist[0], h.short()
		}
		d.add(one)
	}
	all := b.headers.load()
	b.series.seconds.add(d.point(time.Second, uint32(held), uint32(open), all.minus(&b.headersLast)), now)
	b.headersLast = all.short()

	s := &b.series
	s.sum.add(d)
	s.held, s.open = max(s.held, uint32(held)), max(s.open, uint32(open))
	if s.ticks++; minute {
		s.minutes.add(s.sum.point(time.Minute, s.held, s.open, all.minus(&s.before)), now)
		s.sum, s.held, s.open, s.ticks, s.before = figures{}, 0, 0, 0, all.short()
		b.forget(now)
	}
}

// LastPoint returns the last second, and false before there was one.
func (b *Board) LastPoint() (Point, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &b.series.seconds
	if len(r.points) == 0 {
		return Point{}, false
	}
	return r.points[(r.next+len(r.points)-1)%len(r.points)], true
}
