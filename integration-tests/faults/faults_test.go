//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"--only", "no-such"}, {"extra"}, {"--no-such-flag"}, {"--set", "some"}, {"--jobs", "0"}, {"--set", "soak", "--only", "nothing"}} {
		var stderr strings.Builder
		if status := run(t.Context(), args, io.Discard, &stderr); status != 2 || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%v: status %d, standard error %q; want 2 and one line", args, status, stderr.String())
		}
	}
	var out strings.Builder
	if status := run(t.Context(), []string{"--help"}, &out, io.Discard); status != 0 || !strings.Contains(out.String(), "--only") {
		t.Errorf("--help: status %d, %q", status, out.String())
	}
	out.Reset()
	if status := run(t.Context(), []string{"--list"}, &out, io.Discard); status != 0 || strings.Count(out.String(), "\n") != len(faults()) {
		t.Errorf("--list: status %d, %q", status, out.String())
	}
}

func TestFaults(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range faults() {
		if seen[f.name] {
			t.Errorf("there are two faults %s", f.name)
		}
		seen[f.name] = true
		if !regexp.MustCompile(`^[a-z0-9-]{1,14}$`).MatchString(f.name) || f.about == "" || f.inflict == nil {
			t.Errorf("%q, %q: want a short name, what it does, and something that does it", f.name, f.about)
		}
		if limit := 20 * time.Second; f.lasts <= 0 || f.lasts > limit && !f.slow {
			t.Errorf("%s lasts %v, want %v at most", f.name, f.lasts, limit)
		}
		if f.soak && (f.prepare != nil || f.slow) {
			t.Errorf("%s needs something prepared, or takes long, and is in the soak", f.name)
		}
	}
}

// What a visitor gets is right, wrong, or breaks where everybody sees it.
func TestBody(t *testing.T) {
	b := body{7, 100_000}
	whole, err := io.ReadAll(b.reader())
	if err != nil || int64(len(whole)) != b.size {
		t.Fatalf("a body of %d bytes has %d (%v)", b.size, len(whole), err)
	}
	other, _ := io.ReadAll(body{8, 100_000}.reader())
	changed := bytes.Clone(whole)
	changed[70_000]++
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		r    func() io.Reader
		want outcome
	}{
		{"whole", func() io.Reader { return bytes.NewReader(whole) }, right},
		{"byte by byte", func() io.Reader { return iotest.OneByteReader(bytes.NewReader(whole)) }, right},
		{"with its end", func() io.Reader { return iotest.DataErrReader(bytes.NewReader(whole)) }, right},
		{"nothing", func() io.Reader { return bytes.NewReader(nil) }, untrue},
		{"short", func() io.Reader { return bytes.NewReader(whole[:99_999]) }, untrue},
		{"long", func() io.Reader { return bytes.NewReader(append(bytes.Clone(whole), 0)) }, untrue},
		{"changed", func() io.Reader { return bytes.NewReader(changed) }, untrue},
		{"another", func() io.Reader { return bytes.NewReader(other) }, untrue},
		{"two of one", func() io.Reader {
			return io.MultiReader(bytes.NewReader(whole[:50_000]), bytes.NewReader(other[50_000:]))
		}, untrue},
		{"broken", func() io.Reader { return io.MultiReader(bytes.NewReader(whole[:50_000]), iotest.ErrReader(broken)) }, visible},
		{"broken in its head", func() io.Reader { return io.MultiReader(bytes.NewReader(whole[:5]), iotest.ErrReader(broken)) }, visible},
		{"broken as HTTP breaks", func() io.Reader {
			return io.MultiReader(bytes.NewReader(whole[:5]), iotest.ErrReader(io.ErrUnexpectedEOF))
		}, visible},
		{"changed, then broken", func() io.Reader { return io.MultiReader(bytes.NewReader(changed[:80_000]), iotest.ErrReader(broken)) }, untrue},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(b.compare(tt.r())); got != tt.want {
				t.Errorf("compare: outcome %d, want %d", got, tt.want)
			}
			want := tt.want
			if tt.name == "another" {
				want = right // it is one that is whole
			}
			if _, err := identify(tt.r()); judge(err) != want {
				t.Errorf("identify: %v, want outcome %d", err, want)
			}
		})
	}
}

