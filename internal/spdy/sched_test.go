package spdy

import (
	"fmt"
	"testing"
)

// schedule lets the scheduler send total bytes of streams that never run dry,
// frame bytes at a time, and returns how many each got.
func schedule(s *scheduler, total int, frame func(st *Stream) int) map[*Stream]int {
	got := make(map[*Stream]int)
	for sent := 0; sent < total; {
		st := s.next()
		n := frame(st)
		got[st] += n
		sent += n
		s.sent(st, n, true)
	}
	return got
}

func wholeFrames(*Stream) int { return maxData }

func stream(pri uint8, key string) *Stream { return &Stream{pri: pri, fairKey: key} }

func wantShare(t *testing.T, what string, got, want int) {
	t.Helper()
	if 10*got < 9*want || 10*got > 11*want {
		t.Errorf("%s: got %d bytes, want %d within 10 %%", what, got, want)
	}
}

func TestSchedulerEqualShares(t *testing.T) {
	for name, frame := range map[string]func(*Stream) int{
		"whole frames":   wholeFrames,
		"small frames":   func(*Stream) int { return 100 },
		"unequal frames": func(st *Stream) int { return 500 + 5000*int(st.id) },
	} {
		s := new(scheduler)
		var all []*Stream
		for i := range 3 {
			st := stream(3, "")
			st.id = uint32(i)
			all = append(all, st)
			s.add(st)
			s.add(st) // once is enough
		}
		got := schedule(s, 300*maxData, frame)
		for i, st := range all {
			wantShare(t, fmt.Sprint(name, ", stream ", i), got[st], 100*maxData)
		}
	}
}

func TestSchedulerMoreUrgentFirst(t *testing.T) {
	s := new(scheduler)
	var all [8]*Stream
	for pri := 7; pri >= 0; pri-- {
		all[pri] = stream(uint8(pri), "")
		s.add(all[pri])
	}
	for pri := range 8 {
		for range 5 { // far from what starves the others
			if st := s.next(); st != all[pri] {
				t.Fatalf("got a stream of priority %d, want %d", st.pri, pri)
			}
			s.sent(all[pri], maxData, true)
		}
		s.remove(all[pri])
	}
	if st := s.next(); st != nil || s.ready != 0 {
		t.Errorf("got %v and %d ready, want none", st, s.ready)
	}
}

// A less urgent stream gets something, but next to nothing.
func TestSchedulerNothingStarves(t *testing.T) {
	s := new(scheduler)
	high, low, lowest := stream(0, ""), stream(3, ""), stream(7, "")
	for _, st := range []*Stream{low, lowest, high} {
		s.add(st)
	}
	const total = 3000 * maxData
	got := schedule(s, total, wholeFrames)
	for _, st := range []*Stream{low, lowest} {
		if got[st] == 0 {
			t.Errorf("priority %d: got nothing", st.pri)
		}
		if got[st] > total/50 {
			t.Errorf("priority %d: got %d of %d bytes, want 2 %% at most", st.pri, got[st], total)
		}
	}
}

// One key's many streams get no more together than another's one.
func TestSchedulerFairKeys(t *testing.T) {
	s := new(scheduler)
	lone := stream(3, "lone")
	s.add(lone)
	var many []*Stream
	for range 9 {
		st := stream(3, "many")
		many = append(many, st)
		s.add(st)
	}
	got := schedule(s, 180*maxData, wholeFrames)
	wantShare(t, "the stream of its own key", got[lone], 90*maxData)
	for _, st := range many {
		wantShare(t, "one of nine streams of a key", got[st], 10*maxData)
	}
}

// A stream that comes back has no claim to what it missed, and one that goes
// takes nothing of the others' turns with it.
func TestSchedulerComeAndGo(t *testing.T) {
	s := new(scheduler)
	a, b := stream(3, ""), stream(3, "")
	s.add(a)
	schedule(s, 100*maxData, wholeFrames)
	s.add(b)
	got := schedule(s, 100*maxData, wholeFrames)
	wantShare(t, "the stream that came later", got[b], 50*maxData)
	st := s.next()
	s.sent(st, maxData, false)
	if st.send.ready || s.ready != 1 || s.next() == st {
		t.Errorf("a stream without more DATA is still scheduled")
	}
}

// Any order of add, sent and remove keeps the scheduler's books.
func TestSchedulerBooks(t *testing.T) {
	for seed := range uint64(200) {
		s, x := new(scheduler), seed
		random := func(n int) int {
			x = x*6364136223846793005 + 1442695040888963407
			return int(x>>33) % n
		}
		var all []*Stream
		for range 12 {
			all = append(all, stream(uint8(random(3)), string(rune('a'+random(3)))))
		}
		ready := make(map[*Stream]bool)
		for range 500 {
			switch st := all[random(len(all))]; random(3) {
			case 0:
				s.add(st)
				ready[st] = true
			case 1:
				s.remove(st)
				delete(ready, st)
			case 2:
				if st = s.next(); st == nil {
					break
				}
				more := random(2) == 0
				s.sent(st, 1+random(maxData), more)
				if !more {
					delete(ready, st)
				}
			}
			if s.ready != len(ready) {
				t.Fatalf("seed %d: got %d ready, want %d", seed, s.ready, len(ready))
			}
			if st := s.next(); (st != nil) != (len(ready) > 0) || st != nil && !ready[st] {
				t.Fatalf("seed %d: got %v next, want one of %d", seed, st, len(ready))
			}
		}
		// All of them come to their turn.
		for len(ready) > 0 {
			st := s.next()
			if !ready[st] {
				t.Fatalf("seed %d: a stream came twice, or was removed", seed)
			}
			s.sent(st, 1, false)
			delete(ready, st)
		}
	}
}
