//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// A report is all that came of it.
type report struct {
	began  time.Time
	took   time.Duration
	trials []*trial
}

func (r *report) failed() (n int) {
	for _, t := range r.trials {
		if t.verdict != nil && len(t.verdict.problems) > 0 {
			n++
		}
	}
	return n
}

func (r *report) skipped() (n int) {
	for _, t := range r.trials {
		if t.verdict != nil && t.verdict.skipped != "" {
			n++
		}
	}
	return n
}

// sum is the requests of all runs.
func (r *report) sum() (sum [outcomes]int) {
	for _, t := range r.trials {
		if t.verdict != nil {
			for o := range sum {
				sum[o] += t.verdict.sum[o]
			}
		}
	}
	return sum
}

func (r *report) last() string {
	sum := r.sum()
	return fmt.Sprintf("%d runs, %d failed, %d skipped, in %.0f s: %d requests right, %d failed visibly, %d wrong, %d hung",
		len(r.trials), r.failed(), r.skipped(), r.took.Seconds(), sum[right], sum[visible], sum[untrue], sum[hung])
}

// tables is the whole file, in Markdown.
func (r *report) tables(ctx context.Context, o *options) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# What becomes of requests when something fails\n\n    make faults FAULTS=%s\n\n", o.set)
	fmt.Fprintf(&text, "%s. Seed %d, %d runs at once, %s.\n\n", r.last(), o.seed, o.jobs, r.began.Format("2006-01-02"))
	for _, line := range machine(ctx, o) {
		fmt.Fprintf(&text, "* %s\n", line)
	}
	text.WriteString("\n| fault | programs | right | visible | wrong | hung | back after, s | p | c | app | verdict |\n" +
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, t := range r.trials {
		text.WriteString(t.tableRow())
	}
	text.WriteString("\n## What is what\n\n")
	for _, t := range slices.CompactFunc(slices.Clone(r.trials), func(a, b *trial) bool { return a.fault.name == b.fault.name }) {
		fmt.Fprintf(&text, "* `%s`: %s.\n", t.fault.name, t.fault.about)
	}
	text.WriteString("* `released`: the programs as make builds them, visitors speak HTTP/1.1. `race`: built with -race, visitors speak h2 over TLS.\n" +
		"* right: the answer that was due, every byte compared. visible: a status of a failure, or a connection that breaks. wrong: it looked complete and was not, a byte was another,\n" +
		"  or a POST was acted on twice. hung: nothing came for " + patience.String() + ". There must be none of the last two, and no failure at all while nothing is the matter.\n" +
		"* back after: from the end of the fault to the first right answers of both origins, each asked for by a new connection.\n" +
		"* p, c, app: goroutines, descriptors, MB resident, before and after, while nothing is asked. c serves files, app is a c that serves a service.\n" +
		"* Everything runs on one machine, over loopback, and the times are those of a machine that has other runs to do.\n")
	return text.String()
}

func (t *trial) tableRow() string {
	v := t.verdict
	if v == nil {
		return ""
	}
	if v.skipped != "" {
		return fmt.Sprintf("| %s | %s | | | | | | | | | skipped: %s |\n", t.fault.name, t.variant.name, v.skipped)
	}
	word := "ok"
	if len(v.problems) > 0 {
		word = "**failed**: " + strings.ReplaceAll(strings.Join(v.problems, "; "), "|", "/")
	}
	if len(v.notes) > 0 {
		word += "; " + strings.Join(v.notes, "; ")
	}
	side := func(name string) string {
		b, a := v.before[name], v.after[name]
		return fmt.Sprintf("%s→%s, %d→%d, %d→%d", goroutines(b), goroutines(a), b.descriptors, a.descriptors, b.memory>>20, a.memory>>20)
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %.1f | %s | %s | %s | %s |\n", t.fault.name, t.variant.name,
		v.sum[right], v.sum[visible], v.sum[untrue], v.sum[hung], v.back.Seconds(), side("p"), side("c"), side("app"), word)
}

// goroutines is their number, or a dash where nobody could tell.
func goroutines(l level) string {
	if l.goroutines == 0 {
		return "-"
	}
	return fmt.Sprint(l.goroutines)
}

// machine says on what and with what it was done.
func machine(ctx context.Context, o *options) []string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return []string{
		fmt.Sprintf("Machine: %d cores, Linux %s", runtime.NumCPU(), strings.TrimSpace(string(kernel))),
		process.FirstLine(ctx, o.released.p, "--version") + ", of the tree " + process.FirstLine(ctx, "git", "describe", "--always", "--dirty", "--tags"),
	}
}
