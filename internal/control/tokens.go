package control

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/amahi/spdy-proxy/internal/oneline"
	"github.com/amahi/spdy-proxy/internal/originname"
)

// Credential says which token it was without saying the token. It is
// comparable, stays the same when the token file is read again, and must not
// leave the process, but for other nodes of a cluster: see String.
type Credential struct{ digest [sha256.Size]byte }

// String does not print the digest: of a poor token it would be as good as the
// token to whoever reads the log.
func (c Credential) String() string {
	if c == (Credential{}) {
		return "no credential"
	}
	return "a credential"
}

// Digest tells other nodes of a cluster, which have the same tokens, which one it was.
func (c Credential) Digest() [sha256.Size]byte { return c.digest }

// CredentialOf returns the credential that has a digest.
func CredentialOf(digest [sha256.Size]byte) Credential { return Credential{digest} }

// Tokens is the content of a token file. It does not change.
type Tokens struct {
	first   string // C's own
	entries []entry
	index   map[Credential]int  // 1 + the place in entries
	hosts   map[string]bool     // the host names of all entries, "*.example.com" among them; nil if there is none
	revoked map[Credential]bool // by Revoke, whether they were among the entries or not; MaxRevoked at most
}

// entry is one token and the names that it may register.
type entry struct {
	id     Credential
	joinBy time.Time       // of an invitation: it must have been used by then; zero: there is no such limit
	any    bool            // "*": every label, and the default origin
	names  map[string]bool // "" is the default origin, "@" in the file; also "*.example.com"
}

// has reports whether a name is written in the entry: a host name may be below one
// that is.
func (e *entry) has(name string) bool { return hasName(e.names, name) }

// hasName reports whether names has name, or a "*." with what name is below.
func hasName(names map[string]bool, name string) bool {
	if names[name] {
		return true
	}
	for i := range len(name) {
		if name[i] == '.' && names["*"+name[i:]] {
			return true
		}
	}
	return false
}

// allows reports whether the token may register name. A label that is not written
// in the entry may be reached below a domain by host names that are, all of them.
func (e *entry) allows(name originname.Name, domains originname.Domains) bool {
	if e.any && !name.Host() || e.has(string(name)) {
		return true
	}
	hosts := domains.Hosts(name)
	return len(hosts) > 0 && !slices.ContainsFunc(hosts, func(host string) bool { return !e.has(host) })
}

// String does not print the tokens.
func (t *Tokens) String() string { return oneline.Count(len(t.entries), "token") }

// ParseTokens reads a token file: a line a credential, TOKEN NAME..., where "@"
// stands for the default origin, "*" for that and any label, a full host name for
// itself, and "*.example.com" for any host below example.com; "#" starts a comment, at
// the begin of a line or after white space.
// A token on several lines has the names of all of them. Among the names may be what
// [JoinBy] returns; on one of several lines it means nothing. Errors name the line
// and never quote a token.
func ParseTokens(r io.Reader) (*Tokens, error) { return parseTokens(r, false) }

