//go:build unix

package upgrade

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// handedTo returns what a process inherits that takes over, and the other's ends of
// its pipes.
func handedTo(t *testing.T) (in *inherited, heard, tell *os.File) {
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
	in = new(inherited)
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
	case <-time.After(time.Minute):
		t.Fatal("it waits although it is stopped")
	}
	if _, err := tell.Write([]byte{goOn}); err == nil {
		t.Error("it was told to take over, and nobody heard")
	}
}

// The process before dies at any moment: the one that has its sockets goes on.
func TestProcessBeforeDied(t *testing.T) {
	for name, die := range map[string]func(heard, tell *os.File){
		"before it heard": func(heard, tell *os.File) { heard.Close(); tell.Close() },
		"after that": func(heard, tell *os.File) {
			// Ends with that byte.
			go func() {
				heard.Read(make([]byte, 1))
				heard.Close()
				tell.Close()
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			in, heard, tell := handedTo(t)
			die(heard, tell)
			if err := in.Ready(make(chan struct{})); err != nil {
				t.Errorf("it gives up: %v", err)
			}
		})
	}
}

// envSilent names a FIFO to which a process of this test writes its id, and then says
// nothing more.
const envSilent = "SPDY_PROXY_TEST_SILENT"

func TestMain(m *testing.M) {
	if file := os.Getenv(envSilent); file != "" {
		os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0)
		// Until the test's SIGKILL; or its end, however that comes: it has the other end.
		io.Copy(io.Discard, os.NewFile(3, "what to go on is told by"))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A new process that does not get ready in time, or before this one is stopped, is
// ended, and there is no other.
func TestNeverReady(t *testing.T) {
	for _, tt := range []struct {
		name  string
		h     Handover
		stops bool
		want  string
	}{
		{"in time", Handover{timeout: 3 * time.Second}, false, "not ready within"},
		{"before the stop", Handover{}, true, "is stopping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv(envSilent, fifo)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			pid := make(chan int, 1)
			// Ends when the new process has said who it is.
			go func() {
				text, _ := os.ReadFile(fifo)
				n, _ := strconv.Atoi(string(text))
				pid <- n
				if tt.stops {
					stop()
				}
			}()
			s, err := tt.h.Start(ctx)
			if s != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, %v; want an error with %q", s, err, tt.want)
			}
			if n := <-pid; n == 0 || syscall.Kill(n, 0) != syscall.ESRCH {
				t.Errorf("the new process, %d, is still there", n)
			}
		})
	}
}
