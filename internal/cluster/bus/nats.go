//go:build !nocluster

package bus

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/amahi/spdy-proxy/internal/cluster/registry"
	"github.com/amahi/spdy-proxy/internal/loglimit"
)

const (
	// A route, or the connection to the operator's server, is dead after so many pings
	// without an answer.
	pingEvery = time.Second
	maxPings  = 2
	// routeWrite is how long a node may take nothing.
	routeWrite = 2 * time.Second
	// startTime is how long the server in the process may take to start.
	startTime = 10 * time.Second
	// lookupEvery is how often names that stand for several nodes are looked up.
	lookupEvery = 30 * time.Second
	// lookupSoon is the same while there is no route.
	lookupSoon = 2 * time.Second
	// lookupForget is for how long an address stays that no name has any more.
	lookupForget = 10 * time.Minute
	// maxFound is how many addresses of one name count.
	maxFound = 64
	// flushTime is how long the last messages may take to go out.
	flushTime = time.Second

	// What may wait in this process for being taken.
	maxPendingMessages = 64 << 10
	maxPendingBytes    = 32 << 20
	// maxClients is how many connections the loopback port takes; one is used.
	maxClients = 8
)

// Bus is one node's end. Make one with Open.
type Bus struct {
	// Fixed by Open.
	cfg     Config
	lines   *loglimit.Logger
	server  *natsserver.Server  // nil with a URL
	options *natsserver.Options // of the server, but for what is looked up
	client  *nats.Conn
	tls     atomic.Pointer[identity]
	cancel  context.CancelFunc
	lookup  sync.WaitGroup // the goroutine of lookUp
	close   sync.Once
}

var _ registry.Bus = (*Bus)(nil)

// Open connects to the bus, and returns without waiting for other nodes. Its error is
// one line that says what would mend it.
func Open(c Config) (*Bus, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Bus{cfg: c, lines: loglimit.New(c.Logger, 2)}
	if err := b.Reload(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	err := b.connect(ctx)
	if err != nil {
		b.Close()
		return nil, err
	}
	if b.server != nil && slices.ContainsFunc(c.Join, func(s string) bool { return strings.HasPrefix(s, joinDNS) }) {
		// Ends in Close, which waits for it.
		b.lookup.Go(func() { b.lookUp(ctx) })
	}
	return b, nil
}

// Reload reads the files again, for the connections to come.
func (b *Bus) Reload() error {
	id, err := b.cfg.load()
	if err == nil {
		b.tls.Store(id)
	}
	return err
}

// connection has the options of the connection to any server. ctx ends before Close closes it.
func (b *Bus) connection(ctx context.Context) []nats.Option {
	return []nats.Option{
		nats.Name("spdy-proxy"), nats.NoEcho(), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		// What is said while there is no connection is old when there is one again, and the
		// registry makes good for it: nothing is kept.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.lines.Log("client", slog.LevelWarn, "cluster: the bus", slog.Any("err", err))
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.lines.Log("disconnected", slog.LevelWarn, "cluster: the connection to the bus is lost, trying on", slog.Any("err", err))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			b.lines.Log("connected", slog.LevelInfo, "cluster: there is a connection to the bus again")
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if ctx.Err() == nil {
				b.cfg.Logger.Error("cluster: the connection to the bus has ended, and is not tried again: restart this p", "err", nc.LastError())
			}
		}),
	}
}

// remote has the options of the connection to the operator's server.
func (b *Bus) remote() []nats.Option {
	options := []nats.Option{
		nats.RetryOnFailedConnect(true), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(maxPings),
		// It refuses the right password, too, while it does not know its users yet.
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			b.lines.Log("unreached", slog.LevelWarn, "cluster: the bus cannot be reached, trying on", slog.Any("err", err))
		}),
		nats.ConnectHandler(func(*nats.Conn) {
			b.lines.Log("connected", slog.LevelInfo, "cluster: there is a connection to the bus")
		}),
	}
	if strings.HasPrefix(b.cfg.URL, "tls:") {
		options = append(options, nats.ClientTLSConfig(
			func() (tls.Certificate, error) { return *b.tls.Load().cert, nil },
			func() (*x509.CertPool, error) { return b.cfg.serverRoots(b.tls.Load()), nil },
		))
	}
	return options
}