// parseTokens takes a token without a name, as a C may have it, if bare is set.
func parseTokens(r io.Reader, bare bool) (*Tokens, error) {
	t := &Tokens{index: make(map[Credential]int)}
	lines := bufio.NewScanner(r)
	n := 1
	for ; lines.Scan(); n++ {
		line := lines.Text()
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff") // an editor's byte order mark
		}
		text, _, err := CutComment(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		names, joinBy, err := CutJoinBy(fields[1:])
		if len(names) == 0 && bare {
			names = []string{"*"}
		}
		if err == nil {
			err = t.add(fields[0], names, joinBy)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: too long, more than %d bytes", n, bufio.MaxScanTokenSize)
	case err != nil:
		return nil, err
	}
	if len(t.entries) == 0 {
		return nil, errors.New("there is no token in it: write a line TOKEN NAME..., or have p token add NAME write one")
	}
	return t, nil
}

// CutComment splits a line of a token file, without a byte order mark, into what it says
// and the comment behind that. A "#" within the token is an error: it would be taken for
// another one, and not be the right one anywhere.
func CutComment(line string) (text, comment string, err error) {
	text, comment, found := strings.Cut(line, "#")
	if first := strings.TrimLeftFunc(text, unicode.IsSpace); found && first != "" && !strings.ContainsFunc(first, unicode.IsSpace) {
		return line, "", errors.New(`no token has a "#": put a space before it, if a comment begins there`)
	}
	return text, comment, nil
}

func (t *Tokens) add(token string, names []string, joinBy time.Time) error {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] >= 0x7f {
			return errors.New("a token has only visible ASCII characters")
		}
	}
	if len(names) == 0 {
		return errors.New(`a token without a name: write the origins that it may register after it, "@" for the default origin, "*" for any`)
	}
	id := credentialOf(token)
	known := t.index[id] != 0
	e := t.entry(id)
	if !known || joinBy.IsZero() {
		e.joinBy = joinBy
	}
	for _, written := range names {
		if written == "*" {
			e.any = true
			continue
		}
		name, err := parseWritten(written)
		if err != nil {
			return err
		}
		e.names[string(name)] = true
		if name.Host() {
			if t.hosts == nil {
				t.hosts = make(map[string]bool)
			}
			t.hosts[string(name)] = true
		}
	}
	t.first = cmp.Or(t.first, token)
	return nil
}

// parseWritten reads a name other than "*" as it stands in a token file.
func parseWritten(name string) (originname.Name, error) {
	below, wildcard := strings.CutPrefix(name, "*.")
	if !wildcard {
		return originname.Parse(name)
	}
	n, err := originname.ParseNamed(below)
	return "*." + n, err
}

// CheckName says what is wrong with one of the names that are to be written behind a
// token. Its error is one line.
func CheckName(name string) error {
	switch name {
	case "*":
		return nil
	case "":
		return errors.New(`"" is not a name: write "@" for the default origin`)
	}
	_, err := parseWritten(name)
	return err
}

// entry returns that of a credential, a new one if there is none.
func (t *Tokens) entry(id Credential) *entry {
	i := t.index[id]
	if i == 0 {
		t.entries = append(t.entries, entry{id: id, names: make(map[string]bool)})
		i = len(t.entries)
		t.index[id] = i
	}
	return &t.entries[i-1]
}

func credentialOf(token string) Credential { return Credential{sha256.Sum256([]byte(token))} }

// First returns the first token, which is the one that a C uses.
func (t *Tokens) First() string { return t.first }

// lookup returns the credential of a token. It takes the same time whatever the
// token and wherever it stands: digests of one length are compared, and all of
// them.
func (t *Tokens) lookup(token string) (id Credential, ok bool) {
	given := credentialOf(token)
	found := 0
	for i := range t.entries {
		found |= subtle.ConstantTimeCompare(given.digest[:], t.entries[i].id.digest[:])
	}
	return given, found == 1
}

// allows reports whether a credential may register a name, "" for the default
// origin.
func (t *Tokens) allows(id Credential, name originname.Name, domains originname.Domains) bool {
	ok := false
	for i := range t.entries {
		e := &t.entries[i]
		if subtle.ConstantTimeCompare(id.digest[:], e.id.digest[:]) == 1 && e.allows(name, domains) {
			ok = true
		}
	}
	return ok
}

// without returns the tokens that are not among ids. Their hosts stay: what is nobody's
// any more is not the default origin's.
func (t *Tokens) without(ids []Credential) *Tokens {
	rest := &Tokens{first: t.first, index: make(map[Credential]int), hosts: t.hosts, revoked: make(map[Credential]bool)}
	maps.Copy(rest.revoked, t.revoked)
	gone := make(map[Credential]bool, len(ids))
	for _, id := range ids {
		gone[id] = true
		if len(rest.revoked) < MaxRevoked {
			rest.revoked[id] = true
		}
	}
	for _, e := range t.entries {
		if !gone[e.id] {
			rest.entries = append(rest.entries, e)
			rest.index[e.id] = len(rest.entries)
		}
	}
	return rest
}

