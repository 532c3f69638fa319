//go:build linux

// Command packages installs the packages on a real Debian, with a real systemd: it boots
// one in a container, has p and c serve there as their handbook says, and takes from
// them what a machine may: a reload, an upgrade under load, a crash, a hang, the removal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

func main() { process.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	l := &lab{ctx: ctx, out: stdout}
	var require bool
	var load, suite string
	flags := process.NewFlags("packages", "Installs the packages on a Debian that it makes and boots. Run it as root, from the repository's root, after make.")
	flags.StringVar(&l.certs, "certs", "certs", "`FOLDER` of the development certificates")
	flags.StringVar(&l.packages, "packages", "bin/packages", "`FOLDER` for the packages, and for Debian as it is before")
	flags.StringVar(&suite, "suite", "bookworm", "`NAME` of the Debian")
	flags.StringVar(&l.mirror, "mirror", "http://deb.debian.org/debian", "`URL` where it comes from")
	flags.BoolVar(&require, "require", false, "fail where something is missing")
	flags.StringVar(&load, "load", "", "only ask for `URL` until standard input ends, and say how many failed")
	fail := func(err error) int {
		fmt.Fprintf(stderr, "packages: %v\n", err)
		return 1
	}
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, flags.Help())
		return 0
	} else if err != nil {
		return fail(err)
	}
	if load != "" {
		return ask(load, os.Stdin, stdout)
	}
	if reason := missing(); reason != "" {
		fmt.Fprintln(stdout, "SKIP ", reason)
		process.Skipped("the packages on a Debian", reason)
		if require {
			return 1
		}
		return 0
	}
	began := time.Now()
	if err := l.all(suite); err != nil {
		return fail(err)
	}
	fmt.Fprintf(stdout, "%d checks, %d failed, in %v\n", l.checks, l.failed, time.Since(began).Round(time.Second))
	if l.failed > 0 {
		return 1
	}
	return 0
}

// missing says what this machine lacks, "" if nothing.
func missing() string {
	if os.Getuid() != 0 {
		return "only root may boot a container"
	}
	for program, name := range map[string]string{"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux", "tar": "tar"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not here: install Debian's package " + name
		}
	}
	return ""
}

// lab is one run.
type lab struct {
	// Fixed when it starts.
	ctx                     context.Context
	out                     io.Writer
	certs, packages, mirror string
	work                    string // a folder that is removed at the end
	root                    string // the Debian's

	machine        *process.Process
	pid            string // of the Debian's first process
	checks, failed int
}

func (l *lab) all(suite string) (err error) {
	if err := process.Made(filepath.Join(l.certs, "p.pem"), filepath.Join(l.certs, "ca.pem")); err != nil {
		return err
	}
	if l.work, err = os.MkdirTemp("", "spdy-proxy-packages-"); err != nil {
		return err
	}
	defer os.RemoveAll(l.work)
	l.root = filepath.Join(l.work, "root")
	for _, version := range []string{"1.0.0", "1.1.0"} {
		l.say("packages of version %s are made", version)
		if err := l.build(version); err != nil {
			return err
		}
	}
	tar, err := l.debian(suite)
	if err != nil {
		return err
	}
	if err := os.Mkdir(l.root, 0o755); err != nil {
		return err
	}
	if _, err := l.run("", "tar", "-C", l.root, "-xf", tar); err != nil {
		return err
	}
	l.rpm()
	if err := l.boot(); err != nil {
		if l.ctx.Err() == nil {
			fmt.Fprintln(l.out, "SKIP  no systemd can be booted here:", err)
			return nil
		}
		return err
	}
	defer l.halt()
	l.deb()
	return l.ctx.Err()
}

func (l *lab) say(format string, a ...any) { fmt.Fprintf(l.out, "      "+format+"\n", a...) }

// check says how something went.
func (l *lab) check(what string, err error) {
	l.checks++
	if err == nil {
		fmt.Fprintf(l.out, "ok    %s\n", what)
		return
	}
	l.failed++
	fmt.Fprintf(l.out, "FAIL  %s: %v\n", what, err)
}

// run runs a command with a text for it to read, and returns what it printed.
func (l *lab) run(stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.ctx, 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, text)
	}
	return text, err
}

func (l *lab) build(version string) error {
	_, err := l.run("", "env", "VERSION="+version, "OUT="+filepath.Join(l.work, version), "internal/packaging/build", runtime.GOARCH)
	return err
}

// debian returns an archive of the smallest one with systemd, which is kept for the
// next run.
func (l *lab) debian(suite string) (tar string, err error) {
	tar = filepath.Join(l.packages, "debian-"+suite+".tar")
	if _, err := os.Stat(tar); err == nil {
		return tar, nil
	}
	l.say("Debian %s is made, from %s", suite, l.mirror)
	if err := os.MkdirAll(l.packages, 0o755); err != nil {
		return "", err
	}
	part := filepath.Join(l.work, "debian.tar")
	if _, err := l.run("", "mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd,systemd-sysv,curl", suite, part, l.mirror); err != nil {
		return "", err
	}
	if _, err := l.run("", "mv", part, tar); err != nil {
		return "", err
	}
	return tar, nil
}

// packaged is the file of a package.
func (l *lab) packaged(version, kind string) (string, error) {
	found, err := filepath.Glob(filepath.Join(l.work, version, "*."+kind))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d .%s of version %s were made", len(found), kind, version)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// boot boots the Debian, in a network of its own.
func (l *lab) boot() error {
	if err := os.WriteFile(filepath.Join(l.root, "etc/hosts"), []byte("127.0.0.1 localhost\n::1 localhost\n"), 0o644); err != nil {
		return err
	}
	args := []string{"--quiet", "--register=no", "--private-network", "--directory=" + l.root, "--boot"}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		args = append([]string{"--keep-unit"}, args...) // nobody here makes units
	}
	var err error
	if l.machine, err = (process.Command{Dir: l.work, Name: "nspawn", Path: "systemd-nspawn", Args: args}).Start(); err != nil {
		return err
	}
	booted := func() error {
		select {
		case <-l.machine.Done():
			return errGone
		default:
		}
		of := fmt.Sprintf("/proc/%d/task/%[1]d/children", l.machine.PID())
		text, err := os.ReadFile(of)
		if l.pid = strings.TrimSpace(string(text)); err != nil || l.pid == "" || strings.Contains(l.pid, " ") {
			return errors.New("it has no first process yet")
		}
		state, _ := l.in("systemctl", "is-system-running")
		if state != "running" && state != "degraded" {
			return errors.New(state)
		}
		return nil
	}
	if err := l.within(time.Minute, booted); err != nil {
		err = fmt.Errorf("%w: %s", err, l.machine.Last())
		l.machine.Stop()
		return err
	}
	return nil
}

var errGone = errors.New("it has ended")

func (l *lab) halt() {
	l.in("systemctl", "poweroff")
	select {
	case <-l.machine.Done():
	case <-time.After(20 * time.Second):
	}
	l.machine.Stop()
}

// in runs a command in the Debian.
func (l *lab) in(args ...string) (string, error) { return l.inWith("", args...) }

func (l *lab) inWith(stdin string, args ...string) (string, error) {
	enter := []string{"--target", l.pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd=" + l.root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	return l.run(stdin, "nsenter", append(enter, args...)...)
}

// within asks again until something holds.
func (l *lab) within(limit time.Duration, holds func() error) error {
	for end := time.Now().Add(limit); ; {
		err := holds()
		if err == nil || errors.Is(err, errGone) || time.Now().After(end) {
			return err
		}
		select {
		case <-l.ctx.Done():
			return l.ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
