package spdy

// scheduler picks which stream's DATA goes out next: the most urgent priority
// first (draft 3.1, 2.3.3), equal shares between the keys of one priority
// (Config.FairKey), equal shares between the streams of one key. Shares are of
// bytes: one turn lasts a frame's worth of them.
//
// A stream is in the scheduler while it has DATA to send and stream window to
// send it with; one whose window SETTINGS have closed stays until its turn.
// Guarded by Session.mu.
type scheduler struct {
	levels [8]level
	ready  int // streams in all levels
}

type level struct {
	groups groupRing
	keys   map[string]*group // those in groups
	passed int               // bytes of more urgent streams sent while this level was ready
}

// group is the streams of one priority and one key. It exists while it has any.
type group struct {
	key        string
	head, tail *Stream // linked by Stream.send.next
	next       *group
}

type groupRing struct{ head, tail *group }

func (r *groupRing) push(g *group) {
	g.next = nil
	if r.tail == nil {
		r.head = g
	} else {
		r.tail.next = g
	}
	r.tail = g
}

func (r *groupRing) pop() *group {
	g := r.head
	r.head = g.next
	if r.head == nil {
		r.tail = nil
	}
	g.next = nil
	return g
}

const (
	// turn is how many bytes a stream sends before the next one's turn.
	turn = maxData

	// starveAfter is how many bytes of more urgent streams go out before a
	// less urgent one gets a turn, so that nothing waits for ever: at most
	// some 1.5 % for each level that waits.
	starveAfter = 64 * maxData
)

// add enters st at the end of its group.
func (s *scheduler) add(st *Stream) {
	if st.send.ready {
		return
	}
	st.send.ready = true
	st.send.left = turn
	s.ready++
	l := &s.levels[st.pri&7]
	g := l.keys[st.fairKey]
	if g == nil {
		g = &group{key: st.fairKey}
		if l.keys == nil {
			l.keys = make(map[string]*group)
		}
		l.keys[st.fairKey] = g
		if l.groups.head == nil {
			l.passed = 0
		}
		l.groups.push(g)
	}
	g.push(st)
}

func (g *group) push(st *Stream) {
	st.send.next = nil
	if g.tail == nil {
		g.head = st
	} else {
		g.tail.send.next = st
	}
	g.tail = st
}

func (g *group) pop() *Stream {
	st := g.head
	g.head = st.send.next
	if g.head == nil {
		g.tail = nil
	}
	st.send.next = nil
	return st
}

// next returns the stream whose turn it is, or nil. The caller sends at most
// a frame of it and says how many bytes by sent.
func (s *scheduler) next() *Stream {
	if s.ready == 0 {
		return nil
	}
	var chosen *level
	for i := range s.levels {
		l := &s.levels[i]
		if l.groups.head == nil {
			continue
		}
		if chosen == nil || l.passed >= starveAfter {
			chosen = l
			if l.passed >= starveAfter {
				break
			}
		}
	}
	return chosen.groups.head.head
}

// sent says that n bytes of st, which next returned, went out, and whether it
// has more that it may send now.
func (s *scheduler) sent(st *Stream, n int, more bool) {
	l := &s.levels[st.pri&7]
	l.passed = 0
	for i := int(st.pri&7) + 1; i < len(s.levels); i++ {
		if s.levels[i].groups.head != nil {
			s.levels[i].passed += n
		}
	}
	g := l.groups.head
	st.send.left -= n
	if more && st.send.left > 0 {
		return
	}
	g.pop()
	if more {
		st.send.left += turn // what it overdrew is taken off its next turn
		g.push(st)
	} else {
		st.send.ready = false
		s.ready--
	}
	l.groups.pop()
	if g.head != nil {
		l.groups.push(g)
	} else {
		delete(l.keys, g.key)
	}
}

// remove takes st out, wherever it stands.
func (s *scheduler) remove(st *Stream) {
	if !st.send.ready {
		return
	}
	st.send.ready = false
	s.ready--
	l := &s.levels[st.pri&7]
	g := l.keys[st.fairKey]
	var prev *Stream
	for x := g.head; x != st; x = x.send.next {
		prev = x
	}
	if prev == nil {
		g.head = st.send.next
	} else {
		prev.send.next = st.send.next
	}
	if g.tail == st {
		g.tail = prev
	}
	st.send.next = nil
	if g.head != nil {
		return
	}
	delete(l.keys, g.key)
	var before *group
	for x := l.groups.head; x != g; x = x.next {
		before = x
	}
	if before == nil {
		l.groups.head = g.next
	} else {
		before.next = g.next
	}
	if l.groups.tail == g {
		l.groups.tail = before
	}
	g.next = nil
}
