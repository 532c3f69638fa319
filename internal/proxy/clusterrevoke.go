package proxy

import (
	"context"
	"slices"

	"github.com/amahi/spdy-proxy/internal/cluster/peer"
	"github.com/amahi/spdy-proxy/internal/control"
)

// revoke has the other nodes take tokens no more that are gone from this node's file:
// those that are linked at once, others when they are. Who has the token could go to
// another node otherwise, whose file was not read yet.
func (c *cluster) revoke(gone []control.Credential) {
	if c == nil {
		return
	}
	c.mu.Lock()
	var all []peer.Digest // the newest first, as they are told: they are in use elsewhere, perhaps
	for _, id := range gone {
		all = append(all, id.Digest())
	}
	for _, d := range c.gone {
		if !c.p.auth.Knows(control.CredentialOf(d)) {
			all = append(all, d)
		}
	}
	c.gone = all[:min(len(all), control.MaxRevoked)]
	c.mu.Unlock()
	if left := len(all) - control.MaxRevoked; left > 0 {
		c.log.Warn("too many tokens are gone here for the other nodes to be told of all: have each read its token file", "left", left)
	}
	if len(gone) == 0 {
		return
	}
	// A link that comes up now is there already, or is told of them when it is.
	for _, k := range c.links.Nodes() {
		if k.Up {
			c.tellGone(k.ID)
		}
	}
}

// tellGone tells a node of the tokens that are gone here. It does not wait for that.
func (c *cluster) tellGone(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.gone) == 0 || c.ctx.Err() != nil {
		return
	}
	gone := c.gone // which is replaced, not changed
	// Ends within tellTime; close waits for it.
	c.running.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, tellTime)
		defer cancel()
		for some := range slices.Chunk(gone, peer.MaxRevoked) {
			if err := c.links.Revoke(ctx, node, some); err != nil {
				if c.ctx.Err() == nil {
					c.log.Warn("a node was not told of tokens that are gone, it will be when there is a new link to it: have it read its token file, too",
						"node", node, "tokens", len(gone), "reason", err)
				}
				return
			}
		}
	})
}

// revoked is told of tokens that are gone at another node. They are taken here no more
// until this node reads its own file again: that says what holds here.
func (c *cluster) revoked(node string, tokens []peer.Digest) {
	ids := make([]control.Credential, 0, len(tokens))
	for _, d := range tokens {
		ids = append(ids, control.CredentialOf(d))
	}
	if n := c.p.auth.Revoke(ids); n > 0 {
		c.log.Warn("tokens are gone at another node, and are not taken here either until this node reads its token file", "node", node, "tokens", n)
		c.p.endRevoked()
		c.p.certs.Changed()
	}
}
