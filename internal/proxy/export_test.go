package proxy

import "log/slog"

// CloseFront takes the front port's listener away, as no operator can.
func (p *Proxy) CloseFront() { p.frontLn.Close() }

// StartSessionsAt gives the first stream of each session with a C this id.
// Called before the first C connects.
func (p *Proxy) StartSessionsAt(id uint32) { p.session.FirstStreamID = id }

// ServerLog is serverLog, for tests.
func ServerLog(h slog.Handler) slog.Handler { return serverLog{h} }