// A failure counts as one of the program's while nothing is the matter, or if the
// request had to be spared.
func TestTally(t *testing.T) {
	tl := newTally([]kind{get})
	tl.setCalm(true)
	calm, across := tl.begin(upload), tl.begin(upload)
	calm.end(errors.New("x"))
	tl.setCalm(false)
	across.end(errors.New("y"))
	tl.begin(upload).end(errors.New("z"))
	tl.begin(get).end(errors.New("spared"))
	tl.begin(get).end(nil)
	tl.begin(get).end(context.Canceled)
	tl.begin(get).end(errHung)
	tl.begin(get).end(wrongf("w"))
	before := tl.begin(upload)
	tl.spare(upload, true)
	before.end(errors.New("begun before"))
	within, after := tl.begin(upload), tl.begin(upload)
	within.end(errors.New("within"))
	tl.spare(upload, false)
	after.end(errors.New("ended after"))
	if want := [outcomes]int{1, 7, 1, 1}; tl.sum() != want {
		t.Errorf("sum %v, want %v", tl.sum(), want)
	}
	all := strings.Join(tl.problems(), "\n")
	for _, want := range []string{"nothing was the matter: x", "should not have noticed: spared", "should not have noticed: within", "HUNG get", "WRONG get: w"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	for _, not := range []string{": y", ": z", "begun before", "ended after"} {
		if strings.Contains(all, not) {
			t.Errorf("%q, which happened while something was the matter, is told:\n%s", not, all)
		}
	}
}

func TestLevel(t *testing.T) {
	before := level{20, 15, 30 << 20}
	for _, tt := range []struct {
		now  level
		race bool
		ok   bool
	}{
		{before, false, true},
		{level{20 + moreGoroutines, 15 + moreDescriptors, 30<<20 + moreMemory}, false, true},
		{level{21 + moreGoroutines, 15, 30 << 20}, false, false},
		{level{20, 16 + moreDescriptors, 30 << 20}, false, false},
		{level{20, 15, 31<<20 + moreMemory}, false, false},
		{level{20, 15, 31<<20 + moreMemory}, true, true},
	} {
		if err := tt.now.above(before, tt.race); (err == nil) != tt.ok {
			t.Errorf("%+v after %+v: %v, want it to be taken: %v", tt.now, before, err, tt.ok)
		}
	}
}

func TestDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	piece := []byte("0123456789")
	join := func(d damage) string { return string(bytes.Join(d(r, bytes.Clone(piece)), nil)) }
	if got := join(flip); len(got) != len(piece) || got == string(piece) {
		t.Errorf("flip makes %q", got)
	}
	for want, d := range map[string]damage{"": drop, "01234567890123456789": twice, "5678901234": swap} {
		if got := join(d); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// wired is a wire with a connection through it. Its sockets are real, because a
// wire is about how connections end.
func wired(t *testing.T) (w *wire, c, p net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if w, err = newWire(ln.Addr().String(), 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	if c, err = net.Dial("tcp", w.addr()); err != nil {
		t.Fatal(err)
	}
	if p, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{c, p} {
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { conn.Close() })
	}
	return w, c, p
}

func passes(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("%q came as %q (%v)", text, got, err)
	}
}

func TestWire(t *testing.T) {
	t.Run("passes on, and its end too", func(t *testing.T) {
		_, c, p := wired(t)
		passes(t, c, p, "up")
		passes(t, p, c, "down")
		c.(*net.TCPConn).CloseWrite()
		if _, err := p.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the other end sees %v, want EOF", err)
		}
		passes(t, p, c, "the other way goes on")
	})
	t.Run("freezes one way", func(t *testing.T) {
		w, c, p := wired(t)
		w.set(condition{frozen: true}, condition{})
		io.WriteString(c, "late")
		passes(t, p, c, "the other way goes on")
		p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := p.Read(make([]byte, 10)); err == nil {
			t.Errorf("%d bytes came through", n)
		}
		p.SetReadDeadline(time.Now().Add(20 * time.Second))
		w.both(condition{})
		got := make([]byte, 4)
		if _, err := io.ReadFull(p, got); err != nil || string(got) != "late" {
			t.Errorf("then %q came (%v)", got, err)
		}
	})
	t.Run("takes its time", func(t *testing.T) {
		w, c, p := wired(t)
		w.both(condition{delay: 50 * time.Millisecond, jitter: time.Millisecond, lose: 1, stall: 50 * time.Millisecond})
		began := time.Now()
		passes(t, c, p, "slow")
		if took := time.Since(began); took < 100*time.Millisecond {
			t.Errorf("it took %v, want 100 ms at least", took)
		}
	})
	t.Run("has a rate", func(t *testing.T) {
		w, c, p := wired(t)
		w.both(condition{rate: 100_000, queue: 10 * time.Millisecond})
		began := time.Now()
		passes(t, c, p, strings.Repeat("x", 20_000))
		if took := time.Since(began); took < 180*time.Millisecond {
			t.Errorf("it took %v, want 200 ms", took)
		}
	})
	t.Run("is cut", func(t *testing.T) {
		w, c, p := wired(t)
		passes(t, c, p, "before")
		w.refuse(true)
		w.cut(true)
		for _, conn := range []net.Conn{c, p} {
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("an end sees %v, want a reset", err)
			}
		}
		again, err := net.Dial("tcp", w.addr())
		if err == nil {
			_, err = again.Read(make([]byte, 1))
			again.Close()
		}
		if err == nil {
			t.Error("another connection is taken while it is cut")
		}
	})
	t.Run("forgets", func(t *testing.T) {
		w, c, p := wired(t)
		passes(t, c, p, "before")
		w.forget()
		io.WriteString(c, "lost")
		c.Close()
		p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := p.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the other end sees %v, want nothing", err)
		}
	})
	t.Run("damages", func(t *testing.T) {
		w, c, p := wired(t)
		w.both(condition{damage: swap, every: 1})
		io.WriteString(c, "abcd")
		got := make([]byte, 4)
		if _, err := io.ReadFull(p, got); err != nil || string(got) != "cdab" {
			t.Errorf("%q came (%v)", got, err)
		}
	})
}

