package control

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
