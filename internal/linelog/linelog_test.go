package linelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// told keeps what Losses was told.
type told struct {
	mu  sync.Mutex
	all []string // guarded by mu
}

func (t *told) losses() Losses {
	add := func(format string, a ...any) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.all = append(t.all, fmt.Sprintf(format, a...))
	}
	return Losses{
		Begin: func(cause error) { add("begin: %v", cause) },
		End:   func(lines uint64) { add("end: %d", lines) },
	}
}

func (t *told) want(test *testing.T, want ...string) {
	test.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if fmt.Sprintf("%q", t.all) != fmt.Sprintf("%q", want) {
		test.Errorf("told %q, want %q", t.all, want)
	}
	t.all = nil
}

// gate is an output that takes nothing while it is shut.
type gate struct {
	mu   sync.Mutex
	open sync.Cond // of mu
	shut bool      // guarded by mu
	text bytes.Buffer
}

func newGate() *gate {
	g := &gate{}
	g.open.L = &g.mu
	return g
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut {
		g.open.Wait()
	}
	return g.text.Write(p)
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	g.shut = shut
	g.open.Broadcast()
	g.mu.Unlock()
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	w := New(&out, Losses{})
	io.WriteString(w, "one\ntwo \u009b31m\r\n")
	io.WriteString(w, "three, without its end")
	w.Trace("four\nis one line")
	io.WriteString(w, strings.Repeat("a long line ", maxPiece)+"\n")
	w.Close()
	want := "one\ntwo \\u009b31m\\u000d\nthree, without its end\nfour\\u000ais one line\n" + strings.Repeat("a long line ", maxPiece) + "\n"
	if got := out.String(); got != want {
		t.Errorf("got %.200q, want %.200q", got, want)
	}
	io.WriteString(w, "after Close\n")
	w.Close()
	if out.String() != want || w.Dropped() != 0 {
		t.Errorf("a line came after Close, or %d were dropped", w.Dropped())
	}
}

// pieces is an output that keeps each Write.
type pieces struct {
	mu  sync.Mutex
	all []string // guarded by mu
}

func (p *pieces) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, string(b))
	return len(b), nil
}

// take returns what was written since the last call.
func (p *pieces) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.all
	p.all = nil
	return all
}

// What goes in one Write ends where a line ends, and is no more than a pipe takes
// whole.
func TestPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pieces{}
		w := New(out, Losses{})
		for i := range 1000 {
			fmt.Fprintf(w, "line %d %s\n", i, strings.Repeat("x", i%100))
		}
		w.Close()
		all := out.take()
		for _, p := range all {
			if len(p) > maxPiece || !strings.HasSuffix(p, "\n") {
				t.Errorf("a piece of %d bytes that ends in %q", len(p), p[len(p)-1:])
			}
		}
		if n := strings.Count(strings.Join(all, ""), "\n"); n != 1000 {
			t.Errorf("%d lines, want 1000", n)
		}
	})
}

// A file takes what waits in one Write; of a pipe, which several may write to, it is
// known how much stays together.
func TestPieceOfAFile(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{file, r, pipe} {
		defer f.Close()
	}
	for _, test := range []struct {
		what string
		to   io.Writer
		want int
	}{{"a file", file, maxWaiting}, {"a pipe", pipe, maxPiece}, {"something else", io.Discard, maxPiece}} {
		w := New(io.Discard, Losses{})
		w.SetOutput(test.to)
		if got, first := w.to().piece, newOutput(0, test.to).piece; got != test.want || first != test.want {
			t.Errorf("%s gets pieces of %d bytes, and of %d as the first output; want %d", test.what, got, first, test.want)
		}
		w.Close()
	}
}

// More lines wait for others before a file than before a pipe.
func TestGatheringToAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	synctest.Test(t, func(t *testing.T) {
		w := NewGathering(f, Losses{})
		line := []byte(strings.Repeat("x", 1<<10-1) + "\n")
		size := func() int64 {
			t.Helper()
			synctest.Wait()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		for range gatherSize>>10 - 1 {
			w.WriteClean(line)
		}
		if n := size(); n != 0 {
			t.Errorf("%d bytes were written before there were enough", n)
		}
		w.WriteClean(line)
		if n := size(); n != gatherSize {
			t.Errorf("%d bytes were written, want %d", n, gatherSize)
		}
		w.Close()
	})
}

