package control

import (
	"sync"
	"time"
)

// throttle counts events by key and says when there were too many: after a
// burst, one each interval. It holds one time a key, and a bounded number of
// keys.
type throttle struct {
	burst    int
	interval time.Duration
	maxKeys  int

	mu sync.Mutex
	// guarded by mu. For each key, when its events will all be forgotten:
	// each event moves it one interval on.
	clear map[string]time.Time
}

// wait returns how long a key must wait before its next event; 0: not at all.
func (t *throttle) wait(key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waitLocked(key, now)
}

func (t *throttle) waitLocked(key string, now time.Time) time.Duration {
	debt := max(0, t.clear[key].Sub(now))
	return max(0, debt-time.Duration(t.burst-1)*t.interval)
}

// add counts an event.
func (t *throttle) add(key string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLocked(key, now)
}

func (t *throttle) addLocked(key string, now time.Time) {
	if _, ok := t.clear[key]; !ok && len(t.clear) >= t.maxKeys {
		t.forget(now)
	}
	if t.clear == nil {
		t.clear = make(map[string]time.Time)
	}
	from := t.clear[key]
	if from.Before(now) {
		from = now
	}
	t.clear[key] = from.Add(t.interval)
}

// take counts an event if it needs no wait, and reports whether it did.
func (t *throttle) take(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waitLocked(key, now) > 0 {
		return false
	}
	t.addLocked(key, now)
	return true
}

// forget makes room: keys whose events are over, or else any one key. Somebody
// with more addresses than maxKeys cannot be held up by address anyway.
func (t *throttle) forget(now time.Time) {
	var last string
	for key, clear := range t.clear {
		if !clear.After(now) {
			delete(t.clear, key)
		}
		last = key
	}
	if len(t.clear) >= t.maxKeys {
		delete(t.clear, last)
	}
}
