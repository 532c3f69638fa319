package serve

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

// Where the disk does not answer, those that come wait without a thread each, and go on
// when it does.
func TestStalledDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		write(t, root, "a.txt", "alpha")
		h := newHandler(t, Config{Root: root})
		tree := h.serve.(*folder).root
		stalled := tree.calls
		f, err := tree.open("a.txt")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		for range maxCalls {
			stalled.begin()
		}
		answered := make(chan string, 3)
		for what, call := range map[string]func() error{
			"Stat": func() error { _, err := tree.Stat("a.txt"); return err },
			"open": func() error {
				f, err := tree.open("a.txt")
				f.Close()
				return err
			},
			"Read": func() error {
				_, err := (&steadyFile{file: f, was: stampOf(info), calls: stalled}).Read(make([]byte, 1))
				return err
			},
		} {
			// Ends when the disk answers; waited for below.
			go func() {
				if err := call(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				answered <- what
			}()
		}
		synctest.Wait()
		if n := len(answered); n != 0 {
			t.Errorf("%s has not waited", <-answered)
		}
		const visitors = maxCalls / 4
		codes := make(chan int, visitors)
		for range visitors {
			// Ends with its answer; the bubble waits for it.
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/a.txt", nil))
				codes <- w.Code
			}()
		}
		synctest.Wait()
		if n := len(codes); n != 0 {
			t.Errorf("%d have an answer from a disk that gives none", n)
		}
		for range maxCalls {
			stalled.end()
		}
		for range visitors {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("got %d, want 200", code)
			}
		}
		for range 3 {
			<-answered
		}
		synctest.Wait()
		if n := len(stalled); n != 0 {
			t.Errorf("%d calls are under way at the end", n)
		}
	})
}
