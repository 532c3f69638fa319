//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// packetFaults are about packets on a line of their own between the network of p and
// that of c, which are two namespaces.
func packetFaults() []fault {
	under := func(d time.Duration, w weather) func(context.Context, *lab) error {
		return func(ctx context.Context, l *lab) error {
			l.packets.set(w)
			defer l.packets.set(weather{})
			return pause(ctx, d)
		}
	}
	list := []fault{
		{name: "packet-loss", about: "3 packets of 100 are lost, each way", lasts: 6 * time.Second, spared: everything, inflict: under(6*time.Second, weather{lose: .03})},
		{name: "packet-order", about: "one packet in 10 is late by 20 ms, and the others overtake it", lasts: 6 * time.Second, spared: everything, inflict: under(6*time.Second, weather{late: .1})},
		{name: "packet-twice", about: "one packet in 5 comes twice", lasts: 6 * time.Second, spared: everything, inflict: under(6*time.Second, weather{twice: .2})},
		{name: "packet-false", about: "of one packet in 100 a bit is changed, with checksums that fit: TLS must notice", lasts: 6 * time.Second, inflict: under(6*time.Second, weather{falsify: .01})},
		{name: "blackhole", about: "no packet gets through for 20 s", lasts: 20 * time.Second, inflict: under(20*time.Second, weather{dark: true})},
		{name: "nat-rebind", about: "the router before c gives it another address on the outside, three times; what goes to the one before is lost", lasts: 12 * time.Second, spared: held, inflict: rebind},
		{name: "p-moves", about: "p's name leads to another address, and nothing gets to the one before", lasts: 10 * time.Second, spared: held, inflict: move},
	}
	for i := range list {
		list[i].slow, list[i].inside, list[i].prepare = true, true, packetLab
	}
	return list
}

func rebind(ctx context.Context, l *lab) error {
	for i := range 3 {
		l.packets.rebind(l.net.host(101 + i))
		if err := pause(ctx, 4*time.Second); err != nil {
			return err
		}
	}
	return nil
}

func move(_ context.Context, l *lab) error {
	l.packets.lose(l.net.host(1))
	return l.options.hosts.set(l.net.name, l.net.host(9))
}

// A network is the numbers of one lab's.
type network struct {
	n    int
	name string // of p
}

// host is an address in it: 1 and 9 are p's, 2 is c's own, and from 100 on are c's on the outside.
func (n network) host(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, byte(n.n), byte(i)}) }

// packetLab puts both Cs in a network of their own, and a packetLine between.
func packetLab(l *lab) error {
	o := l.options
	if !o.inside {
		return fmt.Errorf("%w: namespaces are not allowed", errSkip)
	}
	for _, tool := range []string{"ip", "nsenter", "cat"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: %w", errSkip, err)
		}
	}
	l.net = network{n: o.hosts.number()}
	l.net.name = fmt.Sprintf("p%d.lab.test", l.net.n)
	inside, err := process.NewNetwork()
	if err != nil {
		return fmt.Errorf("%w: %w", errSkip, err)
	}
	l.cleanups = append(l.cleanups, inside.Close)
	theirs := inside.Inside()
	mine := func(side string) string { return fmt.Sprintf("faults-%s%d", side, l.net.n) }
	c, err := process.OpenDevice(mine("c"))
	if err != nil {
		return fmt.Errorf("%w: %w", errSkip, err)
	}
	p, err := process.OpenDevice(mine("p"))
	if err != nil {
		c.Close()
		return err
	}
	l.packets = newPacketLine(c, p, l.net.host(2), l.net.host(100), l.seed)
	l.cleanups = append(l.cleanups, l.packets.close)
	for _, line := range [][]string{
		{"ip", "link", "set", mine("c"), "netns", inside.PID()},
		slices.Concat(theirs, []string{"ip", "link", "set", "lo", "up"}),
		slices.Concat(theirs, []string{"ip", "addr", "add", l.net.host(2).String() + "/24", "dev", mine("c")}),
		slices.Concat(theirs, []string{"ip", "link", "set", mine("c"), "up"}),
		{"ip", "addr", "add", l.net.host(1).String() + "/24", "dev", mine("p")},
		{"ip", "addr", "add", l.net.host(9).String() + "/24", "dev", mine("p")},
		{"ip", "link", "set", mine("p"), "up"},
	} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(line, " "), err, oneLine(out))
		}
	}
	if err := o.hosts.set(l.net.name, l.net.host(1)); err != nil {
		return err
	}
	// A socket in the file system is the same in every network.
	l.service.close()
	ln, err := net.Listen("unix", filepath.Join(l.dir, "service"))
	if err != nil {
		return err
	}
	l.service = newService(l.tally, ln)
	_, port, _ := net.SplitHostPort(l.control)
	l.p.setFlag("--control", "0.0.0.0:"+port)
	l.app.setFlag("--to", "unix:"+ln.Addr().String())
	for _, d := range l.cs() {
		d.wrap = theirs
		d.setFlag("--proxy", l.net.name+":"+port)
		d.args = append(d.args, "--server-name", serverName)
	}
	return nil
}

// setFlag changes the value of a flag that is there.
func (d *daemon) setFlag(name, value string) { d.args[slices.Index(d.args, name)+1] = value }

// hosts is this program's own /etc/hosts, and counts the networks of its labs.
type hosts struct {
	file string // fixed

	// Guarded by mu.
	mu    sync.Mutex
	names map[string]netip.Addr
	last  int
}

func (h *hosts) number() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	return h.last
}

// set has a name lead to an address.
func (h *hosts) set(name string, addr netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[name] = addr
	text := "127.0.0.1 localhost\n"
	for n, a := range h.names {
		text += a.String() + " " + n + "\n"
	}
	// In place: the file is mounted.
	return os.WriteFile(h.file, []byte(text), 0o644)
}

// insideMark is set in the environment of the program that runs in namespaces.
const insideMark = "FAULTS_INSIDE"

// furnish makes the namespaces that process.Enter has begun fit to be used.
func (o *options) furnish() (close func(), err error) {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("ip link set lo up: %w: %s", err, oneLine(out))
	}
	// What is mounted here is not to be seen outside.
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("mounts of its own: %w", err)
	}
	dir, err := os.MkdirTemp("", "spdy-proxy-faults-")
	if err != nil {
		return nil, err
	}
	o.hosts = &hosts{file: filepath.Join(dir, "hosts"), names: map[string]netip.Addr{}}
	if err = o.hosts.set("faults", netip.AddrFrom4([4]byte{127, 0, 0, 1})); err == nil {
		err = unix.Mount(o.hosts.file, "/etc/hosts", "", unix.MS_BIND, "")
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("an /etc/hosts of its own: %w", err)
	}
	o.inside = true
	return func() { os.RemoveAll(dir) }, nil
}
