package origin

// waitsLocked counts a request that begins to wait (1) or ends it (-1).
func (t *Table) waitsLocked(e *entry, q Query, n int) {
	t.waiting += n
	e.waiting += n
	t.waitingBytes += int64(n) * int64(q.Cost)
	if q.From.IsValid() {
		if t.waitingFrom[q.From] += n; t.waitingFrom[q.From] == 0 {
			delete(t.waitingFrom, q.From)
		}
	}
}
