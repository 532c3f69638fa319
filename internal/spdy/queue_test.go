package spdy

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever is added, dropped and taken, the queue has what a plain list would
// have, in its order, and counts it.
func TestControlQueue(t *testing.T) {
	type frame struct {
		id, value uint32
		own       bool // the frame of a stream, as a SYN_REPLY is and a RST_STREAM is not
		caused    bool
	}
	var q controlQueue
	var list []frame
	r := rand.New(rand.NewPCG(1, 2))
	st := new(Stream)
	for step := range uint32(100000) {
		id := r.Uint32N(8)
		switch n := r.IntN(100); {
		case n < 70:
			f := frame{id, step, id != 0 && r.IntN(2) == 0, r.IntN(2) == 0}
			it := item{typ: typeRstStream, id: f.id, value: f.value, caused: f.caused}
			if f.own {
				it.st = st
			}
			q.push(it)
			list = append(list, f)
		case n < 85:
			q.drop(id)
			list = slices.DeleteFunc(list, func(f frame) bool { return f.id == id && f.own })
		case n < 98 && id != 0:
			q.dropAll(id)
			list = slices.DeleteFunc(list, func(f frame) bool { return f.id == id })
		default:
			it, _ := q.take()
			for _, f := range list {
				if it == nil || it.id != f.id || it.value != f.value {
					t.Fatalf("step %d: got %+v, want %+v", step, it, f)
				}
				next := it.next
				it.free()
				it = next
			}
			if it != nil {
				t.Fatalf("step %d: got %+v, want no more", step, it)
			}
			list = list[:0]
		}
		caused := 0
		for _, f := range list {
			if f.caused {
				caused++
			}
		}
		if q.size != len(list) || q.caused != caused || q.empty() != (len(list) == 0) {
			t.Fatalf("step %d: got %d frames, %d of them caused, want %d, %d", step, q.size, q.caused, len(list), caused)
		}
	}
}
