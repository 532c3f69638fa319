//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The wall clock of a Go program cannot be set from outside: it asks the kernel
// without any library. So p and c are built once more, with a time.Now that adds to
// the seconds what a file says, in 8 bytes of the machine's order, which they map
// once. The monotonic reading goes on. Nothing of Go's source is in this tree: it is
// read from the Go that builds, and must have the shape that is known.

// clockFile is the variable with the name of the file.
const clockFile = "FAULTS_CLOCK"

// wallSource is the file that package time gets beside its own.
const wallSource = `package time

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

var wallFile = sync.OnceValue(func() *int64 {
	name, ok := syscall.Getenv("` + clockFile + `")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	syscall.Close(fd)
	return (*int64)(unsafe.Pointer(&b[0]))
})

// wallStep is by how many seconds the wall clock was set.
func wallStep() int64 { return atomic.LoadInt64(wallFile()) }
`

// steppedNow returns the source of package time's file with Now in which the seconds
// of the wall clock are what wallStep makes of them.
func steppedNow(source []byte) ([]byte, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "time.go", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range parsed.Decls {
		now, ok := d.(*ast.FuncDecl)
		if !ok || now.Recv != nil || now.Name.Name != "Now" || len(now.Body.List) == 0 {
			continue
		}
		read, ok := now.Body.List[0].(*ast.AssignStmt)
		if !ok || len(read.Lhs) != 3 {
			break
		}
		sec, ok := read.Lhs[0].(*ast.Ident)
		if !ok {
			break
		}
		at := files.Position(read.End()).Offset
		return []byte(string(source[:at]) + "; " + sec.Name + " += wallStep()" + string(source[at:])), nil
	}
	return nil, errors.New("time.Now of this Go does not begin with the seconds, nanoseconds and monotonic time")
}

// overlay writes to dir what go build -overlay takes, and returns its name and the
// folder that is to be GOROOT. That is a link in dir to the real one: a Go that was
// fetched as a module lies where nothing may be replaced.
func (o *options) overlay(ctx context.Context, dir string) (file, root string, err error) {
	out, err := exec.CommandContext(ctx, o.goes, "env", "GOROOT").Output()
	if err != nil {
		return "", "", fmt.Errorf("go env GOROOT: %w", err)
	}
	root = filepath.Join(dir, "goroot")
	if err := os.Symlink(strings.TrimSpace(string(out)), root); err != nil {
		return "", "", err
	}
	file, err = writeOverlay(filepath.Join(root, "src", "time"), dir)
	return file, root, err
}

// writeOverlay is overlay for the folder of package time.
func writeOverlay(at, dir string) (string, error) {
	source, err := os.ReadFile(filepath.Join(at, "time.go"))
	if err != nil {
		return "", err
	}
	if source, err = steppedNow(source); err != nil {
		return "", err
	}
	name := func(base string) string { return filepath.Join(dir, base) }
	list, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(at, "time.go"): name("time.go"), filepath.Join(at, "wallstep.go"): name("wallstep.go"),
	}})
	if err != nil {
		return "", err
	}
	return name("overlay.json"), errors.Join(os.WriteFile(name("time.go"), source, 0o600), os.WriteFile(name("wallstep.go"), []byte(wallSource), 0o600),
		os.WriteFile(name("overlay.json"), list, 0o600))
}

// setClocks gives all programs a clock that stepClocks sets.
func setClocks(l *lab) error {
	if l.options.clocked == nil {
		return fmt.Errorf("%w: p and c cannot be built with a clock of their own", errSkip)
	}
	for _, d := range l.daemons() {
		d.wrap = []string{"/usr/bin/env", clockFile + "=" + l.clockName()}
	}
	return l.step(0)
}

func (l *lab) clockName() string { return filepath.Join(l.dir, "clock") }

// step sets the wall clocks to so much after the machine's.
func (l *lab) step(by time.Duration) error {
	f, err := os.OpenFile(l.clockName(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	// In one write, and in place: it is mapped.
	_, err = f.Write(binary.NativeEndian.AppendUint64(nil, uint64(int64(by/time.Second))))
	return errors.Join(err, f.Close())
}

// stepClocks puts the wall clocks forward, back beyond where they were, and right.
func stepClocks(ctx context.Context, l *lab) error {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 3 * time.Second, 0} {
		if err := l.step(by); err != nil {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		// p has something to say, with its time.
		began := time.Now().Add(by)
		if err := l.reload(ctx, l.p); err != nil {
			return err
		}
		if said := lastTime(l.p.now().Log()); said.Sub(began).Abs() > comeback {
			l.failf("p says that it is %v when its clock was set to %v", said, began)
		}
		// p's certificate is looked at by the new time.
		l.wire.cut(true)
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// lastTime is the time of the last line of a log.
func lastTime(log string) (last time.Time) {
	for line := range strings.Lines(log) {
		word, _, _ := strings.Cut(line, " ")
		if t, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(word, "time=")); err == nil {
			last = t
		}
	}
	return last
}
