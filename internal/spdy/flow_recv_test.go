package spdy

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestSendWindow(t *testing.T) {
	for _, test := range []struct {
		what  string
		start sendWindow
		add   int64
		want  sendWindow
		ok    bool
	}{
		{"credit", 65536, 1000, 66536, true},
		{"2.6.8: 64 - 60 KB left, 7 lowered from 64 to 16 KB", (64 - 60) << 10, (16 - 64) << 10, -44 << 10, true},
		{"credit for a window below 0", -44 << 10, 44 << 10, 0, true},
		{"the largest window", 65536, maxWindow - 65536, maxWindow, true},
		{"one more than that", 65536, maxWindow - 65535, 65536, false},
		{"the largest credit twice", maxWindow, maxWindow, maxWindow, false},
		{"a window of 0 to the largest", 0, maxWindow, maxWindow, true},
	} {
		w := test.start
		if ok := w.add(test.add); ok != test.ok || w != test.want {
			t.Errorf("%s: %d + %d: got %d, %v, want %d, %v", test.what, test.start, test.add, w, ok, test.want, test.ok)
		}
	}
}

func TestRecvWindow(t *testing.T) {
	w := recvWindow{size: 65536, avail: 65536}
	type step struct {
		what       string
		take, read int64
		ok         bool  // of take
		delta      int64 // of update
	}
	for _, s := range []step{
		{"within the window", 40000, 0, true, 0},
		{"up to its end", 25536, 0, true, 0},
		{"one byte too many", 1, 0, false, 0},
		{"nothing, in a full window", 0, 0, true, 0},
		{"less than half was read", 0, 32767, true, 0},
		{"half of it was read", 0, 1, true, 32768},
		{"what was given back", 32768, 0, true, 0},
		{"and no more", 1, 0, false, 0},
		{"the rest, at once", 0, 65536, true, 65536},
	} {
		if ok := w.take(s.take); ok != s.ok {
			t.Errorf("%s: take of %d: got %v, want %v", s.what, s.take, ok, s.ok)
		}
		if delta := w.update(s.read); delta != s.delta {
			t.Errorf("%s: update of %d: got credit %d, want %d", s.what, s.read, delta, s.delta)
		}
	}
	if delta := w.grow(1 << 20); delta != 1<<20-65536 || w.avail != 1<<20 {
		t.Errorf("grow to 1 MiB: got credit %d, available %d, want %d, %d", delta, w.avail, 1<<20-65536, 1<<20)
	}
}

// Whatever is received and read, the peer has never more credit than the
// window's size, and gets all of it back but what is still awaited.
func TestRecvWindowBooks(t *testing.T) {
	for _, size := range []int64{65536, 100000, 1 << 20, 16 << 20} {
		w := recvWindow{size: size, avail: size}
		unread, x := int64(0), uint64(1)
		for i := range 100000 {
			x = x*6364136223846793005 + 1442695040888963407
			n := int64(x>>33) % (size / 3)
			if x>>62 != 0 {
				n = min(n, w.avail)
				if !w.take(n) {
					t.Fatalf("window of %d, step %d: %d bytes of %d were refused", size, i, n, w.avail)
				}
				unread += n
			} else {
				n = min(n, unread)
				unread -= n
				w.update(n)
			}
			if w.avail < 0 || w.avail+unread+w.credit != size || w.credit >= w.enough() {
				t.Fatalf("window of %d, step %d: available %d, unread %d, credit %d", size, i, w.avail, unread, w.credit)
			}
		}
	}
}

func TestGrower(t *testing.T) {
	const rtt = 50 * time.Millisecond
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		what  string
		delta int64
		since time.Duration
		rtt   time.Duration
		want  int64
	}{
		{"the whole window twice a round trip", 65536, rtt / 2, rtt, 4},
		{"half the window in a round trip less a bit", 32768, rtt * 9 / 10, rtt, 2},
		{"half the window in a round trip and more", 32768, rtt * 11 / 10, rtt, 1},
		{"a reader of an eighth of the window in a round trip", 32768, 4 * rtt, rtt, 1},
		{"no round trip measured", 65536, time.Nanosecond, 0, 1},
		{"the whole window ten times a round trip", 65536, rtt / 10, rtt, 16},
		{"no time at all", 32768, 0, rtt, 16},
		{"a short line, within a round trip", 65536, time.Millisecond - 1, time.Millisecond, 1},
		{"a short line, the whole window in a round trip", 65536, time.Millisecond, time.Millisecond, 2},
		{"a short line, twice the window in a round trip", 131072, time.Millisecond, time.Millisecond, 2},
	} {
		g := grower{last: start, total: provenTotal}
		if got := g.resize(start.Add(test.since), test.delta, 65536, test.rtt); got != test.want*65536 {
			t.Errorf("%s: got %d, want %d windows", test.what, got, test.want)
		}
	}
}

