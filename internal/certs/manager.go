package certs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/loglimit"
)

const (
	maxTries = 8                // at once
	tryTime  = 15 * time.Minute // for one, of which a program for the DNS may take a part

	// newNames is how many names of one credential are asked for in newNamesTime for
	// which there was no certificate: who has a token can think of any number, and
	// the authority counts what it is asked for.
	newNames     = 10
	newNamesTime = time.Hour

	// lookEvery is how often a certificate in the state folder is looked at: another
	// P may have renewed it, and the authority may want it renewed early.
	lookEvery = time.Hour

	// gather is how long changes of names are waited for after the first one.
	gather = 200 * time.Millisecond
)

// pauses follow tries that failed one after another. Those that the authority has
// looked at it counts, some five an hour and name.
var (
	pauses        = []time.Duration{time.Minute, 5 * time.Minute, 20 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour}
	pausesUnasked = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute}
)

// Name is a host that is to have a certificate.
type Name struct {
	Host       string             // lower case, A-labels; "*.example.org" is all hosts right below that
	Credential control.Credential // whose it is; zero: the operator's, who has no limit
}

// authority is what a manager needs of the CA and of the state folder.
type authority interface {
	// stored returns the certificate of a host in the state folder, nil if there is
	// none. It asks nobody.
	stored(host string) *tls.Certificate
	// certify returns the certificate of a host, another one if it is time for that.
	// With an error it may return the one that there was.
	certify(ctx context.Context, host string) (*tls.Certificate, error)
	// start says by which ports the CA can be answered. ctx ends when nothing is to take
	// long any more.
	start(context.Context, Ports)
	// tidy removes what ended long ago from the state folder.
	tidy(ctx context.Context)
	close()
}

// manager sees to it that each name has its certificate.
type manager struct {
	// Fixed by newManager.
	ca      authority
	names   func() []Name
	valid   func(Name) bool
	domains []string
	log     *slog.Logger
	lines   *loglimit.Logger
	base    context.Context // ends at close
	end     context.CancelFunc
	wake    chan struct{}  // holds a value when there is something to do
	running sync.WaitGroup // run, and what it starts
	trying  sync.WaitGroup // one for each try; none begins after stop

	mu sync.RWMutex
	// Guarded by mu, which is never held across a call of another's.
	hosts   map[string]*host
	spent   map[control.Credential][]time.Time // when their new names were asked for, within newNamesTime
	tries   int                                // under way
	stopped bool
}

// host is what is known of a name. Guarded by manager.mu.
type host struct {
	Name
	wanted  bool             // it is among names
	cert    *tls.Certificate // nil: none yet
	counted bool             // in spent
	failed  int              // tries, one after another
	err     error            // of the last one
	next    time.Time        // of the next one
	cancel  func()           // ends the one under way; nil: none is
	again   bool             // if the one under way fails the next one follows: the reason may be mended meanwhile
}

func newManager(a *ACME, ca authority, log *slog.Logger, lines *loglimit.Logger) *manager {
	m := &manager{
		ca: ca, names: a.all, valid: a.Valid, domains: a.Domains, log: log, lines: lines,
		wake: make(chan struct{}, 1), hosts: map[string]*host{}, spent: map[control.Credential][]time.Time{},
	}
	m.base, m.end = context.WithCancel(context.Background())
	return m
}

// fitting returns the certificate for a name that a handshake asks for, nil if there
// is none.
func (m *manager) fitting(name string) *tls.Certificate {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	m.mu.RLock()
	defer m.mu.RUnlock()
	if h := m.hosts[name]; h != nil && h.cert != nil {
		return h.cert
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if h := m.hosts["*."+parent]; h != nil {
			return h.cert
		}
	}
	return nil
}

// ofDomain returns the certificate of the first domain that has one.
func (m *manager) ofDomain() *tls.Certificate {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, d := range m.domains {
		if h := m.hosts[d]; h != nil && h.cert != nil {
			return h.cert
		}
	}
	return nil
}

// takeStored takes what is in the state folder, before anything runs.
func (m *manager) takeStored() {
	m.mu.Lock()
	m.mergeLocked(m.names(), time.Now())
	var hosts []*host
	for _, h := range m.hosts {
		hosts = append(hosts, h)
	}
	m.mu.Unlock()
	for _, h := range hosts {
		if cert := m.ca.stored(h.Host); cert != nil {
			m.mu.Lock()
			h.cert = cert
			m.mu.Unlock()
		}
	}
}

func (m *manager) start(ports Ports) {
	m.ca.start(m.base, ports)
	// Ends with base; close waits for it.
	m.running.Go(m.run)
}

// changed has the names looked at again.
func (m *manager) changed() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// again is changed, and has all names looked at now: those that failed, and those
// whose certificate somebody has renewed or removed in the state folder.
func (m *manager) again() {
	m.mu.Lock()
	for _, h := range m.hosts {
		h.next, h.again = time.Time{}, h.cancel != nil
	}
	m.mu.Unlock()
	m.changed()
}

