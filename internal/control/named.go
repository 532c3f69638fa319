package control

import (
	"strings"

	"github.com/amahi/spdy-proxy/internal/originname"
)

// Named calls f for each name that is written behind a token in the token file, "" for
// the default origin, with the token's credential, but for those of invitations that
// were not used in time.
func (a *Auth) Named(f func(id Credential, name string)) {
	t := a.tokens.Load()
	if t == nil {
		return
	}
	for i := range t.entries {
		if !a.expired(t.entries[i].id).IsZero() {
			continue
		}
		for name := range t.entries[i].names {
			f(t.entries[i].id, name)
		}
	}
}

// Unwritten returns what says for a name, "" for the default origin, which token of now
// may register it that is for more names than are written behind it: any, or those below
// a host.
func (a *Auth) Unwritten() func(name string) (id Credential, ok bool) {
	var many []*entry
	if t := a.tokens.Load(); t != nil {
		for i := range t.entries {
			if e := &t.entries[i]; e.forMany() && a.expired(e.id).IsZero() {
				many = append(many, e)
			}
		}
	}
	return func(name string) (Credential, bool) {
		for _, e := range many {
			if e.allows(originname.Name(name), a.Domains) {
				return e.id, true
			}
		}
		return Credential{}, false
	}
}

func (e *entry) forMany() bool {
	for name := range e.names {
		if strings.HasPrefix(name, "*") {
			return true
		}
	}
	return e.any
}
