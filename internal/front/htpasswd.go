package front

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/singleflight"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/httpfield"
)

const (
	// maxVerified is how many passwords are remembered as right.
	maxVerified = 4096
	// maxGuesses is how many passwords of one address (IPv6: one /64;
	// addrkey.SiteFactor times as many of one /48) are being checked or wait to
	// be, each counted once however many requests bring it.
	maxGuesses = 8
	// Costs of bcrypt that are taken. One step doubles the time; 16 takes seconds.
	minCost, maxCost = 4, 16
)

// Htpasswd is the content of a htpasswd file, and what was found right by it.
// All methods may be called at once.
//
// Checking a password takes bcrypt some 50 ms of a processor on purpose, too
// long for each request of a page: a digest of what was right is remembered, in
// memory and with a key that never leaves it. A user that is not in the file
// takes as long as one that is, also where some take longer than others.
type Htpasswd struct {
	// Fixed by LoadHtpasswd.
	path    string
	compare func(hash []byte, password string) bool
	// slots bounds how many are checked at once, that a flood of guesses leaves
	// a processor for the rest.
	slots Checks

	checks singleflight.Group // by digest

	mu sync.Mutex
	// Guarded by mu, which is not held while a password is checked.
	file    *passwords
	guesses loads
	turns   map[netip.Addr]chan struct{} // of those who guess, by IPv4 address and IPv6 /48
}

// passwords is the file as it was read once.
type passwords struct {
	// Never changes.
	users  map[string][]byte // hashes
	decoys [][]byte          // hashes for users that are not there: one, or all if their costs differ
	key    [32]byte

	verified map[digest]struct{} // guarded by Htpasswd.mu
}

type digest [sha256.Size]byte

// Checks are what several files share: as many passwords are checked at once.
type Checks chan struct{}

// NewChecks returns half of the processors, one at least.
func NewChecks() Checks { return make(Checks, max(1, runtime.GOMAXPROCS(0)/2)) }

// LoadHtpasswd reads the htpasswd file at path, in which every hash must be
// bcrypt's. The error names the line, and never quotes a hash.
func LoadHtpasswd(path string) (*Htpasswd, error) { return LoadHtpasswdWith(path, NewChecks()) }

// LoadHtpasswdWith is LoadHtpasswd for one of several files.
func LoadHtpasswdWith(path string, checks Checks) (*Htpasswd, error) {
	h := &Htpasswd{
		path: path,
		compare: func(hash []byte, password string) bool {
			return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
		},
		slots: checks,
		turns: make(map[netip.Addr]chan struct{}),
	}
	if err := h.Reload(); err != nil {
		return nil, err
	}
	return h, nil
}

