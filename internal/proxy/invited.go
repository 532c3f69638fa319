package proxy

import (
	"errors"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/tokenfile"
)

// errSettled ends an edit of the token file that has nothing to do.
var errSettled = errors.New("there is nothing to settle")

// joined notes that a C has come in. The first that uses an invitation has its limit
// taken out of the token file: the token is good for ever then.
func (p *Proxy) joined(id control.Credential) {
	if !p.auth.Joined(id) || p.cfg.Tokens.Value != "" {
		return
	}
	// Ends with one edit of a file; stop waits for it, if its disk answers.
	p.settles.Go(p.settleInvitations)
}

// waitForSettles waits for those that are under way. An edit is whole or not at all, so one
// that its disk does not let end is left.
func (p *Proxy) waitForSettles() {
	settled := make(chan struct{})
	// Ends with the edits, or with the process.
	go func() { p.settles.Wait(); close(settled) }()
	select {
	case <-settled:
	case <-time.After(tokenFileTime):
	}
}

// settleInvitations takes the limits of the invitations that this process has seen
// used out of the token file. Where that cannot be, they are good until P ends.
func (p *Proxy) settleInvitations() {
	p.settling.Lock()
	defer p.settling.Unlock()
	f, err := tokenfile.Read(p.cfg.Tokens.File)
	if err != nil {
		return // a reload's to say
	}
	settled := f.Settle(p.auth.HasJoined)
	if len(settled) == 0 {
		return
	}
	err = tokenfile.Edit(p.cfg.Tokens.File, func(f *tokenfile.File) error {
		if settled = f.Settle(p.auth.HasJoined); len(settled) == 0 {
			return errSettled
		}
		return nil
	})
	if errors.Is(err, errSettled) {
		return
	}
	for _, e := range settled {
		attrs := []any{"token", e.Fingerprint, "names", strings.Join(e.Names, " ")}
		if err == nil {
			p.log.Info("an invitation was used, its token is good from now on", attrs...)
		} else {
			p.log.Warn("an invitation was used, but its limit stays in the token file, and holds for a p that starts later: "+
				"take join-by= out of its line, or let p write the file and send SIGHUP", append(attrs, "err", err)...)
		}
	}
}
