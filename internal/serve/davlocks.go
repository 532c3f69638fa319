package serve

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/webdav"
)

const (
	// maxDAVLocks bounds the locks that visitors hold.
	maxDAVLocks = 1000
	// maxDAVLock is the longest time for which one is given; whoever needs it
	// longer asks again before.
	maxDAVLock = time.Hour
)

// A davLocks is the library's lock system, with an end to what it holds.
type davLocks struct {
	webdav.LockSystem // has its own lock

	mu sync.Mutex
	// Guarded by mu: when each lock ends, by its token.
	ends map[string]time.Time
}

func newDAVLocks() *davLocks {
	return &davLocks{LockSystem: webdav.NewMemLS(), ends: make(map[string]time.Time)}
}

// full tells whether no further lock is to be given. Those that a request has
// for as long as it runs are not asked about.
func (l *davLocks) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ends) < maxDAVLocks {
		return false
	}
	now := time.Now()
	for token, end := range l.ends {
		if !end.After(now) {
			delete(l.ends, token)
		}
	}
	return len(l.ends) >= maxDAVLocks
}

func bounded(d time.Duration) time.Duration {
	if d < 0 || d > maxDAVLock { // below 0: for ever
		return maxDAVLock
	}
	return d
}

// boundedTimeout returns what a Timeout header asks for (RFC 4918, 10.7), or what
// is given in its place: the library says in its answer what it was asked for.
func boundedTimeout(header string) string {
	for t := range strings.SplitSeq(header, ",") {
		if seconds, ok := strings.CutPrefix(strings.TrimSpace(t), "Second-"); ok {
			if n, err := strconv.ParseUint(seconds, 10, 32); err == nil && n <= uint64(maxDAVLock/time.Second) {
				return "Second-" + seconds
			}
		}
	}
	return fmt.Sprintf("Second-%d", maxDAVLock/time.Second)
}

func (l *davLocks) set(token string, end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[token] = end
}

func (l *davLocks) Create(now time.Time, details webdav.LockDetails) (string, error) {
	details.Duration = bounded(details.Duration)
	token, err := l.LockSystem.Create(now, details)
	if err == nil {
		l.set(token, now.Add(details.Duration))
	}
	return token, err
}

func (l *davLocks) Refresh(now time.Time, token string, d time.Duration) (webdav.LockDetails, error) {
	d = bounded(d)
	details, err := l.LockSystem.Refresh(now, token, d)
	if err == nil {
		l.set(token, now.Add(d))
	}
	return details, err
}

func (l *davLocks) Unlock(now time.Time, token string) error {
	err := l.LockSystem.Unlock(now, token)
	if err == nil || err == webdav.ErrNoSuchLock {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.ends, token)
	}
	return err
}
