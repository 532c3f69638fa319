package serve

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// A framing is a ResponseWriter that takes a body as the SPDY engine does: it
// has the source read into its own buffer, a frame at a time, until the
// announced length is there. It keeps nothing.
type framing struct {
	header http.Header
	frame  []byte
	n      int64
}

func (w *framing) Header() http.Header { return w.header }
func (w *framing) WriteHeader(int)     {}

func (w *framing) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return len(p), nil
}

func (w *framing) ReadFrom(r io.Reader) (n int64, err error) {
	for err == nil {
		var m int
		m, err = r.Read(w.frame)
		n += int64(m)
	}
	w.n += n
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// benchmarkGet asks for a file of that size, last changed so long ago, again and again.
func benchmarkGet(b *testing.B, size, frame int, age time.Duration) {
	root := b.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file.mp4"), make([]byte, size), 0o644); err != nil {
		b.Fatal(err)
	}
	h, err := New(Config{Root: root})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	h.serve.(*folder).now = func() time.Time { return time.Now().Add(age) }
	r := httptest.NewRequest("GET", "/file.mp4", nil)
	w := &framing{frame: make([]byte, frame)}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		w.header, w.n = make(http.Header), 0
		h.ServeHTTP(w, r)
		if w.n != int64(size) {
			b.Fatalf("%d bytes, want %d", w.n, size)
		}
	}
}

// BenchmarkSmallFile gets files that are kept in memory, and files that are not
// because they seem to be too young.
func BenchmarkSmallFile(b *testing.B) {
	for _, size := range []int{0, 1 << 10, 16 << 10} {
		b.Run("kept/"+strconv.Itoa(size), func(b *testing.B) { benchmarkGet(b, size, 16<<10, time.Hour) })
		b.Run("read/"+strconv.Itoa(size), func(b *testing.B) { benchmarkGet(b, size, 16<<10, -time.Hour) })
	}
}

// BenchmarkBigFile reads a file that the system has in memory, in frames of
// either size that the engine uses.
func BenchmarkBigFile(b *testing.B) {
	for _, frame := range []int{16 << 10, 64 << 10} {
		b.Run(strconv.Itoa(frame), func(b *testing.B) { benchmarkGet(b, 256<<20, frame, 0) })
	}
}

// BenchmarkListing lists a folder of a hundred thousand files.
func BenchmarkListing(b *testing.B) {
	root := b.TempDir()
	const files = 100_000
	for i := range files {
		if err := os.WriteFile(filepath.Join(root, "IMG_"+strconv.Itoa(i*7919%files)+" holiday.jpg"), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	h, err := New(Config{Root: root})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	w := &framing{frame: make([]byte, 64<<10)}
	b.ReportAllocs()
	for b.Loop() {
		w.header, w.n = make(http.Header), 0
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.n < files*100 {
			b.Fatalf("%d bytes", w.n)
		}
	}
}
