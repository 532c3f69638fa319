//go:build unix

package upgrade

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// handedTo returns what a process inherits that takes over, and the other's ends of
// its pipes.
func handedTo(t *testing.T) (in *Inherited, heard, tell *os.File) {
	t.Helper()
	var files [4]*os.File
	for i := 0; i < len(files); i += 2 {
		var err error
		if files[i], files[i+1], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	in = new(Inherited)
	for _, end := range []struct {
		of *os.File
		to **os.File
	}{{files[0], &in.from}, {files[3], &in.to}} {
		// As package exec does, Fd makes it a blocking one.
		fd, err := unix.FcntlInt(end.of.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		*end.to = file(fd, "inherited")
		end.of.Close()
	}
	return in, files[2], files[1]
}

// A process that is stopped while it waits to take over ends at once, and the one
// before learns that it cannot be told to.
func TestStoppedBeforeItTookOver(t *testing.T) {
	in, heard, tell := handedTo(t)
	stop := make(chan struct{})
	ended := make(chan error, 1)
	// Ends when stop is closed.
	go func() { ended <- in.Ready(stop) }()
	if _, err := heard.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	close(stop)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it took over")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits although it is stopped")
	}
	if _, err := tell.Write([]byte{goOn}); err == nil {
		t.Error("it was told to take over, and nobody heard")
	}
}
