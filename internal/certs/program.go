package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

const (
	// programTime is how long a program may take until a record can be seen, and
	// cleanupTime until it is gone, of which it has programGrace left when P stops. That
	// is also how long what it has started may keep its output open after its end.
	programTime  = 5 * time.Minute
	cleanupTime  = time.Minute
	programGrace = 5 * time.Second

	maxProgramText = 4 << 10 // bytes of what it says
)

// dnsProgram proves names by a program that sets DNS records (RFC 8555, 8.4): it is
// called with "present" or "cleanup", the record's name and its value.
type dnsProgram struct {
	base context.Context // ends when P stops
	path string
	log  *zap.Logger
}

// Present implements acmez.Solver.
func (d dnsProgram) Present(ctx context.Context, c acme.Challenge) error {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	return d.run(ctx, "present", c)
}

// CleanUp implements acmez.Solver. It is called when ctx has ended, too.
func (d dnsProgram) CleanUp(ctx context.Context, c acme.Challenge) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	defer context.AfterFunc(d.base, func() { time.AfterFunc(programGrace, cancel) })()
	err := d.run(ctx, "cleanup", c)
	if err != nil {
		d.log.Warn("a DNS record is left", zap.Error(err))
	}
	return err
}

// programError says how a program failed.
type programError struct {
	path, verb, name string
	how              error
	said             string // the last line of its standard error
}

func (e *programError) Error() string {
	text := fmt.Sprintf("the program %s %s %s failed: %v", e.path, e.verb, e.name, e.how)
	if e.said != "" {
		text += ": " + shorten(e.said)
	}
	return text
}

func (e *programError) Unwrap() error { return e.how }

func (d dnsProgram) run(ctx context.Context, verb string, c acme.Challenge) error {
	failed := &programError{path: d.path, verb: verb, name: c.DNS01TXTRecordName()}
	path, err := lookProgram(d.path)
	if err != nil {
		failed.how = err
		return failed
	}
	var said head
	cmd := exec.CommandContext(ctx, path, verb, c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	cmd.Stderr = &said
	cmd.WaitDelay = programGrace
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SPDY_PROXY_") { // a token may be there
			cmd.Env = append(cmd.Env, v)
		}
	}
	if failed.how = cmd.Run(); failed.how == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		failed.how = errors.New("it has taken too long")
	} else if ctx.Err() != nil {
		failed.how = errors.New("p is stopping")
	}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	failed.said = oneline.Clean(lines[len(lines)-1])
	return failed
}

// lookProgram returns where a program is. Its error is one line.
func lookProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		if ee, ok := errors.AsType[*exec.Error](err); ok {
			err = ee.Err
		}
		return "", fmt.Errorf("--acme-dns-exec %s is not a program that can be run: %w", name, err)
	}
	return path, nil
}

// head keeps the first bytes that are written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), maxProgramText-h.Len())])
	return len(p), nil
}
