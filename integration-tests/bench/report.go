package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// A target is what the pair is to reach: a figure as a ratio to another's in the
// same run.
type target struct {
	workload string
	figure   int
	against  string
	ratio    float64 // at least, or where less is better at most
}

func targets() []target {
	return []target{
		{"small", 0, h2, 2.2},
		{"small", 1, h2, 0.45},
		{"bulk1", 0, h2, 1.6},
		{"bulk1", 0, hop, 0.9},
		{"bulk1", 1, h2, 0.75},
		{"bulk4", 0, h2, 1.3},
		{"beside", 0, h2, 0.5},
		{"slow", 0, h2, 0.12},
		{"slow", 1, h2, 0.1},
		{"rtt", 0, h2, 3},
		{"upload", 0, h2, 1.4},
	}
}

// number writes a figure with three digits that count, or all before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case a >= 1000:
		return thousands(int64(math.Round(v)))
	case a >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// quotient writes a ratio with two digits that count, or two behind the point.
func quotient(r float64) string {
	if r < 0.095 {
		return fmt.Sprintf("%.2g", r)
	}
	return fmt.Sprintf("%.2f", r)
}

// table writes rows in Markdown, the first of them as the head.
func table(rows [][]string) string {
	var text strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&text, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&text, "|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
	return text.String()
}

// rounds are one figure of the pair divided by a yardstick's, of each round that has
// both: neighbours in time, of a machine that may become slower in another round.
func (o *outcome) rounds(workload string, figure int, against string) (ratios []float64) {
	own, other := o.cells[workload][pair], o.cells[workload][against]
	if own == nil || other == nil {
		return nil
	}
	for i := range min(len(own.samples), len(other.samples)) {
		if a, b := own.samples[i], other.samples[i]; a != nil && b != nil {
			ratios = append(ratios, a[figure]/b[figure])
		}
	}
	return ratios
}

// ratio is the median of rounds; NaN without any.
func (o *outcome) ratio(workload string, figure int, against string) float64 {
	return median(o.rounds(workload, figure, against))
}

// figures writes a table of medians, those of either kind, with ratios or not.
func (o *outcome) figures(more bool) string {
	head := []string{""}
	for _, y := range o.yardsticks {
		head = append(head, y.name)
	}
	rows := [][]string{head}
	for _, w := range o.workloads {
		for i, f := range w.figures {
			if f.more != more {
				continue
			}
			row := []string{f.title}
			if more {
				row[0] = w.name + ": " + f.title
			}
			if f.unit != "" {
				row[0] += ", " + f.unit
			}
			for _, y := range o.yardsticks {
				row = append(row, o.text(w, i, y, !more))
			}
			rows = append(rows, row)
		}
	}
	return table(rows)
}

func (o *outcome) text(w workload, i int, y yardstick, ratio bool) string {
	if o.missing[y.name] != "" {
		return "not here"
	}
	c := o.cells[w.name][y.name]
	m := c.medians()
	if m == nil {
		return "failed"
	}
	text := number(m[i])
	if r := o.ratio(w.name, i, y.name); ratio && y.name != pair && !math.IsNaN(r) && !math.IsInf(r, 0) {
		text += " (" + quotient(r) + ")"
	}
	if len(c.failed) > 0 {
		text += " !"
	}
	return text
}

// reached writes the table of targets.
func (o *outcome) reached() string {
	rows := [][]string{{"workload", "figure", "against", "target", "reached", "in the rounds", ""}}
	for _, t := range targets() {
		for _, w := range o.workloads {
			if w.name != t.workload {
				continue
			}
			f := w.figures[t.figure]
			all := o.rounds(w.name, t.figure, t.against)
			bound, r, yes, rounds := "at least", median(all), "no", ""
			if f.less {
				bound = "at most"
			}
			got := "-"
			if !math.IsNaN(r) {
				got = quotient(r)
				rounds = quotient(slices.Min(all)) + " to " + quotient(slices.Max(all))
				if f.less && r <= t.ratio || !f.less && r >= t.ratio {
					yes = "yes"
				}
			} else {
				yes = "not measured"
			}
			// A p99 counts only if there was an answer to each.
			if w.name == "slow" && t.figure == 1 {
				if m := o.cells[w.name][pair].medians(); m != nil && m[2] > 0 {
					yes = "no: not all were answered"
				}
			}
			rows = append(rows, []string{w.name, f.title, t.against, fmt.Sprintf("%s %v", bound, t.ratio), got, rounds, yes})
		}
	}
	return table(rows)
}