func (b *Bus) connect(ctx context.Context) (err error) {
	options := b.connection(ctx)
	if b.cfg.URL != "" {
		if b.client, err = nats.Connect(b.cfg.URL, append(options, b.remote()...)...); err != nil {
			return fmt.Errorf("--cluster-url: %w", err)
		}
		return nil
	}
	user, password := rand.Text(), rand.Text()
	if err := b.serve(user, password); err != nil {
		return err
	}
	// There is no server to be lost that would not end with this process.
	options = append(options, nats.InProcessServer(b.server), nats.UserInfo(user, password), nats.PingInterval(time.Hour))
	if b.client, err = nats.Connect("", options...); err != nil {
		return fmt.Errorf("--cluster %s: the bus does not start: %w", b.cfg.Addr, err)
	}
	return nil
}

// serve starts the server in this process.
func (b *Bus) serve(user, password string) error {
	host, port, err := reserve(b.cfg.Addr)
	if err != nil {
		return err
	}
	o := &natsserver.Options{
		// Two processes with one id must hear of each other.
		ServerName: b.tls.Load().name + "-" + rand.Text(),
		// It opens the nodes' port only if it listens for clients.
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, Username: user, Password: password, MaxConn: maxClients,
		NoSigs: true, NoLog: true, NoSystemAccount: true,
		Routes: b.routes(nil),
		Cluster: natsserver.ClusterOpts{
			Name: "spdy-proxy", Host: host, Port: port, TLSConfig: tlsConfig(b.tls.Load), TLSTimeout: 5,
			Advertise: net.JoinHostPort(b.cfg.Advertise, strconv.Itoa(port)),
			PoolSize:  -1, PingInterval: pingEvery, MaxPingsOut: maxPings, WriteDeadline: routeWrite,
			Compression: natsserver.CompressionOpts{Mode: natsserver.CompressionOff},
		},
	}
	b.options = o.Clone()
	if b.server, err = natsserver.NewServer(o); err != nil {
		return fmt.Errorf("--cluster %s: %w", b.cfg.Addr, err)
	}
	log := &serverLog{lines: b.lines}
	b.server.SetLogger(log, false, false)
	b.server.Start()
	if !b.server.ReadyForConnections(startTime) {
		return fmt.Errorf("--cluster %s: the bus does not start: %s", b.cfg.Addr, log.last())
	}
	return nil
}

// reserve returns the host and a port of addr that can be listened on. Its error is
// better than NATS's, which comes late.
func reserve(addr string) (host string, port int, err error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", 0, fmt.Errorf("--cluster %s: %w; is another p running, or is the address another machine's?", addr, err)
	}
	defer ln.Close()
	if host, _, err = net.SplitHostPort(addr); err != nil {
		return "", 0, err
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, ln.Addr().(*net.TCPAddr).Port, nil
}

// Addr returns where the nodes' routes are taken, nil with a URL.
func (b *Bus) Addr() net.Addr {
	if b.server == nil {
		return nil
	}
	return b.server.ClusterAddr()
}

// routes returns where other nodes may be: found has the addresses of names that
// stand for several.
func (b *Bus) routes(found []string) []*url.URL {
	var list []*url.URL
	for _, hp := range slices.Concat(b.cfg.Join, found) {
		if !strings.HasPrefix(hp, joinDNS) {
			list = append(list, &url.URL{Scheme: "nats-route", Host: hp})
		}
	}
	return list
}