// stop has nothing more tried.
func (m *manager) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
}

func (m *manager) close() {
	m.stop()
	m.end()
	m.running.Wait()
	m.trying.Wait()
	m.ca.close()
}

// finish is stop, and returns when what is under way has ended, or with ctx.
func (m *manager) finish(ctx context.Context) {
	m.stop()
	done := make(chan struct{})
	// Ends with the tries, which close ends.
	go func() {
		m.trying.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (m *manager) run() {
	tidied := time.Now()
	for {
		wait := m.step()
		timer := time.NewTimer(wait)
		select {
		case <-m.base.Done():
			timer.Stop()
			return
		case <-m.wake:
			timer.Stop()
			// Origins come and go in crowds.
			select {
			case <-m.base.Done():
				return
			case <-time.After(gather):
			}
		case now := <-timer.C:
			if now.Sub(tidied) > warnEvery {
				tidied = now
				// Ends with base; close waits for it.
				m.running.Go(func() { m.ca.tidy(m.base) })
			}
		}
	}
}

// step begins the tries whose time has come, and returns when the next one's will.
func (m *manager) step() time.Duration {
	names, now := m.names(), time.Now()
	m.mu.Lock()
	gone := m.mergeLocked(names, now)
	m.mu.Unlock()
	for _, h := range gone {
		if !m.valid(h.Name) {
			m.drop(h)
		}
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	wait := lookEvery
	if m.stopped {
		return wait
	}
	for _, h := range m.byTurnLocked() {
		switch {
		case h.next.After(now):
			wait = min(wait, h.next.Sub(now))
		case m.tries < maxTries: // else the end of one wakes
			m.beginLocked(h)
		}
	}
	return wait
}

// byTurnLocked returns the hosts that are to be tried now or later, in the order of
// their turns; the operator's first.
func (m *manager) byTurnLocked() []*host {
	var turn []*host
	for _, h := range m.hosts {
		if h.wanted && h.cancel == nil {
			turn = append(turn, h)
		}
	}
	slices.SortFunc(turn, func(a, b *host) int {
		return cmp.Or(a.next.Compare(b.next), b.operators()-a.operators(), cmp.Compare(a.Host, b.Host))
	})
	return turn
}

func (h *host) operators() int {
	if h.Credential == (control.Credential{}) {
		return 1
	}
	return 0
}

// goesLocked reports whether a host that is not wanted has nothing to keep: no certificate
// that holds, and no pause of a name that has cost the CA, or its credential, something.
func (h *host) goesLocked(now time.Time) bool {
	paused := h.next.After(now)
	switch {
	case h.cancel != nil:
		return false
	case h.cert == nil:
		return !h.counted || !paused
	default:
		return !now.Before(h.cert.Leaf.NotAfter) && !paused
	}
}

// mergeLocked takes the names of now over. It returns the hosts that are among them
// no more and have or had something to keep: whoever brought them may be back in a
// moment, and its visitors are to see their certificate meanwhile. Nobody renews that,
// and its end is the end of the host.
func (m *manager) mergeLocked(names []Name, now time.Time) (gone []*host) {
	for _, h := range m.hosts {
		h.wanted = false
	}
	for _, n := range names {
		h := m.hosts[n.Host]
		if h == nil {
			h = &host{Name: n}
			m.hosts[n.Host] = h
		}
		if !h.wanted {
			h.wanted, h.Credential = true, n.Credential
		}
	}
	for _, h := range m.hosts {
		switch {
		case h.wanted:
		case h.goesLocked(now):
			delete(m.hosts, h.Host)
		default:
			gone = append(gone, h)
		}
	}
	for c := range m.spent {
		m.spentLocked(c, now)
	}
	return gone
}

// spentLocked returns when new names of c were asked for within newNamesTime.
func (m *manager) spentLocked(c control.Credential, now time.Time) []time.Time {
	times := slices.DeleteFunc(m.spent[c], func(t time.Time) bool { return now.Sub(t) >= newNamesTime })
	if len(times) == 0 {
		delete(m.spent, c)
	} else {
		m.spent[c] = times
	}
	return times
}

// drop forgets a host whose credential is gone: it is neither shown nor renewed.
func (m *manager) drop(h *host) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.wanted || m.hosts[h.Host] != h {
		return
	}
	if h.cancel != nil {
		h.cancel()
	}
	delete(m.hosts, h.Host)
	if h.cert != nil {
		m.log.Info("certificate not shown or renewed any more: the token of its name is gone", "name", h.Host)
	}
}

// beginLocked begins a try.
func (m *manager) beginLocked(h *host) {
	ctx, cancel := context.WithTimeout(m.base, tryTime)
	h.cancel = cancel
	m.tries++
	had := h.cert
	// Ends with the try, which ctx does; close waits for it.
	m.trying.Go(func() {
		defer cancel()
		cert, err := m.try(ctx, h, had)
		m.ended(h, had, cert, err)
	})
}

// try returns the certificate that h is to have.
func (m *manager) try(ctx context.Context, h *host, had *tls.Certificate) (*tls.Certificate, error) {
	if had == nil {
		if had = m.ca.stored(h.Host); had == nil {
			if err := m.spend(h, time.Now()); err != nil {
				return nil, err
			}
		} else {
			m.mu.Lock()
			h.cert = had // it is good at once, whatever the CA says
			m.mu.Unlock()
		}
	}
	cert, err := m.ca.certify(ctx, h.Host)
	return cmp.Or(cert, had), err
}

// waitError says that a name waits for its credential's turn.
type waitError struct{ until time.Time }

func (e *waitError) Error() string {
	return fmt.Sprintf("its token has had %d new names within an hour, the next one has its turn at %s", newNames, e.until.Format("15:04"))
}

// spend counts a new name of h's credential.
func (m *manager) spend(h *host, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := h.Credential
	if h.counted || c == (control.Credential{}) {
		return nil
	}
	times := m.spentLocked(c, now)
	if len(times) >= newNames {
		return &waitError{times[0].Add(newNamesTime)}
	}
	m.spent[c] = append(times, now)
	h.counted = true
	return nil
}

// ended notes what a try has come to.
func (m *manager) ended(h *host, had, cert *tls.Certificate, err error) {
	now := time.Now()
	m.mu.Lock()
	m.tries--
	h.cancel = nil
	broken := h.failed > 0
	if cert != nil {
		h.cert = cert
	}
	if err == nil {
		h.failed, h.err, h.next = 0, nil, now.Add(nextLook(cert, now))
	} else {
		h.next = m.retryLocked(h, err, now)
		h.failed++
		h.err = err
		if h.again {
			h.next = now
		}
	}
	h.again = false
	next, kept := h.next, m.hosts[h.Host] == h
	m.mu.Unlock()
	defer m.changed()
	switch {
	case m.base.Err() != nil || !kept:
	case err != nil:
		m.sayFailed(h.Host, cert, err, next, now)
	case had == nil:
		m.log.Info("certificate is there", "name", h.Host, "until", cert.Leaf.NotAfter)
	case !bytes.Equal(had.Certificate[0], cert.Certificate[0]):
		m.log.Info("certificate renewed", "name", h.Host, "until", cert.Leaf.NotAfter)
	case broken:
		m.log.Info("certificate is in order again", "name", h.Host, "until", cert.Leaf.NotAfter)
	}
}

// nextLook is how long a certificate is good for without a look: it is renewed in
// the last third of its time.
func nextLook(cert *tls.Certificate, now time.Time) time.Duration {
	third := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore) / 3
	return max(min(lookEvery*time.Duration(90+rand.IntN(20))/100, cert.Leaf.NotAfter.Add(-third).Sub(now)+time.Second), time.Second)
}

// retryLocked is when h is tried again after err.
func (m *manager) retryLocked(h *host, err error, now time.Time) time.Time {
	if wait, ok := errors.AsType[*waitError](err); ok {
		return wait.until
	}
	list := pauses
	p := problemOf(err)
	if p.kind == unreachable || p.kind == stateBroken {
		list = pausesUnasked
	}
	if h.err != nil && problemOf(h.err).kind != p.kind {
		h.failed = 0 // of something else
	}
	pause := list[min(h.failed, len(list)-1)]
	if p.kind == rateLimited {
		pause = max(pause, time.Hour)
	}
	return now.Add(pause * time.Duration(90+rand.IntN(20)) / 100)
}

// sayFailed logs why a name has no certificate, or not a new one.
func (m *manager) sayFailed(name string, cert *tls.Certificate, err error, next, now time.Time) {
	p := problemOf(err)
	attrs := []slog.Attr{slog.String("name", name), slog.String("again_in", next.Sub(now).Round(time.Second).String())}
	msg, level := "no certificate: ", slog.LevelError
	if cert != nil {
		msg, level = "certificate not renewed, the old one is shown: ", slog.LevelWarn
		attrs = append(attrs, slog.Time("until", cert.Leaf.NotAfter))
	}
	m.lines.Log("failed "+string(p.kind), level, msg+p.words, attrs...)
}

// snapshot returns the names that are to have certificates, and those that have one.
func (m *manager) snapshot() []Certificate {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []Certificate
	for _, h := range m.hosts {
		if h.cert == nil && !h.wanted {
			continue
		}
		c := Certificate{Names: []string{h.Host}, From: "acme"}
		if h.cert != nil {
			c.NotAfter = h.cert.Leaf.NotAfter
			if h.wanted {
				c.RenewBy = renewBy(h.cert.Leaf)
			}
		}
		if h.err != nil {
			c.Err, c.NextTry = errors.New(problemOf(h.err).words), h.next
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Certificate) int { return cmp.Compare(a.Names[0], b.Names[0]) })
	return all
}
