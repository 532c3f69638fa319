package control

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// joinBy begins the word of a token's line that says until when its invitation is
// good.
const joinBy = "join-by="

// challengeExpired is WWW-Authenticate where an invitation was not used in time (RFC
// 6750, 3.1).
const challengeExpired = `Bearer error="invalid_token", error_description="expired"`

// JoinBy returns the word that stands among the names of a token's line in the token
// file, if the token must be used for the first time by t. Who has come in with it in
// time may come in ever after; the word is to be taken out then.
func JoinBy(t time.Time) string { return joinBy + t.UTC().Format(time.RFC3339) }

// CutJoinBy splits what stands behind a token in a token file into the names and what
// JoinBy has made of a time, which is zero if there is none.
func CutJoinBy(fields []string) (names []string, by time.Time, err error) {
	for _, f := range fields {
		text, found := strings.CutPrefix(f, joinBy)
		if !found {
			names = append(names, f)
			continue
		}
		if by, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, time.Time{}, fmt.Errorf("%q is not a time such as %s", f, JoinBy(time.Unix(1.8e9, 0)))
		}
	}
	return names, by, nil
}

// joined is who has used an invitation. The token file may still have its limit.
type joined struct {
	mu sync.Mutex
	// Guarded by mu.
	ids map[Credential]bool // bounded by the tokens that this process has read
}

func (j *joined) has(id Credential) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ids[id]
}

func (j *joined) add(id Credential) (first bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ids[id] {
		return false
	}
	if j.ids == nil {
		j.ids = make(map[Credential]bool)
	}
	j.ids[id] = true
	return true
}

// limit returns until when the invitation of a credential is good, zero if it is of
// none.
func (a *Auth) limit(id Credential) time.Time {
	t := a.tokens.Load()
	if t == nil {
		return time.Time{}
	}
	if i := t.index[id]; i > 0 {
		return t.entries[i-1].joinBy
	}
	return time.Time{}
}

// expired returns when the invitation of a credential has ended that nobody has used
// in time, zero if it has not.
func (a *Auth) expired(id Credential) time.Time {
	by := a.limit(id)
	if by.IsZero() || time.Now().Before(by) || a.joined.has(id) {
		return time.Time{}
	}
	return by
}

// Joined notes that a C has come in, and reports whether it was the first to use an
// invitation: its limit is to be taken out of the token file.
func (a *Auth) Joined(id Credential) (first bool) { return !a.limit(id).IsZero() && a.joined.add(id) }

// HasJoined reports whether Joined was told of a token.
func (a *Auth) HasJoined(token string) bool { return a.joined.has(credentialOf(token)) }