// A reader that has become slow needs no large window.
func TestGrowerShrinks(t *testing.T) {
	for _, rtt := range []time.Duration{time.Millisecond, 50 * time.Millisecond} {
		start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		g := grower{last: start, total: provenTotal}
		if got := g.resize(start.Add(rtt*3/2), 1<<17, 1<<20, rtt); got != 1<<20 {
			t.Errorf("round trip of %v, more than a sixteenth of the window in each: got %d, want no change", rtt, got)
		}
		g = grower{last: start, total: provenTotal}
		if got := g.resize(start.Add(200*rtt), 1<<17, 1<<20, rtt); got != 1<<19 {
			t.Errorf("round trip of %v, an eighth of the window in 200 of them: got %d, want half of it", rtt, got)
		}
	}
	// A whole window at once in each round trip is what a window that is too
	// small looks like, though nothing comes for the rest of it.
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	g := grower{last: start, total: provenTotal}
	for trip := range 100 {
		for piece := range 32 {
			if got := g.resize(start.Add(time.Duration(trip)*50*time.Millisecond), 1<<18, 8<<20, 50*time.Millisecond); got < 8<<20 {
				t.Fatalf("a window at once, round trip %d, piece %d of 32: got %d, want no less than the window", trip, piece, got)
			}
		}
	}
	w := recvWindow{size: 1 << 20, avail: 1 << 20}
	w.take(1 << 20)
	w.shrink(1 << 19)
	if d := w.update(1 << 19); d != 0 {
		t.Errorf("what the window was lowered by: got credit of %d bytes for it, want none", d)
	}
	if d := w.update(1 << 18); d != 1<<18 || w.avail != 1<<18 || w.size != 1<<19 {
		t.Errorf("after that: got credit %d, available %d of %d, want %d, %d of %d", d, w.avail, w.size, 1<<18, 1<<18, 1<<19)
	}
}

// The first bytes of a download go into the buffers of sockets, however slow
// its reader is.
func TestGrowerWaitsOnShortLine(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	g := grower{last: start}
	for n := int64(32 << 10); n < provenTotal; n += 32 << 10 {
		if got := g.resize(start.Add(2*time.Millisecond), 32<<10, 65536, time.Millisecond); got != 65536 {
			t.Fatalf("after %d bytes: got %d, want 65536", n, got)
		}
	}
	if got := g.resize(start.Add(2*time.Millisecond), 32<<10, 65536, time.Millisecond); got != 131072 {
		t.Errorf("after %d bytes: got %d, want 131072", provenTotal, got)
	}
}

// On a short line a large window does not grow for a reader that was held up and
// then read fast what had come meanwhile, but for one that is fast all the time.
func TestGrowerShortLine(t *testing.T) {
	const size, rtt = largeWindow, time.Millisecond
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	g := grower{last: now, total: provenTotal}
	judge := func(delta int64) int64 {
		now = now.Add(rtt)
		return g.resize(now, delta, size, rtt)
	}
	for i := range manyTrips - 1 {
		if got := judge(size / 4); got != size {
			t.Errorf("a quarter of the window a round trip, the %dth: got %d, want %d", i, got, size)
		}
	}
	if got := judge(2 * size); got != size {
		t.Errorf("two windows at once after that: got %d, want %d", got, size)
	}
	for range manyTrips - 1 {
		if got := judge(size * 3 / 4); got != size {
			t.Errorf("before so many round trips: got %d, want %d", got, size)
		}
	}
	if got := judge(size * 3 / 4); got != 2*size {
		t.Errorf("three quarters of the window in each round trip: got %d, want %d", got, 2*size)
	}
}

// A window that one pause has made smaller does not get smaller and smaller while
// its reader is fast again, though what it was lowered by is not given back.
// Until that was read, it counts in what all streams may hold.
func TestShrinkAfterPause(t *testing.T) { synctest.Test(t, testShrinkAfterPause) }

