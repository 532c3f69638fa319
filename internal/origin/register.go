package origin

import (
	"slices"
	"time"
)

// Registration is a session that wants to serve a name.
type Registration struct {
	Name     Name
	Instance string
	// Credential says whose token it was, without being the token: any
	// comparable value, which the table compares and hands to EndByCredential.
	// It is never printed.
	Credential any
	RemoteAddr string
	Agent      string // C's program and version, as it says; may be empty
	// DialsAgain: it may be sent what Table.Ask asks. ByFront: its C has come by the
	// port of the visitors.
	DialsAgain, ByFront bool
	// Remote, if not empty, is the id of the node whose session it is. The table only
	// picks it, after the sessions here, until Withdraw: it replaces none and is not
	// replaced, has no credential, no event and no limit, and is neither asked nor shut
	// down.
	Remote string
	// Since is when it came to that node. Zero means now.
	Since time.Time
	// Session must be running or about to be, and is the table's from the
	// moment Register returns without an error; requests may come on it before.
	Session Session
}

// admitLocked returns ErrStopping or one of ErrTooMany... if there is no place
// for r.
func (t *Table) admitLocked(r Registration) error {
	if t.stopped {
		return ErrStopping
	}
	e := t.entries[r.Name]
	if (e == nil || e.sessions() == 0) && t.connected >= t.cfg.MaxOrigins {
		return ErrTooManyOrigins
	}
	if !t.credentials.admits(r.Credential, r.Name, t.cfg.MaxPerCredential) {
		return ErrTooManyForCredential
	}
	if e != nil {
		sharing := 0
		for _, m := range e.serving {
			if !replaces(r, m) && !m.goingAway() {
				sharing++
			}
		}
		if sharing >= t.cfg.MaxSessions {
			return ErrTooManySessions
		}
	}
	return nil
}

// replaces reports whether r takes the place of m rather than sharing its name.
func replaces(r Registration, m *Member) bool {
	return r.Instance == "" || m.instance == "" || r.Instance == m.instance
}

// Register makes r.Session serve r.Name from now on. Sessions that it replaces
// get a GOAWAY and Config.Drain to finish; every session that was there before
// is asked by PING and closed if it is silent for Config.PingTimeout. Register
// waits for none of that. The session leaves the table by itself. One that is
// going away already is not replaced: it has no limit to finish. If there is an
// error, it is ErrStopping or one of ErrTooMany..., and the session is still the
// caller's.
func (t *Table) Register(r Registration) (*Member, error) {
	m := &Member{
		Session: r.Session, name: r.Name, instance: r.Instance, credential: r.Credential,
		remote: r.RemoteAddr, agent: r.Agent, since: r.Since, dialsAgain: r.DialsAgain, byFront: r.ByFront, node: r.Remote,
	}
	if m.since.IsZero() {
		m.since = time.Now()
	}
	t.mu.Lock()
	if r.Remote != "" {
		defer t.mu.Unlock()
		return m, t.attachLocked(m)
	}
	if err := t.admitLocked(r); err != nil {
		t.mu.Unlock()
		return nil, err
	}
	e, replaced, before := t.enterLocked(r, m)
	crowd := e.crowd(t.cfg.MaxSessions)
	sessions := len(e.serving)
	t.running.Add(1 + len(before) + len(replaced) + len(crowd))
	t.mu.Unlock()

	t.cfg.OnEvent(Event{Kind: Connected, Member: m, Sessions: sessions})
	// Ends with the session; Shutdown waits for it.
	m.AfterGoingAway(func() { t.watch(e, m) })
	for _, old := range replaced {
		t.emit(Replaced, old, nil)
		// Ends within Drain, or with ctx; Shutdown waits for it.
		go t.retire(old)
	}
	for _, old := range before {
		// Ends with the answer or the session, else within maxPings of
		// PingTimeout; Shutdown waits for it.
		go t.probe(old)
	}
	for _, old := range crowd {
		// Ends when the connection is closed; Shutdown waits for it.
		go func() {
			defer t.running.Done()
			old.Close()
		}()
	}
	return m, nil
}

// enterLocked takes m in. It returns those that m replaces, and those that are to be
// asked whether they are there yet.
func (t *Table) enterLocked(r Registration, m *Member) (e *entry, replaced, before []*Member) {
	t.purgeLocked()
	e = t.entryLocked(r.Name)
	if e.sessions() == 0 {
		t.connected++
		t.served += one(len(e.remote) == 0)
	}
	t.credentials.add(r.Credential, r.Name)
	before = e.toAsk()
	for _, old := range slices.Clone(e.serving) {
		switch {
		case old.goingAway():
			e.leave(old)
		case replaces(r, old):
			e.leave(old)
			old.told = true
			replaced = append(replaced, old)
		}
	}
	t.lastID++
	m.id = t.lastID
	e.serving = append(e.serving, m)
	e.change()
	return e, replaced, before
}