// Reload reads the file again. If that fails, what was read before stays. What
// was found right before is checked anew.
func (h *Htpasswd) Reload() error {
	f, err := os.Open(h.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("htpasswd file %s is missing: name yours, or make it, by htpasswd -cB FILE USER", h.path)
	case err != nil:
		return fmt.Errorf("htpasswd file %s cannot be read: %w", h.path, errors.Unwrap(err))
	}
	defer f.Close()
	p, err := readPasswords(f)
	if err != nil {
		return fmt.Errorf("htpasswd file %s: %w", h.path, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.file = p
	return nil
}

func readPasswords(r io.Reader) (*passwords, error) {
	p := &passwords{users: make(map[string][]byte), verified: make(map[digest]struct{})}
	rand.Read(p.key[:])
	costs := make(map[int]bool)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("line %d: USER:HASH is wanted, as made by htpasswd -B", n)
		}
		if strings.ContainsFunc(user, unicode.IsControl) {
			return nil, fmt.Errorf("line %d: the user's name has control characters", n)
		}
		if _, twice := p.users[user]; twice {
			return nil, fmt.Errorf("line %d: user %q is there twice", n, user)
		}
		cost, err := bcryptCost(hash)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		p.users[user] = []byte(hash)
		p.decoys = append(p.decoys, []byte(hash))
		costs[cost] = true
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(p.users) == 0 {
		return nil, errors.New("there is no user in it: add one with htpasswd -B")
	}
	if len(costs) == 1 {
		p.decoys = p.decoys[:1]
	}
	return p, nil
}

// bcryptCost checks a hash, "$2y$COST$" and 53 characters, all of which the
// library would only do at the first login.
func bcryptCost(hash string) (int, error) {
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 || !strings.HasPrefix(hash, "$2") || hash[3] != '$' || hash[6] != '$' || strings.IndexByte("abxy", hash[2]) < 0 ||
		strings.ContainsFunc(hash[7:], func(r rune) bool { return r > 0x7f || !httpfield.IsAlnum(byte(r)) && r != '.' && r != '/' }) {
		return 0, errors.New("the hash is not bcrypt's: use htpasswd -B")
	}
	if cost < minCost || cost > maxCost {
		return 0, fmt.Errorf("bcrypt's cost must be between %d and %d", minCost, maxCost)
	}
	return cost, nil
}

// check returns the user of a request that may pass, else the answer. The
// request is client's. An error says that ctx has ended.
func (h *Htpasswd) check(ctx context.Context, r *http.Request, client netip.Addr) (user string, f *failure, err error) {
	user, password, given := r.BasicAuth()
	if given {
		ok, err := h.verify(ctx, user, password, client)
		switch {
		case ok:
			return user, nil, nil
		case errors.Is(err, errGuessing):
			f = &failure{status: http.StatusTooManyRequests, reason: reasonDenied, detail: "too many passwords at once", retry: time.Second, refuse: RefusedPassword}
			return "", f, nil
		case err != nil:
			return "", nil, err
		}
	}
	return "", &failure{
		status: http.StatusUnauthorized, reason: reasonDenied, detail: "a name and a password are needed",
		header: [2]string{"WWW-Authenticate", `Basic realm="spdy-proxy", charset="UTF-8"`}, refuse: RefusedPassword,
	}, nil
}

var (
	errGuessing = errors.New("too many passwords at once")
	errAway     = errors.New("who asked for the check has left before it began")
)

func (h *Htpasswd) verify(ctx context.Context, user, password string, client netip.Addr) (bool, error) {
	h.mu.Lock()
	p := h.file
	h.mu.Unlock()
	id := p.digest(user, password)
	for !h.verified(p, id) {
		// Ends after bcrypt, or when the first who asks leaves before it has
		// begun. Whoever asks waits for it, or leaves.
		check := h.checks.DoChan(string(id[:]), func() (any, error) {
			return h.decide(ctx, p, id, user, password, addrkey.Addr(client))
		})
		select {
		case v := <-check:
			if errors.Is(v.Err, errAway) && ctx.Err() == nil {
				continue // it was another who left
			}
			ok, _ := v.Val.(bool)
			return ok, v.Err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return true, nil
}

// decide runs bcrypt, for one that asks with ctx.
func (h *Htpasswd) decide(ctx context.Context, p *passwords, id digest, user, password string, client netip.Addr) (ok bool, err error) {
	if h.verified(p, id) { // by a check that ended just before this one began
		return true, nil
	}
	turn, err := h.begin(client)
	defer h.end(client)
	if err != nil {
		return false, err
	}
	for _, place := range []chan struct{}{turn, h.slots} {
		select {
		case place <- struct{}{}:
			defer func() { <-place }()
		case <-ctx.Done():
			return false, errAway
		}
	}
	hash, known := p.hash(user)
	if ok = h.compare(hash, password) && known; ok {
		h.remember(p, id)
	}
	return ok, nil
}

// begin counts a guess of client's, until end. Those of one network are checked
// one after another, in turn, so that the next one waits for one of each network
// that guesses, and not for all their guesses.
func (h *Htpasswd) begin(client netip.Addr) (turn chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one, wide := h.guesses.add(client, 1, 0)
	if one.requests > maxGuesses || wide.requests > addrkey.SiteFactor*maxGuesses {
		return nil, errGuessing
	}
	from := addrkey.Site(client)
	if turn = h.turns[from]; turn == nil {
		turn = make(chan struct{}, 1)
		h.turns[from] = turn
	}
	return turn, nil
}

func (h *Htpasswd) end(client netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if one, wide := h.guesses.add(client, -1, 0); one.requests+wide.requests == 0 {
		delete(h.turns, addrkey.Site(client))
	}
}

// verified reports whether a password was found right before.
func (h *Htpasswd) verified(p *passwords, id digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := p.verified[id]
	return ok
}

// remember notes that a password is right.
func (h *Htpasswd) remember(p *passwords, id digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for old := range p.verified {
		if len(p.verified) < maxVerified {
			break
		}
		delete(p.verified, old)
	}
	p.verified[id] = struct{}{}
}

// hash returns what the password of user is compared with. A user who is not
// there has the hash of one who is, always the same one, or how long it takes
// would tell. Where the file changes, few of them get another: each hash, which
// nobody outside knows, says how much it wants the name.
func (p *passwords) hash(user string) (hash []byte, known bool) {
	name := sha256.Sum256([]byte(user))
	var most [sha256.Size]byte
	var both []byte
	for _, h := range p.decoys { // for those who are there, too: it takes time
		both = append(append(both[:0], h...), name[:]...)
		want := sha256.Sum256(both)
		if hash == nil || slices.Compare(want[:], most[:]) > 0 {
			hash, most = h, want
		}
	}
	if own, ok := p.users[user]; ok {
		return own, true
	}
	return hash, false
}

// digest stands for a user with a password. The user's length comes first, or
// "a" and "bc" would be "ab" and "c".
func (p *passwords) digest(user, password string) (d digest) {
	m := hmac.New(sha256.New, p.key[:])
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(user))))
	io.WriteString(m, user)
	io.WriteString(m, password)
	m.Sum(d[:0])
	return d
}
