//go:build linux

package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxDelayed is how many packets of a line may be late at once; one more is lost.
const maxDelayed = 2000

// A weather is what a line does to the packets that go one way. Chances are from 0 to 1.
type weather struct {
	dark    bool // nothing gets through
	lose    float64
	twice   float64
	late    float64 // comes 20 ms after it should: others overtake it
	falsify float64 // a byte of what TCP carries is changed, and the checksum made to fit
}

// A packetLine carries IPv4 packets between two network devices: that of p's side
// and that of c's. What it does to them can be changed at any time.
type packetLine struct {
	// Fixed by newPacketLine.
	ends [2]*os.File // by the direction that is read from them: up is c's
	own  netip.Addr  // c's address
	all  sync.WaitGroup

	// Guarded by mu.
	mu      sync.Mutex
	rand    *rand.Rand
	weather [2]weather
	outside netip.Addr // what p sees in place of own
	lost    netip.Addr // of p; nothing gets to or from it
	delayed int
	closed  bool
}

// newPacketLine begins to carry. It ends by close.
func newPacketLine(c, p *os.File, own, outside netip.Addr, seed uint64) *packetLine {
	l := &packetLine{ends: [2]*os.File{up: c, down: p}, own: own, outside: outside, rand: rand.New(rand.NewPCG(seed, 3))}
	// Each ends with its device; close waits for them.
	l.all.Go(func() { l.carry(up, p) })
	l.all.Go(func() { l.carry(down, c) })
	return l
}

func (l *packetLine) carry(way int, to *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.ends[way].Read(buf)
		if err != nil {
			return
		}
		l.one(way, to, buf[:n])
	}
}

// one carries a packet, if it gets through.
func (l *packetLine) one(way int, to *os.File, packet []byte) {
	p, ok := parsePacket(packet)
	if !ok {
		return // IPv6 talks to itself
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.weather[way]
	if w.dark || !l.translate(way, p) || l.chance(w.lose) {
		return
	}
	if body := p.payload(); len(body) > 0 && l.chance(w.falsify) {
		body[l.rand.IntN(len(body))] ^= 1 << l.rand.IntN(8)
	}
	p.sum()
	// Devices take packets of any number of writers.
	if l.chance(w.late) {
		if l.delayed < maxDelayed && !l.closed {
			l.delayed++
			late := append([]byte(nil), packet...)
			l.all.Add(1)
			time.AfterFunc(20*time.Millisecond, func() {
				defer l.all.Done()
				to.Write(late)
				l.mu.Lock()
				l.delayed--
				l.mu.Unlock()
			})
		}
		return
	}
	to.Write(packet)
	if l.chance(w.twice) {
		to.Write(packet)
	}
}

func (l *packetLine) chance(p float64) bool { return p > 0 && l.rand.Float64() < p }

// translate gives c another address, as a router with one for many does, and reports
// whether the packet has a way.
func (l *packetLine) translate(way int, p packet) bool {
	far := 16 // where p's address is
	if way == down {
		far = 12
	}
	if l.lost.IsValid() && p.addr(far) == l.lost {
		return false
	}
	if way == up {
		p.setAddr(12, l.outside)
		return true
	}
	if p.addr(16) != l.outside {
		return false
	}
	p.setAddr(16, l.own)
	return true
}

// set changes the weather of both directions.
func (l *packetLine) set(w weather) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weather = [2]weather{w, w}
}

// rebind gives c another address on the outside: what goes to the one before is lost.
func (l *packetLine) rebind(outside netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outside = outside
}

// lose takes an address of p's away.
func (l *packetLine) lose(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = addr
}

func (l *packetLine) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for _, f := range l.ends {
		f.Close()
	}
	l.all.Wait()
}

// A packet is one of IPv4 (RFC 791) with a TCP segment (RFC 9293).
type packet struct {
	b   []byte
	tcp int // where the segment begins
}

func parsePacket(b []byte) (p packet, ok bool) {
	if len(b) < 40 || b[0]>>4 != 4 || b[9] != unix.IPPROTO_TCP || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return p, false
	}
	p = packet{b, int(b[0]&15) * 4}
	return p, p.tcp >= 20 && len(b) >= p.tcp+20
}

func (p packet) addr(at int) netip.Addr { return netip.AddrFrom4([4]byte(p.b[at:])) }

func (p packet) setAddr(at int, a netip.Addr) {
	four := a.As4()
	copy(p.b[at:], four[:])
}

// payload is what TCP carries.
func (p packet) payload() []byte {
	at := p.tcp + int(p.b[p.tcp+12]>>4)*4
	if at > len(p.b) {
		return nil
	}
	return p.b[at:]
}

// sum puts the checksums right.
func (p packet) sum() {
	binary.BigEndian.PutUint16(p.b[10:], 0)
	binary.BigEndian.PutUint16(p.b[10:], checksum(p.b[:p.tcp], 0))
	segment := p.b[p.tcp:]
	binary.BigEndian.PutUint16(segment[16:], 0)
	// The pseudo header: addresses, protocol, length.
	start := uint32(unix.IPPROTO_TCP) + uint32(len(segment))
	for at := 12; at < 20; at += 2 {
		start += uint32(binary.BigEndian.Uint16(p.b[at:]))
	}
	binary.BigEndian.PutUint16(segment[16:], checksum(segment, start))
}

// checksum is the Internet's (RFC 1071), of b after what was added up before.
func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
