package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
)

// minToken is the least length of a token: nothing here slows down who guesses.
const minToken = 16

// Token is what lets somebody in at the admin port. Make one with LoadToken. Its
// methods may be called at once.
type Token struct {
	file   string
	digest atomic.Pointer[[sha256.Size]byte]
}

// LoadToken reads a token, the only word of a file. Its error is one line that says
// what would mend it, and never quotes the token.
func LoadToken(file string) (*Token, error) {
	t := &Token{file: file}
	return t, t.Reload()
}

// Reload reads the file again. After an error the old token stays.
func (t *Token) Reload() error {
	b, err := os.ReadFile(t.file)
	if err != nil {
		return fmt.Errorf("admin token file: %w; give one with --admin-token-file that can be read", err)
	}
	words := strings.Fields(string(b))
	if len(words) != 1 || len(words[0]) < minToken {
		return fmt.Errorf("admin token file %s: one word of at least %d characters is wanted, such as \"openssl rand -hex 16\" gives", t.file, minToken)
	}
	digest := sha256.Sum256([]byte(words[0]))
	t.digest.Store(&digest)
	return nil
}

// admits reports whether r shows the token, as Bearer or as the password of anybody.
// It takes as long whatever is shown.
func (t *Token) admits(r *http.Request) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, shown, _ := strings.Cut(values[0], " ")
	if _, password, ok := r.BasicAuth(); ok {
		shown = password
	} else if strings.ToLower(scheme) != "bearer" {
		return false
	}
	digest := sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(digest[:], t.digest.Load()[:]) == 1
}
