package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a program that runs for one measurement.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // file of what it printed
	done chan struct{} // closed when it has ended
}

// startProcess runs a program in its own process group. What it prints goes to a
// file in dir.
func startProcess(dir, name string, stdin io.Reader, stdout io.Writer, path string, args ...string) (*process, error) {
	log, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	// Nothing of the caller's own settings is to change what is measured.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SPDY_PROXY_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, log
	if stdout == nil {
		cmd.Stdout = log
	}
	own(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, log: log.Name(), done: make(chan struct{})}
	// Ends with the process; stop waits for it.
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// grace is how long a process may take to end before it is killed.
const grace = 2 * time.Second

func (p *process) stop() {
	pid := p.cmd.Process.Pid
	signalGroup(pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
	}
	// What is left of the group: the process, or children that outlived it.
	signalGroup(pid, syscall.SIGKILL)
	<-p.done
}

// last is the end of what it printed, on one line.
func (p *process) last() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], " / ")
}

// stat is what /proc says of one process.
type stat struct {
	parent int
	cpu    time.Duration
}

// tick is the unit of times in /proc: USER_HZ, which is 100 on all of Linux.
const tick = time.Second / 100

// parseStat reads /proc/PID/stat. The name in it may hold blanks and brackets.
func parseStat(text []byte) (s stat, err error) {
	_, rest, ok := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return s, fmt.Errorf("/proc/PID/stat is %q", text)
	}
	if s.parent, err = strconv.Atoi(fields[1]); err != nil {
		return s, err
	}
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			return s, err
		}
		s.cpu += time.Duration(n) * tick
	}
	return s, nil
}

// tree returns the processes and all that descend from them.
func tree(roots []*process) (map[int]stat, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	all := map[int]stat{}
	for _, dir := range dirs {
		text, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		s, err := parseStat(text)
		if err != nil {
			return nil, err
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		all[pid] = s
	}
	found := map[int]stat{}
	for _, p := range roots {
		found[p.cmd.Process.Pid] = all[p.cmd.Process.Pid]
	}
	for grown := true; grown; {
		grown = false
		for pid, s := range all {
			_, known := found[pid]
			if _, ours := found[s.parent]; ours && !known {
				found[pid], grown = s, true
			}
		}
	}
	return found, nil
}

// cpu is the time that a side has used until now.
func cpu(side []*process) (total time.Duration, err error) {
	all, err := tree(side)
	for _, s := range all {
		total += s.cpu
	}
	return total, err
}

// peak is the most memory that a side has had resident, in bytes: VmHWM of its
// processes, added up.
func peak(side []*process) (total int64, err error) {
	all, err := tree(side)
	if err != nil {
		return 0, err
	}
	for pid := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, ok := strings.Cut(string(text), "VmHWM:")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 {
			continue // a zombie has none
		}
		kb, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += kb << 10
	}
	return total, nil
}

// tcpMemory is what the kernel uses for the buffers of all TCP connections, in
// bytes. No process has it resident.
func tcpMemory() (int64, error) {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	return parseSockstat(text)
}

func parseSockstat(text []byte) (int64, error) {
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		for i := 1; i+1 < len(fields) && fields[0] == "TCP:"; i += 2 {
			if fields[i] == "mem" {
				pages, err := strconv.ParseInt(fields[i+1], 10, 64)
				return pages * int64(os.Getpagesize()), err
			}
		}
	}
	return 0, fmt.Errorf("/proc/net/sockstat is %q", text)
}

// loadProcess is a process that does a job.
type loadProcess struct {
	*process
	job     job
	input   io.Closer
	running chan struct{} // closed when it says so
	result  chan result   // one, when there is one
}

func (b *bench) startLoad(j job) (*loadProcess, error) {
	if j.Limit == 0 {
		j.Limit = time.Minute
	}
	in, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	output, out, err := os.Pipe()
	if err != nil {
		in.Close()
		input.Close()
		return nil, err
	}
	p, err := startProcess(b.dir, "load", in, out, b.self, "load")
	in.Close()
	out.Close()
	if err != nil {
		input.Close()
		output.Close()
		return nil, err
	}
	l := &loadProcess{process: p, job: j, input: input, running: make(chan struct{}), result: make(chan result, 1)}
	// Ends with the process, which stop ends.
	go func() {
		defer output.Close()
		lines := json.NewDecoder(output)
		for {
			var r report
			if lines.Decode(&r) != nil {
				return
			}
			if r.Running {
				close(l.running)
			}
			if r.Result != nil {
				l.result <- *r.Result
			}
		}
	}()
	if err := json.NewEncoder(input).Encode(j); err != nil {
		l.end()
		return nil, err
	}
	return l, nil
}

func (l *loadProcess) end() {
	l.input.Close()
	l.stop()
}

// errStuck is that the load got no further within its time.
var errStuck = errors.New("stuck")

// wait returns the result of a job that ends by itself, or of one that finish
// has asked to.
func (l *loadProcess) wait(ctx context.Context) (result, error) {
	// The load ends by itself before this; it is for one that does not.
	late := time.NewTimer(l.job.Limit + 5*time.Second)
	defer late.Stop()
	var r result
	select {
	case r = <-l.result:
	case <-l.done:
		select {
		case r = <-l.result:
		case <-time.After(time.Second):
			return r, fmt.Errorf("the load ended without a result: %s", l.last())
		}
	case <-late.C:
		return r, fmt.Errorf("%w: the load does not end", errStuck)
	case <-ctx.Done():
		return r, ctx.Err()
	}
	switch {
	case r.WrongBody:
		return r, &wrongBody{strings.TrimPrefix(r.Error, "a wrong body: ")}
	case r.Late:
		return r, fmt.Errorf("%w: %s", errStuck, r.Error)
	case r.Error != "":
		return r, errors.New(r.Error)
	}
	return r, nil
}

// finish asks an endless job to end.
func (l *loadProcess) finish(ctx context.Context) (result, error) {
	l.input.Close()
	return l.wait(ctx)
}

// do runs a job that ends by itself.
func (b *bench) do(ctx context.Context, j job) (result, error) {
	l, err := b.startLoad(j)
	if err != nil {
		return result{}, err
	}
	defer l.end()
	return l.wait(ctx)
}
