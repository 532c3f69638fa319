//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

const (
	// insideMark is set in the environment of the program that runs in a network of its
	// own.
	insideMark = "CLUSTER_INSIDE"

	labNodes   = 3
	labOrigins = 12
	// maxWaiting is how many packets may be on their way to one device.
	maxWaiting = 4096
)

// errSkip: there is nothing to try here.
var errSkip = errors.New("skipped")

// labTrials are about the lines between nodes, each of which is in a network of its own.
// The lines to visitors and origins stay whole.
var labTrials = []trial{
	{"pair", "the line between two nodes is cut", pair, true},
	{"oneway", "what one node sends to another is lost, what comes back is not", oneway, true},
	{"parted", "a node is cut off from all others", parted, true},
	{"loss", "5 % of the packets between nodes are lost, and a round trip takes 100 ms", loss, true},
}

// A lab carries IPv4 packets between networks with a node each, and this program's own.
type lab struct {
	// Fixed by newLab.
	networks []*process.Network
	own      netip.Addr // this program's
	devices  map[netip.Addr]*device
	done     chan struct{} // closed by close
	all      sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	random *rand.Rand
	lose   float64                // of what nodes send each other
	delay  time.Duration          // of the rest of it
	cut    map[[2]netip.Addr]bool // from the first to the second one nothing gets through
}

// device is one end of the lines.
type device struct {
	*os.File
	queue chan delayed // what is for it
}

// delayed is a packet that is due at a device at a time.
type delayed struct {
	packet []byte
	due    time.Time
}

// labAddr is the address of a node, from 1 on, in its network.
func labAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(i)}) }

// newLab makes so many networks. Its error is errSkip where that is not allowed.
func newLab(nodes int) (*lab, error) {
	for _, tool := range []string{"ip", "nsenter", "cat"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: %w", errSkip, err)
		}
	}
	l := &lab{
		own: labAddr(254), devices: make(map[netip.Addr]*device), done: make(chan struct{}),
		random: rand.New(rand.NewPCG(1, 4)), cut: make(map[[2]netip.Addr]bool),
	}
	if err := l.add(l.own, nil); err != nil {
		l.close()
		return nil, err
	}
	for i := range nodes {
		n, err := process.NewNetwork()
		if err != nil {
			l.close()
			return nil, fmt.Errorf("%w: %w", errSkip, err)
		}
		l.networks = append(l.networks, n)
		if err := l.add(labAddr(i+1), n); err != nil {
			l.close()
			return nil, err
		}
	}
	for addr, d := range l.devices {
		// Both end with close, which waits for them.
		l.all.Go(func() { l.take(addr, d) })
		l.all.Go(func() { d.bring(l.done) })
	}
	return l, nil
}

