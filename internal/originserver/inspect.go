package originserver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/errno"
	"github.com/amahi/spdy-proxy/internal/httpfield"
	"github.com/amahi/spdy-proxy/internal/inspector"
)

// InspectPort is the name of the inspector's port, for a process that is handed it.
const InspectPort = "inspect"

// inspectGrace is how long the inspector may finish its last answers.
const inspectGrace = time.Second

func badInspect(addr, why string) error {
	return fmt.Errorf("--inspect %q: %s; give an address of this machine alone, such as localhost:4040", addr, why)
}

// checkInspect refuses an address that others can reach. localhost is what /etc/hosts
// makes of it, and is looked at again when it is bound.
func checkInspect(addr string) error {
	if addr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return badInspect(addr, "there is no host or no port in it")
	}
	ip, err := netip.ParseAddr(host)
	if local := err == nil && ip.Unmap().IsLoopback() || httpfield.Equal(strings.TrimSuffix(host, "."), "localhost"); !local {
		return badInspect(addr, "others could see there what passes")
	}
	return nil
}

// inspect makes the inspector and binds its port, if there is to be one.
func (s *Server) inspect() error {
	addr := s.cfg.Inspect
	if addr == "" {
		return nil
	}
	var ln net.Listener
	var err error
	if s.cfg.Inherited != nil {
		ln, err = s.cfg.Inherited(InspectPort)
	}
	if ln == nil && err == nil {
		ln, err = new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	}
	if errno.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("cannot listen on %s for the inspector: %w; another program listens there: stop it, or give another address with --inspect", addr, syscall.EADDRINUSE)
	}
	if err != nil {
		return badInspect(addr, err.Error())
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		ln.Close()
		return badInspect(addr, "others could see there what passes")
	}
	s.inspectLn, s.inspector = ln, inspector.New(s.log)
	return nil
}

// serveInspector answers on the inspector's port until ctx ends.
func (s *Server) serveInspector(ctx context.Context) {
	server := s.inspector.Server(s.cfg.Inspect, ctx.Done())
	s.log.Info("the inspector listens", "url", "http://"+s.inspectLn.Addr().String()+"/")
	stopped := make(chan struct{})
	// Ends soon after ctx; waited for below.
	go func() {
		defer close(stopped)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), inspectGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	}()
	if err := server.Serve(s.inspectLn); err != http.ErrServerClosed {
		s.log.Error("the inspector's port failed", "err", err)
	}
	<-stopped
}