// A clean line comes as it is, between the others, and is dropped as they are.
func TestWriteClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, said := newGate(), &told{}
		w := New(out, said.losses())
		io.WriteString(w, "one\n")
		w.WriteClean([]byte("two \\u009b\n"))
		io.WriteString(w, "three\n")
		synctest.Wait()
		out.set(true)
		w.WriteClean([]byte("four\n"))
		synctest.Wait()
		line := []byte(strings.Repeat("x", 99) + "\n")
		const fit = (maxWaiting - 1) / 100
		for range fit + 7 {
			w.WriteClean(line)
		}
		said.want(t, "begin: "+errBehind.Error())
		if lines, traces := w.Drops(); lines != 7 || traces != 0 {
			t.Errorf("%d lines and %d traces were dropped, want 7 lines", lines, traces)
		}
		out.set(false)
		w.Close()
		w.WriteClean([]byte("after Close\n"))
		if got, want := out.String(), "one\ntwo \\u009b\nthree\nfour\n"+strings.Repeat(string(line), fit); got != want {
			t.Errorf("got %d bytes that begin with %.60q, want %d", len(got), got, len(want))
		}
	})
}

// An output that stands still holds nobody up; what waits is bounded, and what
// is lost is counted and told once.
func TestStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, said := newGate(), &told{}
		w := New(out, said.losses())
		line := strings.Repeat("x", 99)
		out.set(true)
		fmt.Fprintln(w, "first")
		synctest.Wait() // on its way
		const fit = maxWaiting / 100
		for range fit + 7 {
			fmt.Fprintln(w, line) // none of these waits: the test would not end
		}
		said.want(t, "begin: "+errBehind.Error())
		if n := w.Dropped(); n != 7 {
			t.Errorf("%d dropped, want 7", n)
		}
		out.set(false)
		synctest.Wait()
		said.want(t, "end: 7")
		fmt.Fprintln(w, "last")
		w.Close()
		if got := out.String(); got != "first\n"+strings.Repeat(line+"\n", fit)+"last\n" {
			t.Errorf("%d bytes were written; want first, %d lines, last", len(got), fit)
		}
	})
}

// Traces are dropped first.
func TestTraceLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newGate()
		w := New(out, Losses{})
		out.set(true)
		fmt.Fprintln(w, "first")
		synctest.Wait()
		for range maxWaiting / 100 {
			w.Trace(strings.Repeat("x", 99))
		}
		dropped := w.Dropped()
		if lines, traces := w.Drops(); lines > 0 || traces == 0 || traces != dropped {
			t.Errorf("%d lines and %d traces were dropped, want traces alone", lines, traces)
		}
		for range maxWaiting / 250 {
			fmt.Fprintln(w, strings.Repeat("y", 99))
		}
		if n := w.Dropped() - dropped; n != 0 {
			t.Errorf("%d lines were dropped behind traces, want none", n)
		}
		out.set(false)
		w.Close()
	})
}

// A reader that comes and goes is told of twice a minute at most, and no line is
// forgotten.
func TestLossesAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var fails bool
		var mu sync.Mutex
		out := writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if fails {
				return 0, broken
			}
			return len(p), nil
		})
		said := &told{}
		w := New(out, said.losses())
		write := func(lines int, works bool) {
			mu.Lock()
			fails = !works
			mu.Unlock()
			for range lines {
				fmt.Fprintln(w, "line")
				synctest.Wait()
			}
		}
		write(3, false)
		said.want(t, "begin: broken")
		write(1, true)
		said.want(t, "end: 3")
		for range 10 {
			write(2, false)
			write(1, true)
		}
		said.want(t)
		write(1, false)
		time.Sleep(quietTime)
		said.want(t)
		write(1, false)
		said.want(t, "begin: broken")
		write(1, true)
		said.want(t, "end: 22")
		write(4, false)
		w.Close()
		said.want(t, "end: 4")
		if n := w.Dropped(); n != 3+20+2+4 {
			t.Errorf("%d dropped, want 29", n)
		}
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// disk takes as many bytes as there is room for.
type disk struct {
	mu   sync.Mutex
	room int    // guarded by mu
	text []byte // guarded by mu
}

