package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/amahi/spdy"
)

// headerRevoke marks a request of a node's own, whose body is the digests of tokens, one
// after the other.
const headerRevoke = ownPrefix + "Revoke"

// MaxRevoked is how many tokens one message is about at most.
const MaxRevoked = 1000

// Digest tells which token it is to who has it as well: its SHA-256.
type Digest [32]byte

// Revoke tells a node of tokens that are gone here, MaxRevoked at most, and returns when
// that has ended their sessions.
//
// A link is what says it, not the bus: the link proves who speaks, and nobody who runs a
// bus for the nodes learns of a token's digest.
func (l *Links) Revoke(ctx context.Context, node string, tokens []Digest) error {
	l.mu.Lock()
	n := l.nodes[node]
	l.mu.Unlock()
	var k *link
	if n != nil {
		k = n.current()
	}
	if k == nil {
		return errNoLink
	}
	body := make([]byte, 0, len(tokens)*len(Digest{}))
	for i := range tokens {
		body = append(body, tokens[i][:]...)
	}
	req := (&http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: node, Path: "/"}, Header: http.Header{headerRevoke: {"1"}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}).WithContext(ctx)
	resp, err := k.session.RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return nil
}

var errNoLink = errors.New("there is no link to it")

// revoke takes what Revoke of another node says.
func (h *handler) revoke(w http.ResponseWriter, r *http.Request) {
	const size = len(Digest{})
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxRevoked*int64(size)+1))
	if err != nil || len(body) > MaxRevoked*size || len(body)%size != 0 {
		h.l.line(h.node, slog.LevelWarn, "what a node says of tokens that are gone is not understood")
		spdy.ResetStream(r.Context(), spdy.ProtocolError)
		return
	}
	tokens := make([]Digest, 0, len(body)/size)
	for ; len(body) > 0; body = body[size:] {
		tokens = append(tokens, Digest(body[:size]))
	}
	if h.l.cfg.Revoked != nil {
		h.l.cfg.Revoked(h.node, tokens)
	}
	w.WriteHeader(http.StatusNoContent)
}
