package accesslog

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A disk that does not answer holds up neither a reload nor a stop for more than a second:
// there is one open(2) at a time, and one that comes late is used.
func TestReopenOnADiskThatHangs(t *testing.T) {
	for _, closed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.log")
			var log bytes.Buffer
			a, err := Open(path, nil, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			opens, answer := 0, make(chan struct{})
			a.open = func(path string) (*os.File, error) {
				opens++
				<-answer
				return openAppend(path)
			}
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for range 2 {
				if err := a.Reopen(); err == nil || !strings.Contains(err.Error(), path+": its disk does not answer") {
					t.Errorf("Reopen: %v, want that the disk does not answer", err)
				}
			}
			synctest.Wait()
			if took := time.Since(began); took != diskTime || opens != 1 {
				t.Errorf("two Reopens took %v and opened %d times, want %v and once", took, opens, diskTime)
			}
			a.Write([]byte("before\n"))
			a.Flush()
			synctest.Wait()
			if closed {
				a.Close()
			}
			close(answer)
			synctest.Wait()
			a.Write([]byte("after\n"))
			a.Close()
			old, _ := os.ReadFile(path + ".1")
			late, err := os.ReadFile(path)
			want := "after\n"
			if closed {
				want = ""
			}
			if said := strings.Contains(log.String(), "level=INFO msg=\"access log: the file was opened anew"); said == closed {
				t.Errorf("closed before: %v, said what became of it: %v\n%s", closed, said, &log)
			}
			if string(old) != "before\n" || string(late) != want || err != nil {
				t.Errorf("closed before: %v: the old file has %q and the one that came late %q (%v), want %q there", closed, old, late, err, want)
			}
		})
	}
}

// The file that was moved away gets nothing of what is written after Reopen, and what was
// written before is in it or in the next one.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	a, err := Open(path, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two", "three"} {
		a.Write([]byte(name + "\n"))
		if err := os.Rename(path, filepath.Join(filepath.Dir(path), name)); err != nil {
			t.Fatal(err)
		}
		a.Flush()
		if err := a.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	a.Write([]byte("four\n"))
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	var all string
	for i, name := range []string{"one", "two", "three", filepath.Base(path)} {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			t.Error(err)
		}
		if all += string(text); strings.Count(all, "\n") > i+1 {
			t.Errorf("%s has %q: more than was written by then", name, text)
		}
	}
	if all != "one\ntwo\nthree\nfour\n" {
		t.Errorf("the files have %q in all", all)
	}
}
