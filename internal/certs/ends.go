package certs

import (
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

const (
	// warnBefore is how long before its end a certificate is warned of, or a sixth
	// of its time if that is less: those of some days are renewed late.
	warnBefore = 14 * 24 * time.Hour
	warnEvery  = 24 * time.Hour
)

// warnOfEnds logs a line for each certificate that ends soon, or has ended.
func (s *Source) warnOfEnds() {
	now := time.Now()
	for _, c := range s.ofFiles() {
		if c.EndsSoon() {
			s.lines.Log("ends "+c.File, slog.LevelWarn, "certificate "+left(c.NotAfter, now)+": put a new one in its place and send SIGHUP",
				slog.String("file", c.File), slog.Time("until", c.NotAfter))
		}
	}
	if s.manager == nil {
		return
	}
	for _, e := range s.manager.snapshot() {
		if !e.EndsSoon() {
			continue
		}
		s.lines.Log("ends", slog.LevelWarn, "certificate "+left(e.NotAfter, now)+" and was not renewed: "+reason(e.Err),
			slog.String("name", e.Names[0]), slog.Time("until", e.NotAfter))
	}
}

// renewBy returns when a certificate should have been renewed at the latest.
func renewBy(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-min(warnBefore, leaf.NotAfter.Sub(leaf.NotBefore)/6))
}

// EndsSoon reports whether it should have been renewed.
func (c *Certificate) EndsSoon() bool { return !c.RenewBy.IsZero() && time.Since(c.RenewBy) >= 0 }

// nextLook returns how long there is until the next look at what ends: one that is good
// for a day may begin to end soon, and have ended, between two that are a day apart.
func (s *Source) nextLook() time.Duration {
	wait := warnEvery
	for _, c := range s.Snapshot() {
		if d := time.Until(c.RenewBy); d > 0 {
			wait = min(wait, d)
		}
	}
	return wait
}

func reason(err error) string {
	if err == nil {
		return "it will be tried"
	}
	return err.Error()
}

// left says how long there is until end.
func left(end, now time.Time) string {
	d := end.Sub(now)
	switch {
	case d <= 0:
		return "has ended"
	case d < 48*time.Hour:
		return "ends in " + oneline.Count(int(d.Hours()), "hour")
	}
	return "ends in " + oneline.Count(int(d.Hours()/24), "day")
}
