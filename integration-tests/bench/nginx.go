package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// find returns where a program is. Those of a server are in folders that a
// person's PATH may not have.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

// missingOf returns the first of some programs that is not installed.
func missingOf(names ...string) func(*bench) string {
	return func(*bench) string {
		for _, n := range names {
			if find(n) == "" {
				return n
			}
		}
		return ""
	}
}

// nginxMain is the part of a configuration that has nothing to do with what is
// measured: it keeps all that nginx writes in a folder of its own. %[1]s is the
// folder, %[2]s the user that the workers stay.
const nginxMain = `%[2]s
daemon off;
worker_processes auto;
worker_rlimit_nofile 16384;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  client_max_body_size 0;
  default_type application/octet-stream;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
%[3]s}
`

// nginx starts one with servers as its configuration.
func (b *bench) nginx(side *[]*process.Process, name, servers string) error {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return err
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // else the workers could not read our folder
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxMain, dir, user, servers), 0o600); err != nil {
		return err
	}
	return b.run(side, name, find("nginx"), "-p", dir, "-e", "stderr", "-c", conf)
}

// nginxOrigin starts one that serves the files, and behind it what takes uploads.
func (b *bench) nginxOrigin(s *setup, listen, tls string) error {
	var uploads string
	if err := process.FreeAddrs(&uploads); err != nil {
		return err
	}
	if err := b.run(&s.origin, "sink", b.self, "sink", "--front", uploads); err != nil {
		return err
	}
	return b.nginx(&s.origin, "nginx-origin", fmt.Sprintf(`  server {
    listen %s;
%s    root %s;
    location = /upload { proxy_pass http://%s; }
  }
`, listen, tls, b.root, uploads))
}

// startNginx is nginx as its documentation has it for a proxy: buffering as it
// is by default, and connections to the origin kept. A visitor's connection is
// kept for all its requests: by default nginx ends it after a thousand.
func startNginx(b *bench, s *setup, far bool) error {
	var control string
	if err := process.FreeAddrs(&s.front, &control); err != nil {
		return err
	}
	tls := fmt.Sprintf("    ssl_certificate %s;\n    ssl_certificate_key %s;\n", b.cert("p.pem"), b.cert("p.key"))
	if err := b.nginxOrigin(s, control+" ssl", tls); err != nil {
		return err
	}
	to, err := b.way(s, far, control)
	if err != nil {
		return err
	}
	return b.nginx(&s.public, "nginx-front", fmt.Sprintf(`  upstream origin {
    server %s;
    keepalive %d;
  }
  server {
    listen %s;
    keepalive_requests 1000000000;
    location / {
      proxy_pass https://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
`, to, connections, s.front))
}
