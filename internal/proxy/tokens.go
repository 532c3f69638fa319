package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
)

// tokenFileTime is how long somebody else's look at the token file, or edit of it, is waited
// for.
const tokenFileTime = 5 * time.Second

// tokenFile is what is known of the token file.
type tokenFile struct {
	// reading holds a value while somebody reads the file and has Auth know what is in it.
	reading chan struct{}
	// Owned by who has reading.
	at fs.FileInfo // of the file when it was read, nil where it could not be
	// Fixed by init: os.Stat, which may not return.
	stat func(file string) (fs.FileInfo, error)
}

func (f *tokenFile) init() { f.reading, f.stat = make(chan struct{}, 1), os.Stat }

// readTokens reads the tokens, and remembers which file it was: a change while it is
// read counts as one after. A file that could not be opened or read is tried again; one
// that makes no sense is not, until it changes.
func (p *Proxy) readTokens() (*control.Tokens, error) {
	p.tokens.at = nil
	at, _ := p.tokens.stat(p.cfg.Tokens.File) // for addTokens
	tokens, err := p.cfg.Tokens.Load()
	if _, unreadable := errors.AsType[syscall.Errno](err); !unreadable {
		p.tokens.at = at
	}
	return tokens, err
}

// setTokens has the tokens that are in the file by now hold, and returns those that do
// no more. After an error those before do.
func (p *Proxy) setTokens() (gone []control.Credential, err error) {
	select {
	case p.tokens.reading <- struct{}{}:
	case <-time.After(tokenFileTime):
		return nil, fmt.Errorf("token file %s is being read since more than %v: look at its disk, and send SIGHUP again", p.cfg.Tokens.File, tokenFileTime)
	}
	defer func() { <-p.tokens.reading }()
	tokens, err := p.readTokens()
	if err != nil {
		return nil, err
	}
	return p.auth.Set(tokens), nil
}

// addTokens takes what was added to the token file since it was read: whoever has just
// been invited is let in without a word to the running p. What was taken out stays until
// Reload, as a file that an editor has not written to its end has less in it, too. A
// stranger's guess costs a look at the file's time. Where the disk does not answer, that
// is waited for until ctx ends.
func (p *Proxy) addTokens(ctx context.Context) {
	select {
	case p.tokens.reading <- struct{}{}:
	case <-ctx.Done():
		return
	}
	looked := make(chan struct{})
	// Ends when the disk answers. There is one at a time, which has reading.
	go func() {
		defer close(looked)
		defer func() { <-p.tokens.reading }()
		p.lookAtTokens()
	}()
	select {
	case <-looked:
	case <-ctx.Done():
	}
}

// lookAtTokens is addTokens for who has reading.
func (p *Proxy) lookAtTokens() {
	is, err := p.tokens.stat(p.cfg.Tokens.File)
	if err != nil || !is.Mode().IsRegular() { // a pipe would be waited for
		return
	}
	if was := p.tokens.at; was != nil && os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size() {
		return
	}
	tokens, err := p.readTokens()
	if err != nil {
		return // a reload's to say
	}
	added, less := p.auth.Add(tokens)
	if !added {
		return
	}
	p.cluster.revoke(nil) // what is back is gone no more
	p.certs.Changed()
	p.nameOrigins()
	msg := "what was added to the token file is known from now on"
	if less {
		msg += ", what was taken out of it is let in until SIGHUP"
	}
	p.log.Info(msg, "file", p.cfg.Tokens.File)
}
