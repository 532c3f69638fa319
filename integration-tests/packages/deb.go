//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// content is what c serves.
const content = "hello from c\n"

// page is where it is, and behindSockets the same where systemd holds the ports.
const (
	page          = "http://photos.localhost/hello.txt"
	behindSockets = "http://photos.localhost:443/hello.txt"
)

const (
	p = "spdy-proxy-p"
	c = "spdy-proxy-c"
)

// deb installs the .deb in the running Debian, and goes through a machine's life.
func (l *lab) deb() {
	first, err := l.packaged("1.0.0", "deb")
	second, err2 := l.packaged("1.1.0", "deb")
	before, err3 := l.files()
	if err := errors.Join(err, err2, err3); err != nil {
		l.check("the .deb", err)
		return
	}
	l.check("dpkg installs it", l.dpkg("--install", first))
	l.check("the configuration is root's, for the services to read", l.lent())
	for _, name := range []string{"share/man/man1/c.1.gz", "share/zsh/vendor-completions/_p", "share/doc/spdy-proxy/copyright", "share/doc/spdy-proxy/install.md", "share/doc/spdy-proxy/monitoring/alerts.yml", "share/doc/spdy-proxy/monitoring/dashboard.json"} {
		l.check("it has /usr/"+name, l.holds("test", "-s", "/usr/"+name))
	}
	l.check("nothing is started", l.want("inactive\ninactive", "systemctl", "is-active", p, c))
	l.check("nor at the next boot", l.want("disabled\ndisabled", "systemctl", "is-enabled", p, c))
	for _, unit := range []string{p + ".service", c + ".service", c + "@x.service", p + "-front.socket", p + "-control.socket", p + "-admin.socket"} {
		l.check(unit+" verifies", l.want("", "systemd-analyze", "verify", "--man=no", unit))
	}
	l.configure()
	l.serve()
	l.follow()
	l.upgrade(second)
	l.recover()
	l.sockets()

	l.check("dpkg removes it", l.dpkg("--remove", "spdy-proxy"))
	l.check("nothing runs", l.within(10*time.Second, func() error { return l.want("inactive\ninactive", "systemctl", "is-active", p, c) }))
	l.check("the configuration is there", l.holds("test", "-f", "/etc/spdy-proxy/c-wiki.toml", "-a", "-f", "/var/lib/spdy-proxy/p/tokens"))
	l.check("dpkg purges it", errors.Join(l.dpkg("--purge", "spdy-proxy"), l.holds("rm", "-r", "/srv/photos"))) // what c served is not the package's
	l.check("nothing is left", l.same(before))
	_, err = l.in("getent", "group", "spdy-proxy")
	l.check("nor the group", wanted(err != nil, "it is there"))
}

func wanted(is bool, but string) error {
	if is {
		return nil
	}
	return errors.New(but)
}

// want tells whether a command prints a text.
func (l *lab) want(text string, command ...string) error {
	out, err := l.in(command...)
	if out != text {
		return fmt.Errorf("%s: got %q, %v; want %q", strings.Join(command, " "), out, err, text)
	}
	return nil
}

// says tells whether a command prints a text among others.
func (l *lab) says(text string, command ...string) error {
	out, err := l.in(command...)
	if !strings.Contains(out, text) {
		return fmt.Errorf("%s: got %q, %v; want %q in it", strings.Join(command, " "), out, err, text)
	}
	return nil
}

func (l *lab) holds(command ...string) error {
	_, err := l.in(command...)
	return err
}

func (l *lab) dpkg(verb, what string) error {
	if verb == "--install" {
		if _, err := l.run("", "cp", what, filepath.Join(l.root, "var/cache", filepath.Base(what))); err != nil {
			return err
		}
		what = "/var/cache/" + filepath.Base(what)
		defer l.in("rm", what)
	}
	return l.holds("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", verb, what)
}

func (l *lab) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(l.root, name))
	return string(text)
}

// put writes a file in the Debian, with the mode that umask leaves.
func (l *lab) put(name, text string) error {
	_, err := l.inWith(text, "sh", "-c", `mkdir -p "$(dirname "$0")" && cat >"$0"`, name)
	return err
}

