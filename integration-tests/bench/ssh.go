package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// separation is the empty folder without which sshd does not start as root.
const separation = "/run/sshd"

// sshKeys makes a host key and a user key, once a run.
func (b *bench) sshKeys() (host, user string, err error) {
	host, user = filepath.Join(b.dir, "ssh_host_key"), filepath.Join(b.dir, "ssh_user_key")
	for _, file := range []string{host, user} {
		if _, err := os.Stat(file); err == nil {
			continue
		}
		if out, err := exec.CommandContext(b.ctx, find("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	return host, user, nil
}

// startSSH is a sshd of our own that visitors reach on a port which an ssh -R,
// from beside an nginx, has it listen on.
func startSSH(b *bench, s *setup, far bool) error {
	hostKey, userKey, err := b.sshKeys()
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	var control, files string
	if err := process.FreeAddrs(&s.front, &control, &files); err != nil {
		return err
	}
	if err := b.separate(); err != nil {
		return err
	}
	conf := filepath.Join(b.dir, "sshd_config")
	text := fmt.Sprintf(`ListenAddress %s
HostKey %s
AuthorizedKeysFile %s.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding remote
`, control, hostKey, userKey)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if err := b.run(&s.public, "sshd", find("sshd"), "-D", "-e", "-f", conf); err != nil {
		return err
	}
	to, err := b.openWay(s, far, control)
	if err != nil {
		return err
	}
	if err := b.nginxOrigin(s, files, ""); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return err
	}
	return b.run(&s.origin, "ssh", find("ssh"), "-F", "none", "-N", "-i", userKey, "-p", port, "-l", me.Username,
		"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ExitOnForwardFailure=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+filepath.Join(b.dir, "known_hosts"), "-o", "LogLevel=ERROR",
		"-R", s.front+":"+files, host)
}

// separate makes the folder that sshd wants, where it is ours to make; close
// removes it again.
func (b *bench) separate() error {
	if os.Getuid() != 0 {
		return nil
	}
	if _, err := os.Stat(separation); err == nil {
		return nil
	}
	if err := os.Mkdir(separation, 0o755); err != nil {
		return err
	}
	b.separated = true
	return nil
}