func TestRow(t *testing.T) {
	tr := &trial{fault: *faultNamed("nothing"), variant: asReleased, verdict: &verdict{sum: [outcomes]int{5, 4, 0, 0}, before: levels{"p": {20, 10, 30 << 20}}, after: levels{"p": {21, 11, 31 << 20}}}}
	if row := tr.row(); !regexp.MustCompile(`^nothing +released +ok +right +5 .*\n$`).MatchString(row) {
		t.Errorf("got %q", row)
	}
	if row := tr.tableRow(); !strings.HasPrefix(row, "| nothing | released | 5 | 4 | 0 | 0 | 0.0 | 20→21, 10→11, 30→31 | -→-") {
		t.Errorf("got %q", row)
	}
	tr.verdict.problems = []string{"a|b"}
	if row := tr.row(); !regexp.MustCompile(`^nothing +released +FAILED .* a\|b\n$`).MatchString(row) {
		t.Errorf("got %q", row)
	}
	if row := tr.tableRow(); !strings.Contains(row, "**failed**: a/b") {
		t.Errorf("got %q", row)
	}
	tr.verdict.skipped = "why"
	if row := tr.row(); !regexp.MustCompile(`^nothing +released +skipped: why\n$`).MatchString(row) {
		t.Errorf("got %q", row)
	}
	r := &report{trials: []*trial{tr}}
	if text := r.tables(t.Context(), &options{set: setQuick}); !strings.Contains(text, "skipped: why") || !strings.Contains(text, "* `nothing`:") {
		t.Errorf("got\n%s", text)
	}
}

// The Go that builds this has the time.Now that is known, and what is made of it is
// Go.
func TestSteppedNow(t *testing.T) {
	dir := t.TempDir()
	list, _, err := (&options{goes: "go"}).overlay(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(list); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"time.go", "wallstep.go"} {
		if _, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, 0); err != nil {
			t.Error(err)
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, "time.go"))
	if !strings.Contains(string(text), "; sec += wallStep()\n") {
		t.Error("time.go does not ask for wallStep")
	}
	for _, source := range []string{"package time", "package time\nfunc Now() Time { return now() }", "package time\nfunc Now() {", "package time\nfunc Now() {}"} {
		if _, err := steppedNow([]byte(source)); err == nil {
			t.Errorf("%q is taken", source)
		}
	}
}
