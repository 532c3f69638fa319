package serve

import (
	"bytes"
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"io"
	"path"
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
	// maxIfLists bounds the lists of an If header: each is held against all locks.
	maxIfLists = 64
)

// A davLocks holds the locks of RFC 4918, 6 and 7, in memory. The library's own
// knows no shared ones, no conditions but tokens, and no end; what it gives for
// tokens can be guessed.
//
// Besides those of visitors there are the locks that the library takes for a
// request without one, for as long as it runs. They have no time.
type davLocks struct {
	// Fixed when it is made.
	tag func(name string) string // the ETag of what has the path now; "" if it has none

	mu sync.Mutex
	// Guarded by mu: by token.
	locks map[string]*davLock
}

// A davLock does not change, but for its time.
type davLock struct {
	webdav.LockDetails
	shared bool
	ends   time.Time // zero: never
}

func newDAVLocks(tag func(name string) string) *davLocks {
	return &davLocks{tag: tag, locks: make(map[string]*davLock)}
}

// covers tells whether l is a lock of what has the path.
func (l *davLock) covers(name string) bool {
	return name == l.Root || !l.ZeroDepth && under(name, l.Root)
}

// under tells whether what has the path is in the folder that has the other.
func under(name, folder string) bool {
	return strings.HasPrefix(name, strings.TrimSuffix(folder, "/")+"/") && name != folder
}

// lockPath is the form in which paths are compared.
func lockPath(name string) string { return path.Clean("/" + name) }

// expire drops the locks whose time is over. l.mu is held.
func (l *davLocks) expire(now time.Time) {
	for token, lock := range l.locks {
		if !lock.ends.IsZero() && !lock.ends.After(now) {
			delete(l.locks, token)
		}
	}
}

// full tells whether no visitor is to be given a further lock.
func (l *davLocks) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(time.Now())
	return len(l.locks) >= maxDAVLocks
}

// lockedIn tells whether something in the folder that has the path is locked, and no
// token of that is in the If header: then the folder stays where it is, as it is (RFC
// 4918, 7.4). The library asks for the folder's own locks alone.
func (l *davLocks) lockedIn(name, ifHeader string) bool {
	name = lockPath(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(time.Now())
	mine := make(map[string]bool) // by path: whether one of its tokens is there
	for token, lock := range l.locks {
		if !lock.ends.IsZero() && under(lock.Root, name) {
			mine[lock.Root] = mine[lock.Root] || strings.Contains(ifHeader, "<"+token+">")
		}
	}
	for _, is := range mine {
		if !is {
			return true
		}
	}
	return false
}

// forget drops the locks of what was deleted or moved away (RFC 4918, 9.6 and 7.5).
func (l *davLocks) forget(name string) {
	name = lockPath(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	for token, lock := range l.locks {
		if !lock.ends.IsZero() && (lock.Root == name || under(lock.Root, name)) {
			delete(l.locks, token)
		}
	}
}

// Create implements webdav.LockSystem.
func (l *davLocks) Create(now time.Time, details webdav.LockDetails) (token string, err error) {
	return l.create(now, details, false)
}

func (l *davLocks) create(now time.Time, details webdav.LockDetails, shared bool) (token string, err error) {
	lock := &davLock{LockDetails: details, shared: shared}
	lock.Root = lockPath(details.Root)
	if details.Duration >= 0 {
		lock.ends = now.Add(details.Duration)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	for _, other := range l.locks {
		if (other.covers(lock.Root) || lock.covers(other.Root)) && !(shared && other.shared) {
			return "", webdav.ErrLocked
		}
	}
	return l.add(lock), nil
}

// add adds a lock and returns its token, an absolute URI (RFC 4918, 6.5) that
// nobody can guess. l.mu is held.
func (l *davLocks) add(lock *davLock) string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // RFC 9562, 5.4
	token := fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	l.locks[token] = lock
	return token
}

// Refresh implements webdav.LockSystem.
func (l *davLocks) Refresh(now time.Time, token string, d time.Duration) (webdav.LockDetails, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	lock := l.locks[token]
	if lock == nil || lock.ends.IsZero() {
		return webdav.LockDetails{}, webdav.ErrNoSuchLock
	}
	lock.Duration, lock.ends = d, now.Add(d)
	return lock.LockDetails, nil
}

// Unlock implements webdav.LockSystem.
func (l *davLocks) Unlock(now time.Time, token string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	if l.locks[token] == nil {
		return webdav.ErrNoSuchLock
	}
	delete(l.locks, token)
	return nil
}

// Confirm implements webdav.LockSystem: the conditions, one list of an If header,
// must all hold (RFC 4918, 10.4), and of each name that is locked a token must be
// among them. What is not locked is, until release is called.
func (l *davLocks) Confirm(now time.Time, name0, name1 string, conditions ...webdav.Condition) (release func(), err error) {
	var names []string
	for _, name := range []string{name0, name1} {
		if name != "" {
			names = append(names, lockPath(name))
		}
	}
	if len(names) == 0 {
		return nil, webdav.ErrConfirmationFailed
	}
	tag := strings.TrimPrefix(l.tag(names[0]), "W/")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	submitted := make(map[*davLock]bool)
	for _, c := range conditions {
		holds := tag != "" && strings.TrimPrefix(c.ETag, "W/") == tag
		if c.ETag == "" {
			lock := l.locks[c.Token]
			holds = lock != nil && (lock.covers(names[0]) || len(names) > 1 && lock.covers(names[1]))
			submitted[lock] = holds && !c.Not
		}
		if holds == c.Not {
			return nil, webdav.ErrConfirmationFailed
		}
	}
	var free []string
	for _, name := range names {
		locked, mine := false, false
		for _, lock := range l.locks {
			if lock.covers(name) {
				locked = true
				mine = mine || submitted[lock]
			}
		}
		switch {
		case !locked:
			free = append(free, name)
		case !mine:
			return nil, webdav.ErrConfirmationFailed
		}
	}
	var tokens []string
	for _, name := range free {
		tokens = append(tokens, l.add(&davLock{LockDetails: webdav.LockDetails{Root: name, Duration: -1, ZeroDepth: true}}))
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, token := range tokens {
			delete(l.locks, token)
		}
	}, nil
}

// A sharedLocks gives shared locks to the request that it is for.
type sharedLocks struct{ *davLocks }

func (l sharedLocks) Create(now time.Time, details webdav.LockDetails) (token string, err error) {
	return l.create(now, details, true)
}

// asExclusive returns a document that asks for a shared lock as one that asks for
// an exclusive one, which is all that the library reads and writes; ok is false
// for any other.
func asExclusive(document []byte) (exclusive []byte, ok bool) {
	d := xml.NewDecoder(bytes.NewReader(document))
	inScope, at := false, int64(0)
	for {
		token, err := d.RawToken()
		if err != nil {
			return exclusive, ok && err == io.EOF
		}
		raw := document[at:d.InputOffset()]
		at = d.InputOffset()
		var name string
		switch t := token.(type) {
		case xml.StartElement:
			name = t.Name.Local
			inScope = inScope || name == "lockscope"
		case xml.EndElement:
			name = t.Name.Local
			inScope = inScope && name != "lockscope"
		}
		if inScope && name == "shared" {
			raw = bytes.Replace(raw, []byte("shared"), []byte("exclusive"), 1)
			ok = true
		}
		exclusive = append(exclusive, raw...)
	}
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