func testShrinkAfterPause(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	s := newSession(near, nil, nil)
	s.ping.least, s.ping.at = 50*time.Millisecond, time.Now()
	st := s.newStream()
	s.enterLocked(st, 1)
	st.recv.grow.last = time.Now()
	read := func(n int) { // all that may come has come, and n bytes of it are read
		t.Helper()
		s.update(st, n)
		st.recv.window.take(int64(n))
		if held, most := st.recv.window.size-min(st.recv.window.credit, 0)-defaultWindow, s.receive.budget.total; held != most {
			t.Fatalf("window of %d: the peer can make us hold %d bytes above the first window, %d are counted", st.recv.window.size, held, most)
		}
		<-time.After(time.Millisecond)
	}
	for range 200 {
		read(256 << 10) // 12.5 MiB in a round trip
	}
	if st.recv.window.size != defaultMaxStreamWindow {
		t.Fatalf("a fast reader: got a window of %d, want %d", st.recv.window.size, defaultMaxStreamWindow)
	}
	<-time.After(10 * time.Second)
	for range 200 {
		read(256 << 10)
		if st.recv.window.size < defaultMaxStreamWindow/2 {
			t.Fatalf("after one pause: got a window of %d, want %d at least", st.recv.window.size, defaultMaxStreamWindow/2)
		}
	}
	if st.recv.window.size != defaultMaxStreamWindow {
		t.Errorf("fast again: got a window of %d, want %d", st.recv.window.size, defaultMaxStreamWindow)
	}
	<-time.After(10 * time.Second)
	read(1 << 20)
	if st.recv.window.credit >= 0 {
		t.Fatalf("a second pause: got credit of %d, want a debt", st.recv.window.credit)
	}
	s.mu.Lock()
	s.removeLocked(st, nil)
	s.mu.Unlock()
	st.bodyEnded()
	if s.receive.budget.total != 0 {
		t.Errorf("without a stream: %d bytes are counted, want 0", s.receive.budget.total)
	}
	s.Close()
}

// However many keys take what they can, the first finds three eighths and each
// after it a quarter of what the others leave, and nothing is counted when all have ended.
func TestWindowBudget(t *testing.T) {
	const most = 64 << 20
	b := windowBudget{most: most, byKey: make(map[string]int64)}
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	left := int64(most)
	for _, key := range keys {
		for range 100 { // streams
			if n := b.room(key, true); n > 0 {
				b.add(key, n)
			}
		}
		want := left / 4
		if key == "a" {
			want = most * 3 / 8
		}
		if got := b.byKey[key]; got > want || got < want-1 {
			t.Errorf("key %s: got %d bytes, want %d of %d", key, got, want, left)
		}
		left -= b.byKey[key]
	}
	if got := b.room("a", true); got > 0 {
		t.Errorf("the first key has room for %d bytes more, want none: others have come", got)
	}
	if got := b.room("new", false); got > 0 {
		t.Errorf("an unproven reader gets %d bytes, want none: more than a quarter is in use", got)
	}
	for _, key := range keys {
		b.add(key, -b.byKey[key])
	}
	if b.total != 0 || len(b.byKey) != 0 {
		t.Errorf("in the end: got %d bytes, %v, want none", b.total, b.byKey)
	}
}

// A peer that opens wide windows and reads nothing makes each small response hold
// one small piece of memory, not a large one.
func TestSmallBodiesHoldSmallChunks(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	s := newSession(near, nil, nil)
	defer s.Close()
	s.send.initial = 1 << 20
	held := func(st *Stream) (n int) {
		for c := st.send.list.head; c != nil; c = c.next {
			n += len(c.b)
		}
		return n
	}
	for _, test := range []struct{ size, most int }{
		{1, smallChunk},
		{smallChunk - frameHeaderLen, smallChunk},
		{smallChunk, smallChunk + largeChunk},
		{100 << 10, smallChunk + 2*largeChunk},
	} {
		st := s.newStream()
		s.enterLocked(st, s.admission.nextID)
		s.admission.nextID += 2
		if _, err := st.writeAll(make([]byte, test.size), false); err != nil {
			t.Fatal(err)
		}
		if n := held(st); n > test.most {
			t.Errorf("%d bytes to be sent hold %d bytes, want %d at most", test.size, n, test.most)
		}
	}
}