// add makes the device with an address in a network, nil: this program's.
func (l *lab) add(addr netip.Addr, n *process.Network) error {
	name := fmt.Sprint("cluster", len(l.devices))
	file, err := process.OpenDevice(name)
	if err != nil {
		return fmt.Errorf("%w: %w", errSkip, err)
	}
	l.devices[addr] = &device{file, make(chan delayed, maxWaiting)}
	var inside []string
	var lines [][]string
	if n != nil {
		inside = n.Inside()
		lines = append(lines, []string{"ip", "link", "set", name, "netns", n.PID()})
	}
	lines = append(lines,
		slices.Concat(inside, []string{"ip", "link", "set", "lo", "up"}),
		slices.Concat(inside, []string{"ip", "addr", "add", addr.String() + "/24", "dev", name}),
		slices.Concat(inside, []string{"ip", "link", "set", name, "up"}))
	for _, line := range lines {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(line, " "), err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// take reads what comes from a device, and sends it on its way if it has one.
func (l *lab) take(from netip.Addr, d *device) {
	buf := make([]byte, 64<<10)
	for {
		n, err := d.Read(buf)
		if err != nil {
			return
		}
		p := buf[:n]
		if n < 20 || p[0]>>4 != 4 || int(binary.BigEndian.Uint16(p[2:])) != n {
			continue // IPv6 talks to itself
		}
		to := netip.AddrFrom4([4]byte(p[16:]))
		delay, ok := l.fate(from, to)
		if there := l.devices[to]; ok && there != nil {
			select {
			case there.queue <- delayed{slices.Clone(p), time.Now().Add(delay)}:
			default: // as a router that has no room
			}
		}
	}
}

// fate says how late a packet comes, or that it does not.
func (l *lab) fate(from, to netip.Addr) (delay time.Duration, ok bool) {
	if from == l.own || to == l.own {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delay, !l.cut[[2]netip.Addr{from, to}] && (l.lose == 0 || l.random.Float64() >= l.lose)
}

// bring writes what is for the device, in order, when it is due.
func (d *device) bring(done <-chan struct{}) {
	for {
		select {
		case p := <-d.queue:
			if late := time.Until(p.due); late > 0 {
				select {
				case <-time.After(late):
				case <-done:
					return
				}
			}
			d.Write(p.packet)
		case <-done:
			return
		}
	}
}

// cutOff has nothing get through from one address to another from now on, both ways if
// that is said.
func (l *lab) cutOff(from, to int, both bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut[[2]netip.Addr{labAddr(from), labAddr(to)}] = true
	if both {
		l.cut[[2]netip.Addr{labAddr(to), labAddr(from)}] = true
	}
}

// weather is what becomes of packets between nodes from now on.
func (l *lab) weather(lose float64, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose, l.delay = lose, delay
}

// heal has everything get through again.
func (l *lab) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.cut)
	l.lose, l.delay = 0, 0
}

func (l *lab) close() {
	close(l.done)
	for _, d := range l.devices {
		d.Close()
	}
	l.all.Wait()
	for _, n := range l.networks {
		n.Close()
	}
}

// addrs are the five ports of a node, from 0 on, and what comes before its command.
func (l *lab) addrs(i int) (addrs [5]string, wrap []string) {
	for j := range addrs {
		addrs[j] = netip.AddrPortFrom(labAddr(i+1), uint16(1443+j)).String()
	}
	return addrs, l.networks[i].Inside()
}

// sees waits until one node sees another as linked, or not, and returns how long that
// took.
func (w *world) sees(ctx context.Context, i, j int, linked bool, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	n, other := w.nodes[i-1], w.nodes[j-1]
	err := until(ctx, limit, func() error {
		list, err := n.nodes(ctx)
		if err != nil {
			return err
		}
		if got := slices.ContainsFunc(list, func(o seen) bool { return o.ID == other.id && o.Linked }); got != linked {
			return fmt.Errorf("%s sees %s as linked: %v", n.id, other.id, got)
		}
		return nil
	})
	return time.Since(began), err
}

// noticed is how long it may take until a cut is seen.
const noticed = 6 * time.Second

// healed waits until all is as before, and returns how long that took.
func (w *world) healed(ctx context.Context) (time.Duration, error) {
	w.lab.heal()
	began := time.Now()
	err := w.settled(ctx, w.sessions())
	return time.Since(began), err
}

// cutPair cuts the line from the first node to the second, or both ways.
func cutPair(ctx context.Context, w *world, both bool) (string, error) {
	pause(ctx, w.o.while(2*time.Second))
	w.lab.cutOff(1, 2, both)
	one, err := w.sees(ctx, 1, 2, false, noticed)
	if err != nil {
		return "", err
	}
	other, err := w.sees(ctx, 2, 1, false, noticed)
	if err != nil {
		return "", err
	}
	pause(ctx, w.o.while(6*time.Second))
	healed, err := w.healed(ctx)
	return fmt.Sprintf("seen after %v and %v, all as before %v after it is whole again", rounded(one), rounded(one+other), rounded(healed)), err
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func pair(ctx context.Context, w *world) (string, error)   { return cutPair(ctx, w, true) }
func oneway(ctx context.Context, w *world) (string, error) { return cutPair(ctx, w, false) }

// parted cuts the first node off. Who asks the others sees nothing of it; it goes on to
// serve the origins that are connected to it.
func parted(ctx context.Context, w *world) (string, error) {
	pause(ctx, w.o.while(2*time.Second))
	n := w.nodes[0]
	w.leaves(n)
	for i := range w.nodes[1:] {
		w.lab.cutOff(1, i+2, true)
	}
	var seen time.Duration
	for i := range w.nodes[1:] {
		took, err := w.sees(ctx, 1, i+2, false, noticed)
		if seen += took; err != nil {
			return "", err
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	own := 0
	for i := range w.o.origins {
		name := fmt.Sprint("n", i)
		if !n.ready(ctx, name) {
			continue
		}
		own++
		if err := (&visits{w: w}).ask(client, n, name, false); err != nil {
			return "", fmt.Errorf("%s, which is connected to the node that is cut off: %w", name, err)
		}
	}
	if own == 0 {
		return "", fmt.Errorf("%s has no origin of its own", n.id)
	}
	pause(ctx, w.o.while(6*time.Second))
	healed, err := w.healed(ctx)
	w.serve(n, true)
	return fmt.Sprintf("seen after %v, it served %d origins of its own, all as before %v after it is whole again", rounded(seen), own, rounded(healed)), err
}

func loss(ctx context.Context, w *world) (string, error) {
	w.lab.weather(0.05, 50*time.Millisecond)
	pause(ctx, w.o.while(15*time.Second))
	healed, err := w.healed(ctx)
	return fmt.Sprintf("all as before %v later", rounded(healed)), err
}

// tryInside makes the lab, and tries what is chosen of its trials.
func (o *options) tryInside(ctx context.Context, list []trial, dir string, out io.Writer) (failed int, err error) {
	few := *o
	few.nodes, few.origins = labNodes, min(o.origins, labOrigins)
	l, err := newLab(few.nodes)
	if errors.Is(err, errSkip) {
		fmt.Fprintf(out, "SKIP       what needs network namespaces: %v\n", err)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer l.close()
	return few.tryAll(ctx, list, l, dir, out)
}