// configure does what the comments of the configuration say.
func (l *lab) configure() {
	l.check("p check says what is missing", l.says("certificate certs/p.pem is missing: name yours with --cert and --key, or by --config the file that does, or give --acme-email", "p", "check"))
	shown := l.read("etc/spdy-proxy/p.toml")
	toml := strings.NewReplacer(`#front = ":443"`, `front = "127.0.0.1:80"`, `#domain = ["example.org"]`, `domain = ["localhost"]`, "#cert", "cert", "#key", "key").Replace(shown)
	err := l.put("/etc/spdy-proxy/p.toml", toml)
	err = errors.Join(err, l.put("/etc/spdy-proxy/acme.toml", strings.NewReplacer("#front", "front", "#tls", "tls", "#http", "http", "#control", "control", "#domain", "domain", "#acme", "acme").Replace(shown)))
	toml = strings.Replace(l.read("etc/spdy-proxy/c.toml"), `#root = "/srv/photos"`, `root = "/srv/photos"`, 1)
	err = errors.Join(err, l.put("/etc/spdy-proxy/c.toml", toml), l.put("/etc/spdy-proxy/c-wiki.toml", toml), l.put("/srv/photos/hello.txt", content))
	for _, name := range []string{"p.pem", "p.key", "ca.pem"} {
		text, e := os.ReadFile(filepath.Join(l.certs, name))
		err = errors.Join(err, e, l.put("/etc/spdy-proxy/"+name, string(text)))
	}
	err = errors.Join(err, l.holds("chmod", "640", "/etc/spdy-proxy/p.key"))
	l.check("it is configured", err)
	code, err := l.in("sh", "-c", "p invite wiki 2>/dev/null")
	if err == nil {
		_, err = l.inWith(code+"\n", "install", "-m", "600", "/dev/stdin", "/etc/spdy-proxy/invitation-wiki")
	}
	l.check("root invites wiki", err)
	l.check("with ACME it wants no files", l.says("ok: certificates by ACME", "p", "check", "--config", "/etc/spdy-proxy/acme.toml"))
	l.check("somebody else is told which file was not read", l.says("configuration file /etc/spdy-proxy/p.toml, where one is looked for, was not read: permission denied", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "p", "check"))
}

func (l *lab) get(url string) error {
	return l.want(strings.TrimSpace(content), "curl", "--silent", "--show-error", "--max-time", "20", url)
}