var errFull = errors.New("no space left on device")

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.room -= n
	d.text = append(d.text, p[:n]...)
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func (d *disk) free(n int) {
	d.mu.Lock()
	d.room += n
	d.mu.Unlock()
}

// Wherever a disk gets full, and however often, each line that is there is whole
// and the others are counted.
func TestFullDisk(t *testing.T) {
	for room := range 60 {
		for more := range 15 {
			synctest.Test(t, func(t *testing.T) {
				d, said := &disk{room: room}, &told{}
				w := New(d, said.losses())
				i := 0
				put := func(n int) {
					for range n {
						fmt.Fprintf(w, "line %03d\n", i)
						i++
						if i%2 == 0 {
							synctest.Wait()
						}
					}
					synctest.Wait()
				}
				put(10)
				d.free(more)
				put(3)
				d.free(10000)
				if room%2 == 0 {
					put(2)
				}
				w.Close()
				lines := strings.SplitAfter(string(d.text), "\n")
				last := -1
				for _, line := range lines[:len(lines)-1] {
					var n int
					if _, err := fmt.Sscanf(line, "line %03d\n", &n); err != nil || len(line) != 9 || n <= last {
						t.Fatalf("room for %d bytes, then for %d: line %q after number %d in %q", room, more, line, last, d.text)
					}
					last = n
				}
				if lines[len(lines)-1] != "" || room%2 == 0 && last != 14 {
					t.Fatalf("room for %d bytes, then for %d: it ends in %q", room, more, d.text)
				}
				if n := uint64(len(lines) - 1); n+w.Dropped() != uint64(i) {
					t.Fatalf("room for %d bytes, then for %d: %d lines and %d dropped, want %d together", room, more, n, w.Dropped(), i)
				}
			})
		}
	}
}

// A file that is closed and replaced while it is written to loses nothing but a
// line that it has a part of.
func TestSetOutput(t *testing.T) {
	for _, taken := range []int{0, 3, 7} { // of "line 0\nline 1\n"
		synctest.Test(t, func(t *testing.T) {
			var old, fresh bytes.Buffer
			let := make(chan struct{})
			w := New(writerFunc(func(p []byte) (int, error) {
				<-let
				n, _ := old.Write(p[:min(taken, len(p))])
				return n, errors.New("closed")
			}), Losses{})
			io.WriteString(w, "line 0\nline 1\n")
			synctest.Wait()
			fmt.Fprintln(w, "line 2")
			w.SetOutput(&fresh)
			close(let)
			w.Close()
			want, dropped := "line 0\nline 1\nline 2\n"[taken:], uint64(0)
			if taken == 3 {
				want, dropped = "line 1\nline 2\n", 1
			}
			if fresh.String() != want || w.Dropped() != dropped {
				t.Errorf("%d bytes to the old one: the new one has %q and %d are dropped, want %q and %d", taken, fresh.String(), w.Dropped(), want, dropped)
			}
		})
	}
}

// The rest of a line is not for the file that came after it.
func TestSetOutputAfterATornLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, fresh := &disk{room: 3}, &bytes.Buffer{}
		w := New(d, Losses{})
		fmt.Fprintln(w, "line 0")
		synctest.Wait()
		w.SetOutput(fresh)
		fmt.Fprintln(w, "line 1")
		w.Close()
		if fresh.String() != "line 1\n" || w.Dropped() != 1 {
			t.Errorf("the new file has %q, and %d are dropped; want line 1, and 1", fresh.String(), w.Dropped())
		}
	})
}