// with returns the tokens and names of t and of more, but for those that were revoked.
// It returns t if more allows nothing that t does not.
func (t *Tokens) with(more *Tokens) *Tokens {
	both := &Tokens{first: t.first, entries: slices.Clone(t.entries), index: maps.Clone(t.index), hosts: maps.Clone(t.hosts), revoked: t.revoked}
	changed := false
	for _, m := range more.entries {
		if t.revoked[m.id] {
			continue
		}
		if both.index[m.id] == 0 {
			both.entry(m.id).joinBy = m.joinBy
			changed = true
		}
		e := both.entry(m.id)
		if !e.joinBy.IsZero() && (m.joinBy.IsZero() || e.joinBy.Before(m.joinBy)) {
			e.joinBy, changed = m.joinBy, true
		}
		if m.any && !e.any {
			e.any, changed = true, true
		}
		names := maps.Clone(e.names)
		maps.Copy(names, m.names)
		if len(names) > len(e.names) {
			e.names, changed = names, true
		}
	}
	if !changed {
		return t
	}
	if len(more.hosts) > 0 && both.hosts == nil {
		both.hosts = make(map[string]bool)
	}
	maps.Copy(both.hosts, more.hosts)
	return both
}

// namesWritten returns the names that stand in the tokens, each once, "" for the default
// origin. Those that a "*" stands for are not among them.
func (t *Tokens) namesWritten() []string {
	names := make(map[string]bool)
	for _, e := range t.entries {
		for name := range e.names {
			if !strings.Contains(name, "*") {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// TokenSource is where the tokens come from.
type TokenSource struct {
	File string

	// Value is used in place of File if it is not empty; it comes from the
	// environment. It is written as the file is; a single word is a token for
	// any name.
	Value string
}

// Load reads the tokens. Its error is one line that says what would mend it.
func (s TokenSource) Load() (*Tokens, error) { return s.load(false) }

// First reads the token that a C shows: the first one. Which names it may register
// is written in P's file, and need not be in C's. The error is as Load's.
func (s TokenSource) First() (string, error) {
	t, err := s.load(true)
	if err != nil {
		return "", err
	}
	return t.First(), nil
}

func (s TokenSource) load(bare bool) (*Tokens, error) {
	if s.Value != "" {
		text := s.Value
		if words := strings.Fields(text); len(words) == 1 {
			text = words[0] + " *"
		}
		t, err := parseTokens(strings.NewReader(text), bare)
		if err != nil {
			return nil, fmt.Errorf("tokens from the environment: %w", err)
		}
		return t, nil
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		if s.File != "" && errors.Is(err, fs.ErrNotExist) {
			mend := "p invite NAME or p token add NAME makes it"
			if bare {
				mend = "give --join with what p invite printed (c keeps it in state/ of the folder where it ran: run it there, or give --state), or name a token's file with --token-file"
			}
			return nil, fmt.Errorf("token file %s is missing: %s%s", s.File, mend, inCheckout(s.File))
		}
		return nil, unreadable("token file", s.File, "", err)
	}
	t, err := parseTokens(bytes.NewReader(data), bare)
	if err != nil {
		return nil, fmt.Errorf("token file %s: %w", s.File, err)
	}
	return t, nil
}

// Auth is P's judge of tokens. The zero value knows none, and lets nobody in.
// Its methods may be called at once.
type Auth struct {
	// Domains are P's: NAME and NAME.D are one origin. Set it before use.
	Domains originname.Domains

	// Refused, if not nil, is called before somebody is refused whose token is not known,
	// or not for the name: it may have been written since, for Add. It may be called by
	// many at once, and returns soon after ctx ends. Set it before use.
	Refused func(ctx context.Context)

	open   bool
	tokens atomic.Pointer[Tokens]
	joined joined
}

// NewAuth returns an Auth that knows these tokens.
func NewAuth(t *Tokens) *Auth {
	a := &Auth{}
	a.Set(t)
	return a
}

// NoAuth returns an Auth that lets everybody in under any name, with the zero
// Credential.
func NoAuth() *Auth { return &Auth{open: true} }

// Set replaces the tokens, and returns those that are gone. Ask Valid afterwards about
// those who are in.
func (a *Auth) Set(t *Tokens) (gone []Credential) {
	before := a.tokens.Swap(t)
	if before == nil {
		return nil
	}
	for i := range before.entries {
		if id := before.entries[i].id; t.index[id] == 0 {
			gone = append(gone, id)
		}
	}
	return gone
}

// Add adds to the tokens of now what t allows more, but for those that Revoke was told
// of, and reports whether there was any, and whether t allows less.
func (a *Auth) Add(t *Tokens) (added, less bool) {
	for {
		before := a.tokens.Load()
		if before == nil {
			return false, false
		}
		after := before.with(t)
		if after == before || a.tokens.CompareAndSwap(before, after) {
			return after != before, t.with(before) != t
		}
	}
}

// MaxRevoked bounds those that are remembered, and what the nodes of a cluster tell each
// other of.
const MaxRevoked = 1 << 16

// Revoke takes tokens out until Set, and returns how many of them there were; none of
// them comes in by Add. Ask Valid afterwards about those who are in.
func (a *Auth) Revoke(ids []Credential) int {
	for {
		before := a.tokens.Load()
		if before == nil {
			return 0
		}
		after := before.without(ids)
		if a.tokens.CompareAndSwap(before, after) {
			return len(before.entries) - len(after.entries)
		}
	}
}

// Knows reports whether a token is one of those of now.
func (a *Auth) Knows(id Credential) bool {
	t := a.tokens.Load()
	return t != nil && t.index[id] != 0
}

// Valid reports whether a credential that was let in under a name, "" for the
// default origin, would be let in now.
func (a *Auth) Valid(id Credential, name string) bool {
	if a.open {
		return true
	}
	t := a.tokens.Load()
	return t != nil && t.allows(id, originname.Name(name), a.Domains) && a.expired(id).IsZero()
}

// Served reports whether there is a token that may register a name, "" for the
// default origin.
func (a *Auth) Served(name string) bool {
	if a.open {
		return true
	}
	t := a.tokens.Load()
	return t != nil && slices.ContainsFunc(t.entries, func(e entry) bool {
		return e.allows(originname.Name(name), a.Domains) && a.expired(e.id).IsZero()
	})
}

// Names reports whether the tokens have a host among their names, or what it is
// below: it is the origin's of that name then, and nobody else's. Where everybody
// is let in, they have none.
func (a *Auth) Names(host string) bool {
	t := a.tokens.Load()
	return t != nil && t.hosts != nil && hasName(t.hosts, host)
}

// Any reports whether a token is for any name. Where everybody is let in, none is.
func (a *Auth) Any() bool {
	t := a.tokens.Load()
	return t != nil && slices.ContainsFunc(t.entries, func(e entry) bool { return e.any })
}

// NamesWritten returns the names that stand in the tokens of now.
func (a *Auth) NamesWritten() []string {
	if t := a.tokens.Load(); t != nil {
		return t.namesWritten()
	}
	return nil
}

// admit returns the credential of a token, whether it is one of ours, and whether it may
// register a name.
func (a *Auth) admit(ctx context.Context, token string, name originname.Name) (id Credential, known, allowed bool) {
	for again := false; ; again = true {
		id, known = a.known(token)
		allowed = known && a.Valid(id, string(name))
		if allowed || token == "" || again || a.Refused == nil {
			return id, known, allowed
		}
		a.Refused(ctx)
	}
}

// known returns the credential of a token, and whether it is one of ours.
func (a *Auth) known(token string) (Credential, bool) {
	if a.open {
		return Credential{}, true
	}
	t := a.tokens.Load()
	if t == nil {
		return Credential{}, false
	}
	return t.lookup(token)
}
