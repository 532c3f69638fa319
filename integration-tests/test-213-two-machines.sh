#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "two machines, set up as README says, a CA and a third that visits"

# Each machine is a network namespace with an address. Names come from the DNS of
# pebble's tests, which says that all but the CA are the machine that people reach.
# Without the right to make namespaces, there is nothing to test.
net=198.51.100 spaces=''
machine() { # name, number
  ip netns add "$1" 2>"$work/netns" || return
  spaces="$spaces $1"
  mkdir -p "/etc/netns/$1" "$work/$1"
  echo '127.0.0.1 localhost' >"/etc/netns/$1/hosts"
  echo "nameserver $net.9" >"/etc/netns/$1/resolv.conf"
  ip link add "$1" type veth peer name eth0 netns "$1" && ip link set "$1" master "$bridge" up &&
    ip -n "$1" addr add "$net.$2/24" dev eth0 && ip -n "$1" link set eth0 up && ip -n "$1" link set lo up
}
remove() {
  local s
  [ -z "$ca_pids" ] || kill $ca_pids 2>/dev/null
  for s in $spaces; do
    ip netns del "$s"
    rm -rf "/etc/netns/$s"
  done
  ip link del "$bridge" 2>/dev/null
}
ca_pids=''
trap 'tidy; remove' EXIT
bridge=spb$$
skip() {
  echo "SKIP  $1"
  [ -z "${SKIPPED:-}" ] || echo "test-213: $1" >>"$SKIPPED"
  exit 0
}
command -v ip >/dev/null || skip "no ip here: install Debian's package iproute2"
command -v pebble >/dev/null && command -v pebble-challtestsrv >/dev/null || skip "no ACME server here: install Debian's package pebble"
{ ip link add "$bridge" type bridge && ip link set "$bridge" up && machine "spp$$" 1 && machine "spc$$" 2 && machine "spv$$" 3 && machine "spa$$" 9; } 2>"$work/ip" ||
  skip "no network namespaces here: $(cat "$work/netns" "$work/ip" 2>/dev/null | tail -n 1)"

# on: to be called in a subshell, which becomes the command.
on() { # machine, command...: in its folder
  local m=$1$$
  shift
  cd "$work/$m" && exec ip netns exec "$m" "$@"
}

# The CA, and its DNS. What it shows for itself is of another CA than what it gives.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=ca.test' -addext 'subjectAltName=DNS:ca.test' \
  -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
cat >"$work/pebble.json" <<JSON
{"pebble": {"listenAddress": "$net.9:14000", "managementListenAddress": "$net.9:15000", "certificate": "$work/ca.pem", "privateKey": "$work/ca.key",
  "httpPort": 80, "tlsPort": 443, "certificateValidityPeriod": 86400}}
JSON
(on spa pebble-challtestsrv -defaultIPv4 "$net.1" -defaultIPv6 '' -dns01 "$net.9:53" -http01 '' -https01 '' -tlsalpn01 '' -management "$net.9:8055") >"$work/names.log" 2>&1 </dev/null &
ca_pids="$!"
(on spa env PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 pebble -config "$work/pebble.json" -dnsserver "$net.9:53") >"$work/pebble.log" 2>&1 </dev/null &
ca_pids="$ca_pids $!"
is_there() { (on spa curl -q -sS -f --max-time 5 "$@") 2>"$work/ca.log"; }
holds "the DNS knows the CA" wait_for 60 is_there -d "{\"host\":\"ca.test.\",\"addresses\":[\"$net.9\"]}" "http://$net.9:8055/add-a"
root_there() { is_there --cacert "$work/ca.pem" -o "$work/root.pem" https://ca.test:15000/roots/0; }
holds "the CA is there" wait_for 60 root_there

# The machine that people reach: README's file, and where this CA is.
tokens=$work/spp$$/tokens
awk '/^    front = / { on = 1 } on && /^$/ { exit } on { sub(/^ +/, ""); gsub(/example\.org/, "example.test"); print }' "$top/README.md" >"$work/spp$$/p.toml"
holds "README's file says where to listen, and how it is certified" grep -q '^acme-email = ' "$work/spp$$/p.toml"
printf 'acme-ca = "https://ca.test:14000/dir"\nacme-ca-root = "%s"\n' "$work/ca.pem" >>"$work/spp$$/p.toml"
code=$(on spp "$top/bin/p" invite photos --config p.toml --ca "$work/root.pem" 2>"$work/invite.log")
holds "the invitation" test "${code:0:6}" = spdy1.
holds "it leads to the front port" grep -q 'it leads to example.test:443, ' "$work/invite.log"
holds "it has to be used in time" grep -q ' photos join-by=' "$tokens"
(on spp "$top/bin/p" --config p.toml --drain 2s) >"$work/p.log" 2>&1 </dev/null &
p_pid=$!

# The one that serves: it has a folder of films, and gets the one word.
mkdir "$work/spc$$/films"
cp "$media/sample.mp4" "$work/spc$$/films"
visit() { (on spv curl -q -sS --max-time 30 --cacert "$work/root.pem" "$@") 2>>"$work/visit.log"; }
serves() { visit -f https://photos.example.test/sample.mp4 | cmp -s - "$media/sample.mp4"; }
(on spc "$top/bin/c" --join "$code" --root films --drain 2s) >>"$work/c.log" 2>&1 </dev/null &
c_pid=$!
holds "https://photos.example.test/ is verified, and leads to the other machine" wait_for 60 serves
holds "it says so" wait_for 60 grep -q 'at https://photos.example.test/"' "$work/c.log"
settled() { ! grep -q join-by= "$tokens"; }
holds "the invitation was used, and has no end any more" wait_for 60 settled
equal "port 80 leads there, too" "308 https://photos.example.test/" "$(visit -o "$work/moved" -w '%{http_code} %{redirect_url}' http://photos.example.test/)"
stop "$c_pid"
equal "while it is away" 503 "$(visit -o "$work/away" -w '%{http_code}' https://photos.example.test/)"
(on spc "$top/bin/c" --root films --drain 2s) >>"$work/c.log" 2>&1 </dev/null &
c_pid=$!
holds "the next start needs nothing more" wait_for 60 serves
equal "all that it keeps" "films state" "$(cd "$work/spc$$" && echo *)"
(on spc "$top/bin/c" check --root films) >"$work/check" 2>&1
equal "c check says that all is well" 0 $?
holds "and who serves" grep -q 'shared with the connection that it has now' "$work/check"

# A further name while p runs.
code=$(on spp "$top/bin/p" invite wiki --config p.toml --ca "$work/root.pem" 2>>"$work/invite.log")
mkdir "$work/spc$$/wiki"
echo a page >"$work/spc$$/wiki/page"
stop "$c_pid"
(on spc "$top/bin/c" --join "$code" --state wiki-state --root wiki --drain 2s) >>"$work/c.log" 2>&1 </dev/null &
c_pid=$!
second() { [ "$(visit -f https://wiki.example.test/page)" = 'a page' ]; }
holds "a second name, invited while p runs, has its certificate and is reached" wait_for 60 second
finish
