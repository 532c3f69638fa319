//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// rpm installs the .rpm, and removes it, in the Debian while that is not running: its
// database is put beside that of dpkg.
func (l *lab) rpm() {
	if _, err := exec.LookPath("rpm"); err != nil {
		fmt.Fprintln(l.out, "SKIP  the .rpm: rpm is not here: install Debian's package rpm")
		return
	}
	file, err := l.packaged("1.0.0", "rpm")
	if err != nil {
		l.check("the .rpm", err)
		return
	}
	list, err := l.run("", "rpm", "--query", "--package", "--list", file)
	for _, name := range []string{"/usr/bin/p", "/usr/bin/c", "/usr/bin/a", "/usr/lib/systemd/system/spdy-proxy-p.service", "/usr/lib/systemd/system/spdy-proxy-c@.service",
		"/usr/share/man/man1/p.1.gz", "/usr/share/zsh/site-functions/_p", "/usr/share/doc/spdy-proxy/monitoring/alerts.yml", "/usr/share/doc/spdy-proxy/monitoring/dashboard.json", "/etc/spdy-proxy/p.toml"} {
		if err == nil && !slices.Contains(strings.Fields(list), name) {
			err = fmt.Errorf("%s is not in it", name)
		}
	}
	l.check("the .rpm has the files", err)

	before, err := l.files()
	if err == nil {
		_, err = l.run("", "rpm", "--root", l.root, "--dbpath", "/var/lib/rpm", "--nodeps", "--install", file)
	}
	if err == nil {
		_, err = l.run("", "chroot", l.root, "p", "version")
	}
	l.check("it is installed", errors.Join(err, l.lent()))
	_, err = l.run("", "rpm", "--root", l.root, "--dbpath", "/var/lib/rpm", "--erase", "spdy-proxy")
	if err == nil {
		err = l.same(before)
	}
	l.check("and removed", err)
	// What rpm, unlike dpkg, leaves: no package ever had it.
	os.RemoveAll(filepath.Join(l.root, "var/lib/rpm"))
	l.run("", "chroot", l.root, "groupdel", "spdy-proxy")
}

// lent tells whether the configuration is root's, for the services to read.
func (l *lab) lent() error {
	for name, want := range map[string]string{"": "2750", "p.toml": "640", "c.toml": "640"} {
		name = "/etc/spdy-proxy/" + name
		got, err := l.run("", "chroot", l.root, "stat", "-c", "%a %U %G", name)
		if want += " root spdy-proxy"; err == nil && got != want {
			err = fmt.Errorf("%s is %q, want %q", name, got, want)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// passing are the folders in which names come and go with whatever a machine does.
var passing = []string{"proc", "sys", "dev", "run", "tmp", "var/tmp", "var/log", "var/cache", "var/lib/dpkg", "var/lib/rpm", "var/lib/systemd"}

// files are the names of all that is in the Debian's files, but for what passes.
func (l *lab) files() ([]string, error) {
	args := []string{l.root, "("}
	for i, dir := range passing {
		if i > 0 {
			args = append(args, "-o")
		}
		args = append(args, "-path", filepath.Join(l.root, dir))
	}
	args = append(args, ")", "-prune", "-o", "-printf", "/%P\n")
	text, err := l.run("", "find", args...)
	var names []string
	for name := range strings.Lines(text) {
		// The last edit of the list of groups, as any group's coming and going leaves it.
		if name = strings.TrimSpace(name); name != "/etc/group-" && name != "/etc/gshadow-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

// same compares the names with those of before, and looks for ours where names pass.
func (l *lab) same(before []string) error {
	now, err := l.files()
	if err != nil {
		return err
	}
	var left []string
	for _, name := range now {
		if _, was := slices.BinarySearch(before, name); !was {
			left = append(left, name)
		}
	}
	ours, err := l.run("", "find", filepath.Join(l.root, "var"), filepath.Join(l.root, "run"), "-name", "*spdy*")
	if left = append(left, strings.Fields(ours)...); len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, " "))
	}
	return err
}
