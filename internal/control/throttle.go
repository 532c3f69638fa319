package control

import (
	"sync"
	"time"
)

// throttle counts events by address and by network, and says when there were too
// many: after a burst, one each interval; a network has some times as many as an
// address. It holds one time for each, and a bounded number of them.
type throttle struct {
	// Fixed when it is made.
	addr, net meter
	maxKeys   int

	mu sync.Mutex // guards the meters' maps
}

// meter is how often something may happen, and when what has happened is
// forgotten: each event moves that one interval on.
type meter struct {
	burst    int
	interval time.Duration
	clear    map[string]time.Time // guarded by throttle.mu
}

func newThrottle(burst, netFactor int, interval time.Duration, maxKeys int) *throttle {
	return &throttle{
		addr:    meter{burst, interval, make(map[string]time.Time)},
		net:     meter{burst * netFactor, interval / time.Duration(netFactor), make(map[string]time.Time)},
		maxKeys: maxKeys,
	}
}

// take counts an event, unless there were too many: then it returns how long the
// site must wait until its next one.
func (t *throttle) take(s site, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait = max(t.addr.wait(s.addr, now), t.net.wait(s.net, now)); wait == 0 {
		t.addr.add(s.addr, now, t.maxKeys)
		t.net.add(s.net, now, t.maxKeys)
	}
	return wait
}

func (m *meter) wait(key string, now time.Time) time.Duration {
	debt := max(0, m.clear[key].Sub(now))
	return max(0, debt-time.Duration(m.burst-1)*m.interval)
}

func (m *meter) add(key string, now time.Time, maxKeys int) {
	if _, ok := m.clear[key]; !ok && len(m.clear) >= maxKeys {
		m.forget(now, maxKeys)
	}
	from := m.clear[key]
	if from.Before(now) {
		from = now
	}
	m.clear[key] = from.Add(m.interval)
}

// forget makes room: keys whose events are over, among some, or else any one
// key. Somebody with more addresses than maxKeys cannot be held up by address
// anyway.
func (m *meter) forget(now time.Time, maxKeys int) {
	const some = 64 // that many at each event keep up with one more an event
	looked := 0
	var last string
	for key, clear := range m.clear {
		if !clear.After(now) {
			delete(m.clear, key)
		}
		last = key
		if looked++; looked == some {
			break
		}
	}
	if len(m.clear) >= maxKeys {
		delete(m.clear, last)
	}
}