// lookUp keeps the routes to what names stand for, until ctx ends. NATS itself looks
// up the others at each attempt.
func (b *Bus) lookUp(ctx context.Context) {
	seen := make(map[string]time.Time) // by address, when a name had it last
	var last []string
	for {
		found, err := b.find(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.lines.Log("lookup", slog.LevelWarn, "cluster: a name to join is not found, what it stood for stays", slog.Any("err", err))
		}
		for _, addr := range found {
			seen[addr] = time.Now()
		}
		if known := b.keep(seen); !slices.Equal(known, last) {
			last = known
			b.cfg.Logger.Info("cluster: nodes to join were looked up", "addresses", strings.Join(known, " "))
			o := b.options.Clone()
			o.Routes = b.routes(known)
			if err := b.server.ReloadOptions(o); err != nil {
				b.lines.Log("routes", slog.LevelWarn, "cluster: the bus does not take new routes", slog.Any("err", err))
			}
		}
		pause := lookupEvery
		if b.server.NumRoutes() == 0 {
			pause = lookupSoon
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// keep returns the addresses that there are, in order, and forgets those that no name
// has any more. A name may lack a node for a while, as that of a headless service does
// while it is not ready: NATS would end the route to it.
func (b *Bus) keep(seen map[string]time.Time) []string {
	routed := make(map[string]bool)
	if z, err := b.server.Routez(nil); err == nil {
		for _, r := range z.Routes {
			routed[r.IP] = true
		}
	}
	for addr, when := range seen {
		host, _, _ := net.SplitHostPort(addr)
		if time.Since(when) > lookupForget && !routed[host] {
			delete(seen, addr)
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// find returns the addresses that the names to join have, and an error if one of them
// has none.
func (b *Bus) find(ctx context.Context) ([]string, error) {
	var found []string
	var failed error
	for _, join := range b.cfg.Join {
		name, ok := strings.CutPrefix(join, joinDNS)
		if !ok {
			continue
		}
		host, port, err := net.SplitHostPort(name)
		if err != nil {
			return nil, err
		}
		limited, cancel := context.WithTimeout(ctx, lookupEvery)
		addrs, err := net.DefaultResolver.LookupNetIP(limited, "ip", host)
		cancel()
		if err != nil {
			failed = err
			continue
		}
		for _, a := range addrs[:min(len(addrs), maxFound)] {
			found = append(found, net.JoinHostPort(a.Unmap().String(), port))
		}
	}
	return found, failed
}

var errAway = errors.New("there is no connection to it")

// Publish implements registry.Bus.
func (b *Bus) Publish(subject string, data []byte) error {
	err := b.client.Publish(subject, data)
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return errAway // whose buffer has no room at all
	}
	return err
}

// Subscribe implements registry.Bus.
func (b *Bus) Subscribe(subject string, f func(registry.Message)) error {
	s, err := b.client.Subscribe(subject, func(m *nats.Msg) {
		msg := registry.Message{Subject: m.Subject, Data: m.Data}
		if m.Reply != "" {
			msg.Answer = func(data []byte) { m.Respond(data) } // an error is a lost answer
		}
		f(msg)
	})
	if err != nil {
		return err
	}
	if err := s.SetPendingLimits(maxPendingMessages, maxPendingBytes); err != nil {
		return err
	}
	if b.server == nil {
		return nil // there may be no connection yet
	}
	return b.client.FlushTimeout(startTime)
}

// Request implements registry.Bus.
func (b *Bus) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	m, err := b.client.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// Close leaves the bus, when what was published has gone out.
func (b *Bus) Close() {
	b.close.Do(func() {
		b.cancel()
		b.lookup.Wait()
		if b.client != nil {
			if b.client.IsConnected() {
				b.client.FlushTimeout(flushTime) // best effort
			}
			b.client.Close()
		}
		if b.server != nil {
			b.server.Shutdown()
			b.server.WaitForShutdown()
		}
		b.lines.Close()
	})
}

// serverLog writes NATS's lines, those of a kind once a minute.
type serverLog struct {
	lines *loglimit.Logger
	fatal atomic.Pointer[string]
}

func (l *serverLog) last() error {
	if s := l.fatal.Load(); s != nil {
		return errors.New(*s)
	}
	return errors.New("it says nothing")
}

// Noticef is for what nobody needs to know.
func (l *serverLog) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

// Warnf is, too: what it says of this server is meant so.
func (l *serverLog) Warnf(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

// Errorf is mostly for a node that cannot be reached.
func (l *serverLog) Errorf(format string, v ...any) { l.log(slog.LevelInfo, format, v) }

// Fatalf is for what ends NATS's own program.
func (l *serverLog) Fatalf(format string, v ...any) {
	s := fmt.Sprintf(format, v...)
	l.fatal.Store(&s)
	l.log(slog.LevelError, format, v)
}

// Debugf and Tracef are never called.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef: see Debugf.
func (l *serverLog) Tracef(string, ...any) {}

func (l *serverLog) log(level slog.Level, format string, v []any) {
	l.lines.Log(format, level, "cluster: the bus", slog.String("says", fmt.Sprintf(format, v...)))
}
