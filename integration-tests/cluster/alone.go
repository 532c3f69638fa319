//go:build linux

package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

const (
	// aloneRounds is how often each program is started.
	aloneRounds = 5
	// aloneMore is how much more memory of its own a p may have that could be a node:
	// the tables that libraries make as they start.
	aloneMore = 2 << 20
	// aloneLate is how much longer it may take to be ready, on a machine that others use.
	aloneLate = 50 * time.Millisecond
)

// footprint is what a p has that nobody asks for anything.
type footprint struct {
	start      time.Duration // until it is ready
	goroutines int
	memory     int64 // of its own, in bytes
	ports      int   // that it listens on
}

// alone compares a p without flags of a cluster with one that was built without all that
// makes a node.
func alone(ctx context.Context, w *world) (string, error) {
	without := filepath.Join(w.o.bin, "nocluster", "p")
	if _, err := os.Stat(without); err != nil {
		return fmt.Sprintf("SKIPPED: there is no %s, make cluster-test builds it", without), nil
	}
	programs := []string{filepath.Join(w.o.bin, "p"), without}
	all := make([][]footprint, len(programs))
	for range aloneRounds {
		for i, path := range programs {
			f, err := w.measure(ctx, path)
			if err != nil {
				return "", err
			}
			all[i] = append(all[i], f)
		}
	}
	a, b := middle(all[0]), middle(all[1])
	said := fmt.Sprintf("as delivered: start %v, %d goroutines, %d KB, %d ports; built without: %v, %d, %d KB, %d", a.start.Round(time.Millisecond), a.goroutines, a.memory>>10, a.ports,
		b.start.Round(time.Millisecond), b.goroutines, b.memory>>10, b.ports)
	// The quickest start is the one that nothing else has held up.
	late := slices.MinFunc(all[0], byStart).start - slices.MinFunc(all[1], byStart).start
	if a.goroutines > b.goroutines || a.ports != b.ports || a.memory > b.memory+aloneMore || late > aloneLate {
		return said, fmt.Errorf("a p that is alone has more than one that can be nothing else: %s", said)
	}
	return said, nil
}

func byStart(a, b footprint) int { return cmp.Compare(a.start, b.start) }

// middle returns the median of each number by itself.
func middle(list []footprint) footprint {
	return footprint{
		start:      medianOf(list, func(f footprint) time.Duration { return f.start }),
		goroutines: medianOf(list, func(f footprint) int { return f.goroutines }),
		memory:     medianOf(list, func(f footprint) int64 { return f.memory }),
		ports:      medianOf(list, func(f footprint) int { return f.ports }),
	}
}

func medianOf[T any, N cmp.Ordered](list []T, get func(T) N) N {
	var values []N
	for _, v := range list {
		values = append(values, get(v))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// measure starts a p as make run does, and ends it.
func (w *world) measure(ctx context.Context, path string) (f footprint, err error) {
	var front, control, admin string
	if err := process.FreeAddrs(&front, &control, &admin); err != nil {
		return f, err
	}
	n := &node{id: "alone", path: path, dir: w.dir, admin: admin, args: []string{
		"--front", front, "--control", control, "--admin", admin,
		"--cert", filepath.Join(w.o.certs, "p.pem"), "--key", filepath.Join(w.o.certs, "p.key"), "--token-file", w.o.tokenFile(),
	}}
	began := time.Now()
	if err := n.start(); err != nil {
		return f, err
	}
	defer n.now.Stop()
	if err := process.Poll(ctx, func() error {
		if !n.ready(ctx, "") {
			return fmt.Errorf("%s is not ready: %s", path, n.now.Last())
		}
		return nil
	}); err != nil {
		return f, err
	}
	f.start = time.Since(began)
	if f.goroutines, err = n.goroutines(ctx); err != nil {
		return f, err
	}
	if f.memory, err = memoryOf(n.now.PID()); err != nil {
		return f, err
	}
	f.ports, err = portsOf(n.now.PID())
	return f, err
}

// goroutines returns what its admin port says.
func (n *node) goroutines(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+"/debug", nil)
	if err != nil {
		return 0, err
	}
	resp, err := asks.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	_, number, _ := strings.Cut(string(text), "goroutines:")
	number, _, _ = strings.Cut(strings.TrimSpace(number), "\n")
	return strconv.Atoi(number)
}

// memoryOf returns a process's memory that is nobody else's, nor its file's.
func memoryOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, number, _ := strings.Cut(string(text), "RssAnon:")
	number, _, _ = strings.Cut(strings.TrimSpace(number), " ")
	kb, err := strconv.ParseInt(number, 10, 64)
	return kb << 10, err
}

// portsOf returns on how many TCP ports a process listens.
func portsOf(pid int) (int, error) {
	listens := make(map[string]bool) // by inode
	for _, name := range []string{"tcp", "tcp6"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil {
			return 0, err
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			// sl, local, remote, state, queues, timer, retransmits, uid, timeout, inode
			if f := strings.Fields(lines.Text()); len(f) > 9 && f[3] == "0A" {
				listens[f[9]] = true
			}
		}
		file.Close()
		if err := lines.Err(); err != nil {
			return 0, err
		}
	}
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, fd := range open {
		target, _ := os.Readlink(fd) // "" if it was closed meanwhile
		inode, socket := strings.CutPrefix(target, "socket:[")
		if socket && listens[strings.TrimSuffix(inode, "]")] {
			n++
		}
	}
	return n, nil
}
