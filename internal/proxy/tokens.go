package proxy

import (
	"os"

	"github.com/amahi/spdy-proxy/internal/control"
)

// readTokens reads the tokens, and remembers which file it was: a change while it is
// read counts as one after.
func (p *Proxy) readTokens() (*control.Tokens, error) {
	p.tokensAt = nil
	if p.cfg.Tokens.Value == "" {
		p.tokensAt, _ = os.Stat(p.cfg.Tokens.File)
	}
	return p.cfg.Tokens.Load()
}

// addTokens takes what was added to the token file since it was read: whoever has just
// been invited is let in without a word to the running p. What was taken out stays until
// Reload, as a file that an editor has not written to its end has less in it, too. A
// stranger's guess costs a look at the file's time.
func (p *Proxy) addTokens() {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	is, err := os.Stat(p.cfg.Tokens.File)
	if was := p.tokensAt; p.cfg.Tokens.Value != "" || err != nil ||
		was != nil && os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size() {
		return
	}
	tokens, err := p.readTokens()
	if err != nil {
		return // a reload's to say
	}
	if !p.auth.Add(tokens) {
		return
	}
	p.certs.Changed()
	p.nameOrigins()
	p.log.Info("what was added to the token file is known from now on", "file", p.cfg.Tokens.File)
}
