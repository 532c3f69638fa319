// Package originserver is C, assembled: it reads what it was told, and joins what
// is served (package serve) to the connections to P (package agent).
package originserver

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// DefaultUploadMax is the largest body kept, in bytes, unless told otherwise.
const DefaultUploadMax = serve.DefaultUploadMax

// Config is what C can be told; the fields are c's flags. Proxies, Connections,
// TLS.CAFile, a source of tokens, and one of Serve.Root and Serve.To are needed.
type Config struct {
	Proxies     []string // HOST:PORT of control ports, a connection to each
	Connections int      // parallel connections to each, at least 1
	Name        string   // of the origin; "": the default one

	TLS    control.ClientTLS
	Tokens control.TokenSource // its first token is shown to P

	// Serve says what to serve. Its Logger is the one below.
	Serve serve.Config

	// ID is of the process whose connections are taken over, "" if there is none; see
	// agent.Config. Started, if set, is called when the connections are there, but
	// for those that cannot be now. It must return soon after ctx ends.
	ID      string
	Started func(ctx context.Context) error

	KeepAlive time.Duration // a PING after this much silence; 0: never
	Drain     time.Duration // how long open requests may finish at the end; 0: they may not

	Version string       // for the log
	Logger  *slog.Logger // nil: nothing is logged

	// Trace, if set, is called with a line for each SPDY frame, by several
	// goroutines at once. It must not block.
	Trace func(line string)
}

func (c *Config) check() error {
	switch {
	case c.KeepAlive < 0:
		return fmt.Errorf("--keepalive %v: give a time such as 15s, or 0 for never", c.KeepAlive)
	case c.Drain < 0:
		return fmt.Errorf("--drain %v: give a time such as 30s, or 0 for none", c.Drain)
	case c.Connections < 1:
		return fmt.Errorf("--connections %d: give 1 or more", c.Connections)
	case c.Serve.UploadMax < 1:
		return fmt.Errorf("--upload-max %d: give a number of bytes above 0", c.Serve.UploadMax)
	}
	return nil
}

// Server is C. Make one with New, then call Run, once.
type Server struct {
	// Fixed by New.
	cfg     Config
	log     *slog.Logger
	handler *serve.Handler
	agent   *agent.Agent

	handedOver chan struct{} // closed by HandOver, once
}

// Successor is a process that has taken the places of C's connections.
type Successor interface {
	// GoOn tells it that it is C now. An error means that it has ended.
	GoOn() error
}

// New reads every file that cfg names and joins the parts. Its error is one line
// that says what would mend it.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Serve.Logger = cfg.Logger
	s := &Server{cfg: cfg, log: cfg.Logger, handedOver: make(chan struct{})}
	var err error
	if s.handler, err = serve.New(cfg.Serve); err != nil {
		return nil, err
	}
	ac := agent.Config{
		Proxies: cfg.Proxies, Connections: cfg.Connections, Name: cfg.Name,
		Load: s.identity, Handler: s.handler, Session: spdy.Config{KeepAlive: cfg.KeepAlive},
		Drain: cfg.Drain, Logger: s.log, ID: cfg.ID,
	}
	if cfg.Trace != nil {
		ac.Trace = func(slot int, f spdy.FrameInfo) { cfg.Trace(fmt.Sprintf("spdy %d: %v", slot, f)) }
	}
	if s.agent, err = agent.New(ac); err != nil {
		s.handler.Close()
		return nil, err
	}
	return s, nil
}

// identity reads what C shows to P, and warns of files with secrets that others
// may read.
func (s *Server) identity() (agent.Identity, error) {
	token, err := s.cfg.Tokens.First()
	if err != nil {
		return agent.Identity{}, err
	}
	if s.cfg.Tokens.Value == "" {
		control.WarnReadable(s.log, "token file", s.cfg.Tokens.File)
	}
	control.WarnReadable(s.log, "private key", s.cfg.TLS.KeyFile)
	tls, err := s.cfg.TLS.Load()
	return agent.Identity{Token: token, TLS: tls}, err
}

// Run keeps the connections, and serves on them, until ctx ends, or HandOver has
// succeeded. Then it stops in good order within Config.Drain, or at once when now
// ends, and returns when nothing is left running. Its error is what Config.Started
// says.
func (s *Server) Run(ctx, now context.Context) error {
	defer s.handler.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.log.Info("c starts", "version", s.cfg.Version, "proxies", s.cfg.Proxies, "connections", s.cfg.Connections)
	var watching sync.WaitGroup
	// Ends with ctx or a hand-over; waited for below.
	watching.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.handedOver:
			cancel()
		}
	})
	var failed error
	if s.cfg.Started != nil {
		// Ends soon after ctx; waited for below.
		watching.Go(func() {
			if failed = s.cfg.Started(ctx); failed != nil {
				cancel()
			}
		})
	}
	s.agent.Run(ctx, now)
	watching.Wait()
	s.log.Info("c has stopped")
	return failed
}

// Connected returns nil when the connections are there, but for those that cannot
// be now.
func (s *Server) Connected(ctx context.Context) error { return s.agent.Connected(ctx) }

// HandOver has another process take over: start starts it with what is to be its
// Config.ID, and returns when it has connections in the places of these. Then Run
// ends when all that is open here has, within Config.Drain. After an error C goes
// on as before.
func (s *Server) HandOver(start func(id string) (Successor, error)) error {
	release := s.agent.Hold()
	next, err := start(s.agent.ID())
	if err == nil {
		err = next.GoOn()
	}
	if err != nil {
		release()
		return err
	}
	close(s.handedOver)
	return nil
}

// Reload reads the token and the certificates again, for the connections to come.
// What cannot be read stays as it was; there is a line about it.
func (s *Server) Reload() {
	if err := s.agent.Reload(); err != nil {
		s.log.Error("reload failed, what was read before stays in use", "err", err)
		return
	}
	s.log.Info("token and certificates were read again")
}
