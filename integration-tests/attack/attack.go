package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// An attack is one thing that somebody may try.
type attack struct {
	name, about string

	// prepare says what the pair is like. Nil: p with -t, c with a folder.
	prepare func(s *site) error

	// strike is what the attacker does for as long as lasts says, in a process of
	// its own. It may be nil.
	strike strike
	lasts  time.Duration

	// during is called as soon as the attacker says that all is in place, and
	// goes on beside it; the attacker ends only after it. May be nil.
	during func(ctx context.Context, s *site)

	// after judges what the attacker counted. May be nil.
	after func(ctx context.Context, s *site, n counts)
}

func attacks() []attack {
	return slices.Concat([]attack{
		{name: "nothing", about: "nobody attacks: what the others are to be compared with", lasts: 3 * time.Second,
			strike: func(ctx context.Context, _ *target) { <-ctx.Done() }},
	}, h2Attacks(), h1Attacks(), spdyAttacks(), visitorAttacks(), controlAttacks(), originAttacks(), uploadAttacks(), logAttacks())
}

func attackNamed(name string) *attack {
	for _, a := range attacks() {
		if a.name == name {
			return &a
		}
	}
	return nil
}

// What holds in every attack.
const (
	maxWait     = time.Second      // of an innocent visitor, from the dial to the end of the body
	maxResident = 300_000_000      // bytes, of p and of c
	maxLines    = 1000             // of p's and of c's log
	maxLog      = 1_000_000        // bytes of each
	maxServing  = 15 * time.Second // after the attacker has gone, requests may go on for so long
)

// verdict is what came of an attack.
type verdict struct {
	problems []string // none: all was as it must be
	notes    []string
	skipped  string // why it was not tried
	kept     string // folder of the logs

	before, peak, after int64         // memory of p, in bytes
	peakC               int64         // of c
	cpuP, cpuC          time.Duration // while it lasted
	p50, worst          time.Duration // the innocent visitor's
}

const heading = "attack              verdict  p RSS before/peak/after  c peak   CPU p/c    innocent p50/worst  notes"

func (v *verdict) row(name string) string {
	word := "ok"
	switch {
	case len(v.problems) > 0:
		word = "FAILED"
	case v.skipped != "":
		return fmt.Sprintf("%-19s skipped: %s\n", name, v.skipped)
	}
	mb := func(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) }
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/1e6) }
	return fmt.Sprintf("%-19s %-7s  %-20s MB  %4s MB  %-8s s %8s/%-6s ms   %s\n", name, word,
		mb(v.before)+"/"+mb(v.peak)+"/"+mb(v.after), mb(v.peakC),
		fmt.Sprintf("%.1f/%.1f", v.cpuP.Seconds(), v.cpuC.Seconds()), ms(v.p50), ms(v.worst),
		strings.Join(slices.Concat(v.problems, v.notes), "; "))
}

// carryOut runs one attack, with a pair of its own.
func (o *options) carryOut(ctx context.Context, a attack) *verdict {
	ctx, cancel := context.WithTimeout(ctx, a.lasts+2*time.Minute)
	defer cancel()
	s, err := o.newSite(ctx, a)
	if err != nil {
		return &verdict{problems: []string{err.Error()}}
	}
	defer s.close()
	if s.skipped == "" {
		if err := s.attack(ctx, a); err != nil {
			s.failf("%v", err)
		}
	}
	if o.keep != "" && len(s.problems) > 0 {
		s.kept = o.keep + "/" + a.name
		os.RemoveAll(s.kept)
		if err := os.CopyFS(s.kept, os.DirFS(s.logs)); err != nil {
			s.failf("%v", err)
		}
	}
	return &s.verdict
}

// attack is what follows once the pair is there.
func (s *site) attack(ctx context.Context, a attack) error {
	if err := s.up(ctx); err != nil {
		return fmt.Errorf("the pair does not start: %w", err)
	}
	var err error
	if s.before, err = process.Resident(s.pSide()); err != nil {
		return err
	}
	cpuP, _ := process.CPU(s.pSide())
	cpuC, _ := process.CPU(s.cSide())
	watched, stop := context.WithCancel(ctx)
	watching := make(chan struct{})
	// Ends with watched; awaited below.
	go func() { defer close(watching); s.watch(watched) }()
	visitor := s.newInnocent()
	if !s.alone {
		visitor.start(ctx)
	}

	n := counts{}
	if a.strike != nil {
		n, err = s.runStrike(ctx, a)
	} else if a.during != nil {
		a.during(ctx, s)
	}

	visitor.finish(&s.verdict)
	stop()
	<-watching
	if now, e := process.CPU(s.pSide()); e == nil && now > cpuP {
		s.cpuP = now - cpuP
	}
	if now, e := process.CPU(s.cSide()); e == nil && now > cpuC {
		s.cpuC = now - cpuC
	}
	for _, name := range slices.Sorted(maps.Keys(n)) {
		s.notef("%s %d", name, n[name])
	}
	if err != nil {
		return err
	}
	if a.after != nil {
		a.after(ctx, s, n)
	}
	s.judge(ctx)
	return nil
}

// judge checks what must hold after any attack.
func (s *site) judge(ctx context.Context) {
	for _, d := range s.daemons() {
		select {
		case <-d.Done():
			s.failf("%s has ended: %s", d.Name, d.Last())
		default:
		}
		log := d.Log()
		if n := strings.Count(log, "\n"); n > max(maxLines, s.maxLines) {
			s.failf("%d lines in the log of %s", n, d.Name)
		}
		if len(log) > maxLog {
			s.failf("%d bytes in the log of %s", len(log), d.Name)
		}
		for _, word := range []string{"panic", "fatal error", "runtime error", "DATA RACE"} {
			if _, rest, ok := strings.Cut(log, word); ok {
				line, _, _ := strings.Cut(rest, "\n")
				s.failf("%s says %s%s", d.Name, word, line)
			}
		}
	}
	if s.peak > maxResident {
		s.failf("p had %d MB", s.peak/1e6)
	}
	if s.peakC > maxResident {
		s.failf("c had %d MB", s.peakC/1e6)
	}
	if s.ended("p") {
		return
	}
	if m, err := s.metrics(ctx); err != nil {
		s.failf("the admin port: %v", err)
		return
	} else if s.origins > 0 {
		if n := m.sum("spdy_proxy_sessions_started_total"); n != float64(s.origins) {
			s.failf("%.0f sessions were started, want %d", n, s.origins)
		}
	}
	if err := s.idle(ctx, maxServing); err != nil {
		s.failf("%v", err)
	}
	client := s.client(innocentAddr)
	late, cancel := context.WithTimeout(ctx, innocentPatience)
	defer cancel()
	if err := s.ask(late, client); err != nil {
		s.failf("an innocent request after the attack failed: %v", err)
	}
	s.after, _ = process.Resident(s.pSide())
}
