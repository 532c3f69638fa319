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
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tg123/go-htpasswd"
)

const (
	// maxVerified is how many passwords are remembered as right.
	maxVerified = 4096
	// maxGuesses is how many passwords of one address (IPv6: one /64) are being
	// checked or wait to be, each counted once however many requests bring it.
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
// takes as long as one that is.
type Htpasswd struct {
	path string
	// slots bounds how many are checked at once, that a flood of guesses leaves
	// a processor for the rest.
	slots chan struct{}

	mu sync.Mutex
	// Guarded by mu, which is not held while a password is checked.
	file    *passwords
	guesses map[netip.Prefix]int
}

// passwords is the file as it was read once. Guarded by Htpasswd.mu, but for
// what never changes.
type passwords struct {
	users    map[string]htpasswd.EncodedPasswd // never changes
	decoy    htpasswd.EncodedPasswd            // the slowest of users; never changes
	key      [32]byte                          // never changes
	verified map[digest]struct{}
	checking map[digest]*verdict
}

type digest [sha256.Size]byte

// verdict is a check that is being made. ok may be read once done is closed.
type verdict struct {
	done chan struct{}
	ok   bool
}

// LoadHtpasswd reads the htpasswd file at path, in which every hash must be
// bcrypt's. The error names the line, and never quotes a hash.
func LoadHtpasswd(path string) (*Htpasswd, error) {
	h := &Htpasswd{
		path: path, guesses: make(map[netip.Prefix]int),
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
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
	if err != nil {
		return fmt.Errorf("htpasswd file: %w", err)
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
	p := &passwords{
		users:    make(map[string]htpasswd.EncodedPasswd),
		verified: make(map[digest]struct{}),
		checking: make(map[digest]*verdict),
	}
	rand.Read(p.key[:])
	slowest := 0
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
		if _, twice := p.users[user]; twice {
			return nil, fmt.Errorf("line %d: user %q is there twice", n, user)
		}
		cost, err := bcryptCost(hash)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		encoded, err := htpasswd.AcceptBcrypt(hash)
		if err != nil || encoded == nil {
			return nil, fmt.Errorf("line %d: the hash is not bcrypt's: use htpasswd -B", n)
		}
		p.users[user] = encoded
		if cost > slowest {
			slowest, p.decoy = cost, encoded
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if p.decoy == nil {
		return nil, errors.New("there is no user in it: add one with htpasswd -B")
	}
	return p, nil
}

// bcryptCost checks a hash, "$2y$COST$" and 53 characters, which the library
// would only do at the first login.
func bcryptCost(hash string) (int, error) {
	if len(hash) != 60 || hash[0] != '$' || hash[1] != '2' || hash[3] != '$' || hash[6] != '$' || strings.IndexByte("abxy", hash[2]) < 0 {
		return 0, errors.New("the hash is not bcrypt's: use htpasswd -B")
	}
	for i := 7; i < len(hash); i++ {
		if c := hash[i]; !isAlnum(c) && c != '.' && c != '/' {
			return 0, errors.New("the hash is not bcrypt's: use htpasswd -B")
		}
	}
	cost, err := strconv.Atoi(hash[4:6])
	if err != nil || cost < minCost || cost > maxCost {
		return 0, fmt.Errorf("bcrypt's cost must be between %d and %d", minCost, maxCost)
	}
	return cost, nil
}

// check returns the user of a request that may pass, else the answer.
func (h *Htpasswd) check(r *http.Request, peer netip.Addr) (user string, f *failure) {
	user, password, given := r.BasicAuth()
	if given {
		ok, err := h.verify(r.Context(), user, password, peer)
		switch {
		case ok:
			return user, nil
		case errors.Is(err, errGuessing):
			return "", &failure{status: http.StatusTooManyRequests, reason: reasonDenied, detail: "too many passwords at once", retry: time.Second}
		case err != nil:
			return "", &failure{status: statusLeft, left: true, detail: "the client left"}
		}
	}
	return "", &failure{
		status: http.StatusUnauthorized, reason: reasonDenied, detail: "a name and a password are needed",
		header: [2]string{"WWW-Authenticate", `Basic realm="spdy-proxy", charset="UTF-8"`},
	}
}

var errGuessing = errors.New("too many passwords at once")

func (h *Htpasswd) verify(ctx context.Context, user, password string, addr netip.Addr) (bool, error) {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	peer, _ := addr.Prefix(bits) // the zero Prefix for the zero Addr
	h.mu.Lock()
	p := h.file
	id := p.digest(user, password)
	if _, ok := p.verified[id]; ok {
		h.mu.Unlock()
		return true, nil
	}
	v := p.checking[id]
	if v == nil {
		if h.guesses[peer] >= maxGuesses {
			h.mu.Unlock()
			return false, errGuessing
		}
		h.guesses[peer]++
		v = &verdict{done: make(chan struct{})}
		p.checking[id] = v
		// Ends after bcrypt, and at most maxGuesses an address before it.
		// Whoever asks waits for done, or leaves.
		go h.decide(p, id, v, user, password, peer)
	}
	h.mu.Unlock()
	select {
	case <-v.done:
		return v.ok, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// decide runs bcrypt.
func (h *Htpasswd) decide(p *passwords, id digest, v *verdict, user, password string, peer netip.Prefix) {
	h.slots <- struct{}{}
	encoded, known := p.users[user]
	if !known {
		encoded = p.decoy
	}
	ok := encoded.MatchesPassword(password) && known
	<-h.slots

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.guesses[peer]--; h.guesses[peer] == 0 {
		delete(h.guesses, peer)
	}
	delete(p.checking, id)
	if ok {
		for old := range p.verified {
			if len(p.verified) < maxVerified {
				break
			}
			delete(p.verified, old)
		}
		p.verified[id] = struct{}{}
	}
	v.ok = ok
	close(v.done)
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