// Lines that are gathered are written together: after a time, when there are enough, and
// at once where somebody says so.
func TestGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pieces{}
		w := NewGathering(out, Losses{})
		want := func(when string, pieces ...string) {
			t.Helper()
			synctest.Wait()
			if got := out.take(); !slices.Equal(got, pieces) {
				t.Errorf("%s: %.40q was written, want %.40q", when, got, pieces)
			}
		}
		after := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		after(time.Hour)
		want("without a line")
		io.WriteString(w, "one\n")
		after(gatherTime - 1)
		io.WriteString(w, "two\n")
		want("before the time")
		after(1)
		want("the first line's time is over", "one\ntwo\n")
		after(time.Hour)
		io.WriteString(w, "three\n")
		after(gatherTime - 1)
		want("the time of a line after that")
		w.Flush()
		want("Flush", "three\n")
		w.Flush()
		want("a second Flush")
		io.WriteString(w, "four\n")
		after(gatherTime - 1)
		want("a line after Flush has its whole time")
		after(1)
		want("and no more", "four\n")

		line := strings.Repeat("x", maxPiece-1) + "\n"
		for range gatherSize/maxPiece - 1 {
			io.WriteString(w, line)
		}
		want("less than is enough")
		io.WriteString(w, line)
		want("enough", slices.Repeat([]string{line}, gatherSize/maxPiece)...)

		fresh := &pieces{}
		io.WriteString(w, "five\n")
		w.SetOutput(fresh)
		want("to the output before")
		out = fresh
		want("SetOutput", "five\n")
		io.WriteString(w, "six\n")
		began := time.Now()
		w.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		want("Close", "six\n")
		w.Flush()
		after(time.Hour)
		want("after Close")
	})
}

// What waits for an output that stands still is bounded with gathering as without, and
// is written when it goes on.
func TestGatheringStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, said := newGate(), &told{}
		w := NewGathering(out, said.losses())
		out.set(true)
		line := strings.Repeat("x", 99)
		for range 2 * maxWaiting / 100 {
			fmt.Fprintln(w, line)
		}
		synctest.Wait()
		said.want(t, "begin: "+errBehind.Error())
		dropped := w.Dropped()
		out.set(false)
		time.Sleep(gatherTime)
		synctest.Wait()
		said.want(t, fmt.Sprintf("end: %d", dropped))
		w.Close()
		if n := strings.Count(out.String(), "\n"); uint64(n)+dropped != 2*maxWaiting/100 {
			t.Errorf("%d lines were written and %d dropped, want %d together", n, dropped, 2*maxWaiting/100)
		}
	})
}

// Close waits for an output, but not for ever.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newGate()
		w := New(out, Losses{})
		out.set(true)
		fmt.Fprintln(w, "line")
		began := time.Now()
		w.Close()
		if took := time.Since(began); took != closeGrace {
			t.Errorf("Close took %v of an output that stands still, want %v", took, closeGrace)
		}
		out.set(false)
		synctest.Wait()
		if out.String() != "line\n" {
			t.Errorf("got %q", out.String())
		}
	})
}

// bench: what a line costs whoever writes it.
func BenchmarkWrite(b *testing.B) {
	w := New(io.Discard, Losses{})
	defer w.Close()
	line := []byte(strings.Repeat("x", 150) + "\n")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.Write(line)
		}
	})
}

// What is shown as a counter never becomes less, also while traces are dropped.
func TestDropsAtOnce(t *testing.T) {
	stuck, release := io.Pipe()
	w := New(release, Losses{})
	defer w.Close()
	defer stuck.Close()
	over := make(chan struct{})
	go func() { // ends with the last line
		defer close(over)
		for range 50_000 {
			w.Trace(strings.Repeat("x", 99))
		}
	}()
	for {
		if lines, _ := w.Drops(); lines != 0 {
			t.Fatalf("%d lines beside traces were dropped, want none", lines)
		}
		select {
		case <-over:
			if _, traces := w.Drops(); traces == 0 {
				t.Error("no trace was dropped")
			}
			return
		default:
		}
	}
}
