package origin

import (
	"cmp"
	"time"
)

// Defaults of Config.
const (
	defaultMemory        = time.Minute
	defaultDrain         = 30 * time.Second
	defaultPingTimeout   = 2 * time.Second
	defaultMaxOrigins    = 10000
	defaultPerCredential = 1000
	defaultMaxSessions   = 64
	defaultMaxWaiting    = 4096
	defaultPerOrigin     = 1024
	defaultMaxBytes      = 64 << 20
)

// Config is what a table can be told. The zero value is the one to run with.
type Config struct {
	// Memory is how long a name counts as connected a moment ago after its last
	// session left. Zero means one minute.
	Memory time.Duration
	// Drain is how long a replaced session may finish what it serves. Zero
	// means 30 s.
	Drain time.Duration
	// PingTimeout is how long a session that shares its name with a newcomer
	// may take to answer. Zero means 2 s.
	PingTimeout time.Duration

	// MaxOrigins is how many names may be connected at once. Zero means 10000.
	MaxOrigins int
	// MaxPerCredential is how many of them one credential may serve. Zero means
	// 1000.
	MaxPerCredential int
	// MaxSessions is how many sessions may share one name. Zero means 64. As
	// many more may be finishing what they serve.
	MaxSessions int

	// MaxWaiting is how many requests may wait at once, MaxWaitingPerOrigin how
	// many for one name, MaxWaitingBytes what they may hold together. Zero
	// means 4096, 1024 and 64 MiB.
	MaxWaiting          int
	MaxWaitingPerOrigin int
	MaxWaitingBytes     int64

	// Expect, if set, says which names somebody may register; it must not call the
	// table. For ExpectFor from NewTable, or Table.Open, on, a request for one of
	// those waits although it was not connected yet: the origins of a proxy that has
	// just started are on their way.
	Expect    func(Name) bool
	ExpectFor time.Duration

	// OnEvent is told of each change of a session's state, in order for one
	// session. It may be called from several goroutines at once, and must not
	// block. Nil: nobody is.
	OnEvent func(Event)
}

func (c Config) withDefaults() Config {
	c.Memory = cmp.Or(c.Memory, defaultMemory)
	c.Drain = cmp.Or(c.Drain, defaultDrain)
	c.PingTimeout = cmp.Or(c.PingTimeout, defaultPingTimeout)
	c.MaxOrigins = cmp.Or(c.MaxOrigins, defaultMaxOrigins)
	c.MaxPerCredential = cmp.Or(c.MaxPerCredential, defaultPerCredential)
	c.MaxSessions = cmp.Or(c.MaxSessions, defaultMaxSessions)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, defaultMaxWaiting)
	c.MaxWaitingPerOrigin = cmp.Or(c.MaxWaitingPerOrigin, defaultPerOrigin)
	c.MaxWaitingBytes = cmp.Or(c.MaxWaitingBytes, defaultMaxBytes)
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	return c
}