// tables is the whole file.
func (b *bench) tables(ctx context.Context, o *outcome) string {
	var text strings.Builder
	text.WriteString("# p and c beside other ways to do the same\n\n")
	text.WriteString("    make bench\n\n")
	if b.opts.quick {
		text.WriteString("**A run with --quick: small sizes, not to be quoted.**\n\n")
	}
	rounds := fmt.Sprintf("%d rounds, in which the yardsticks took turns", b.opts.rounds)
	if b.opts.rounds == 1 {
		rounds = "one round"
	}
	fmt.Fprintf(&text, "Medians of %s; in brackets, pair divided by it, the median of what that is in each round. Everything, the load included, ran on one machine, over loopback: only ratios within one run count.\n", rounds)
	fmt.Fprintf(&text, "Every body was compared with what was sent. %s, in %v.\n\n", o.began.Format("2006-01-02"), o.took.Round(time.Second))
	for _, line := range b.versions(ctx, o) {
		fmt.Fprintf(&text, "* %s\n", line)
	}
	fmt.Fprintf(&text, "\n%s\n## Targets\n\n%s\n## Behind the figures\n\n%s\n## What is what\n\n", o.figures(false), o.reached(), o.figures(true))
	for _, y := range o.yardsticks {
		fmt.Fprintf(&text, "* `%s`: %s", y.name, y.about)
		if why := o.missing[y.name]; why != "" {
			fmt.Fprintf(&text, ". **Not measured: there is no %s here**", why)
		}
		text.WriteString(".\n")
	}
	text.WriteString("* CPU is user and system time of both sides' processes, the load's apart. The public side is what visitors reach, the origin is what has the files.\n" +
		"* Memory is the sum of each process's peak (VmHWM). A MB is 1 000 000 bytes. The kernel's memory for TCP is that of all connections of the machine, the load's ends too; at its limit (net.ipv4.tcp_mem) they all stand still now and then.\n" +
		"* A GET in a p99 counts from when it was due to the last byte of its body; one without an answer as the time it was waited for.\n" +
		"* The 50 ms are made by a relay that passes every byte on 25 ms later, with no limit to what is under way. In a tunnel it stands between origin and proxy, else between front and origin.\n")
	for _, w := range o.workloads {
		for _, y := range o.yardsticks {
			for _, why := range o.cells[w.name][y.name].failed {
				fmt.Fprintf(&text, "* A round of %s failed on %s: %s\n", w.name, y.name, strings.ReplaceAll(why, "\n", " "))
			}
		}
	}
	return text.String()
}

// versions says on what and with what the figures were made.
func (b *bench) versions(ctx context.Context, o *outcome) []string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	lines := []string{
		fmt.Sprintf("Machine: %s, %d cores, %s of memory, Linux %s", fromFile("/proc/cpuinfo", "model name"), runtime.NumCPU(),
			memory(fromFile("/proc/meminfo", "MemTotal")), strings.TrimSpace(string(kernel))),
		process.FirstLine(ctx, filepath.Join(b.opts.bin, "p"), "--version") + ", of the tree " + process.FirstLine(ctx, "git", "describe", "--always", "--dirty", "--tags"),
		strings.Replace(runtime.Version(), "go", "Go ", 1),
	}
	for _, y := range o.yardsticks {
		switch {
		case o.missing[y.name] != "":
		case y.name == ngx:
			lines = append(lines, strings.TrimPrefix(process.FirstLine(ctx, find("nginx"), "-v"), "nginx version: "))
		case y.name == ssh:
			lines = append(lines, process.FirstLine(ctx, find("ssh"), "-V"))
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "golang.org/x/net" {
				lines = append(lines, m.Path+" "+m.Version)
			}
		}
	}
	return lines
}

// fromFile returns the value of the first "KEY : VALUE" line.
func fromFile(file, key string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown " + key
}

// memory writes what /proc/meminfo says in kB.
func memory(text string) string {
	var kb float64
	if _, err := fmt.Sscanf(text, "%f kB", &kb); err != nil {
		return text
	}
	return fmt.Sprintf("%.0f GiB", kb/(1<<20))
}
