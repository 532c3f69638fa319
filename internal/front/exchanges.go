package front

// exchanges is those that have not ended, the oldest first. The zero value is empty. A
// list costs a fraction of what a map does, which hashes and moves what it holds.
// Guarded by Handler.mu.
type exchanges struct {
	first, last *exchange
	n           int
}

func (l *exchanges) add(e *exchange) {
	e.open, e.prev = true, l.last
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.n++
}

// remove is called once for each that was added.
func (l *exchanges) remove(e *exchange) {
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.open, e.prev, e.next = false, nil, nil
	l.n--
}