func (l *lab) ready(origin string) error {
	return l.want("200", "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "http://127.0.0.1:1445/readyz?origin="+origin)
}

// mainPID is that of a unit, as systemd knows it.
func (l *lab) mainPID(unit string) string {
	pid, err := l.in("systemctl", "show", "--property=MainPID", "--value", unit)
	if err != nil {
		return err.Error()
	}
	return pid
}

// commands returns what a page of the installed handbook has a person with systemd do.
func (l *lab) commands(page string) (blocks []string) {
	text := l.read("usr/share/doc/spdy-proxy/" + page + ".md")
	for {
		var block string
		var ok bool
		if _, text, ok = strings.Cut(text, "\n```sh systemd\n"); !ok {
			return blocks
		}
		block, text, _ = strings.Cut(text, "\n```\n")
		blocks = append(blocks, block)
	}
}

// invitation is as p prints it.
var invitation = regexp.MustCompile(`(?m)^spdy1\.\S+$`)

func (l *lab) serve() {
	install := l.commands("install")
	if len(install) != 2 {
		l.check("the handbook says how both are started", fmt.Errorf("it has %d blocks", len(install)))
		return
	}
	printed, err := l.in("bash", "-ec", install[0])
	l.check("the handbook's words start p, which says when it is ready", err)
	_, err = l.inWith(invitation.FindString(printed)+"\n", "bash", "-ec", install[1])
	l.check("and c", err)
	l.check("a visitor gets what c serves", l.get(page))
	l.check("p has noted that its invitation was used", l.within(5*time.Second, func() error {
		tokens, err := l.in("cat", "/var/lib/spdy-proxy/p/tokens")
		return errors.Join(err, wanted(strings.Count(tokens, "join-by=") == 1, tokens))
	}))
	l.check("c check finds nothing wrong", l.holds("c", "check"))
	l.check("nor does it with the one beside it", l.holds("c", "check", "--config", "/etc/spdy-proxy/c-wiki.toml"))
	l.check("c@wiki is another", errors.Join(l.holds("systemctl", "enable", "--now", c+"@wiki"), l.ready("wiki")))
	l.check("root has added a token, and p has read it", errors.Join(l.says("reads it now", "p", "token", "add", "films"), l.within(5*time.Second, func() error {
		return l.says("were read again", "journalctl", "--unit="+p)
	})))
	l.check("root takes a token back, and its c is out", errors.Join(l.holds("p", "token", "remove", "wiki"), l.within(5*time.Second, func() error {
		return wanted(l.ready("wiki") != nil, "it is not")
	})))
	l.check("c@wiki ends", l.holds("systemctl", "disable", "--now", c+"@wiki"))
	status, err := l.in("systemctl", "--no-pager", "--full", "status", p)
	l.check("systemctl status", err)
	for line := range strings.Lines(status) {
		fmt.Fprint(l.out, "      | ", line)
	}
	fmt.Fprintln(l.out)
	for _, unit := range []string{p, c} {
		level, err := l.in("systemd-analyze", "--no-pager", "--threshold=20", "security", unit)
		lines := strings.Split(level, "\n")
		l.check(strings.TrimSpace(strings.Trim(lines[len(lines)-1], "→ ")), err)
	}
}

// follow has systemd follow a reload and a hand-over.
func (l *lab) follow() {
	for _, unit := range []string{p, c} {
		pid := l.mainPID(unit)
		l.check("systemctl reload "+unit, l.holds("systemctl", "reload", unit))
		l.check("which leaves the process", wanted(l.mainPID(unit) == pid, "it is another"))
		l.under(page, "a new "+unit+" takes over, and no visitor sees it", func() error {
			return errors.Join(l.holds("systemctl", "kill", "--signal=USR2", "--kill-whom=main", unit), l.within(20*time.Second, func() error {
				return wanted(l.mainPID(unit) != pid, "systemd knows the old process")
			}))
		})
		l.check("systemd knows it as running, and not as a restart", l.want("NRestarts=0\nActiveState=active\nSubState=running", "systemctl", "show", "--property=NRestarts,ActiveState,SubState", unit))
	}
	for _, block := range l.commands("upgrade") {
		l.check("the handbook's words hand over, reload and restart", errors.Join(l.holds("bash", "-ec", block), l.get(page)))
	}
}

func (l *lab) upgrade(second string) {
	before, pids := l.read("etc/spdy-proxy/p.toml"), l.mainPID(p)+l.mainPID(c)
	l.under(page, "dpkg upgrades, and no visitor sees it", func() error { return l.dpkg("--install", second) })
	l.check("both are the new version's", wanted(l.mainPID(p)+l.mainPID(c) != pids, "they are not"))
	for _, unit := range []string{p, c} {
		exe, err := l.in("readlink", "/proc/"+l.mainPID(unit)+"/exe")
		l.check(unit+" runs the file that is there", errors.Join(err, wanted(exe == "/usr/bin/"+unit[len(unit)-1:], exe)))
	}
	l.check("the configuration is as it was", wanted(l.read("etc/spdy-proxy/p.toml") == before, "it is not"))
	l.check("and still root's", l.lent())
	l.check("the version is the new one's", l.want("1.1.0", "dpkg-query", "--show", "--showformat=${Version}", "spdy-proxy"))
}

// recover has systemd restart what has crashed, or does nothing any more.
func (l *lab) recover() {
	restarts := func(n string) func() error {
		return func() error {
			return l.want("NRestarts="+n+"\nActiveState=active", "systemctl", "show", "--property=NRestarts,ActiveState", p)
		}
	}
	kill := func(signal string) error {
		return l.holds("systemctl", "kill", "--signal="+signal, "--kill-whom=main", p)
	}
	l.check("after a kill -9 p is there again", errors.Join(kill("KILL"), l.within(20*time.Second, restarts("1")), l.get(page)))
	l.check("a p that hangs is restarted", errors.Join(
		l.put("/run/systemd/system/"+p+".service.d/quick.conf", "[Service]\nWatchdogSec=2s\n"), l.holds("systemctl", "daemon-reload"), l.holds("systemctl", "restart", p),
		kill("STOP"), l.within(30*time.Second, restarts("1")), l.says("Failed with result 'watchdog'", "journalctl", "--unit="+p), l.get(page)))
	l.check("and one that does not is left alone", errors.Join(l.holds("sleep", "5"), restarts("1")()))
}

// sockets has systemd hold the ports.
func (l *lab) sockets() {
	units := []string{p + "-front.socket", p + "-control.socket", p + "-admin.socket"}
	l.check("p is stopped", l.holds("systemctl", "stop", p))
	l.check("systemd has its ports", l.holds(append([]string{"systemctl", "enable", "--now"}, units...)...))
	l.check("the first to come has p started", errors.Join(l.get(behindSockets), l.want("active", "systemctl", "is-active", p)))
	pid := l.mainPID(p)
	l.check("a new p takes over with them", errors.Join(l.holds("systemctl", "kill", "--signal=USR2", "--kill-whom=main", p), l.within(20*time.Second, func() error {
		return wanted(l.mainPID(p) != pid, "systemd knows the old process")
	}), l.get(behindSockets)))
	l.under(behindSockets, "a restart, and no visitor is refused", func() error { return l.holds("systemctl", "restart", p) })
}
