package serve

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
)

// Probe connects to the service of [Config.To], up to TLS where it is https, and says in
// one line what is wrong and what to do. It asks the service for nothing, since what a
// request would do there is not known here. With a folder it returns nil at once.
func (h *Handler) Probe(ctx context.Context) error {
	s, ok := h.serve.(*service)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := s.dial(ctx, "tcp", net.JoinHostPort(s.target.Hostname(), cmp.Or(s.target.Port(), s.target.Scheme)))
	if err == nil {
		defer c.Close()
		if s.target.Scheme == "https" {
			_, err = secure(ctx, c, s.target.Hostname(), s.tlsConfig())
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("the service %s: %s", s.to, s.mend(err))
}

// mend says what an error of a connection means, and what would have the next one succeed.
func (s *service) mend(err error) string {
	switch f := failureOf(err); {
	case f.absent:
		return "nobody listens there; start it, or give its address with --to"
	case f.untrusted:
		return s.mendCertificate(err)
	case f.plain:
		return "it does not speak TLS; give " + (&url.URL{Scheme: "http", Host: s.target.Host}).String() + " with --to"
	}
	return shortened(err)
}
