#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "two machines, set up as README says, and a third that visits"

# Each machine is a network namespace with an address, and names from its own hosts
# file. Without the right to make them, there is nothing to test.
net=198.51.100 spaces=''
machine() { # name, number
  ip netns add "$1" 2>"$work/netns" || return
  spaces="$spaces $1"
  mkdir -p "/etc/netns/$1" "$work/$1"
  printf '127.0.0.1 localhost\n%s.1 example.test photos.example.test\n' "$net" >"/etc/netns/$1/hosts"
  ip link add "$1" type veth peer name eth0 netns "$1" && ip link set "$1" master "$bridge" up &&
    ip -n "$1" addr add "$net.$2/24" dev eth0 && ip -n "$1" link set eth0 up && ip -n "$1" link set lo up
}
remove() {
  local s
  for s in $spaces; do
    ip netns del "$s"
    rm -rf "/etc/netns/$s"
  done
  ip link del "$bridge" 2>/dev/null
}
trap 'tidy; remove' EXIT
bridge=spb$$
skip() {
  echo "SKIP  $1"
  [ -z "${SKIPPED:-}" ] || echo "test-213: $1" >>"$SKIPPED"
  exit 0
}
command -v ip >/dev/null || skip "no ip here: install Debian's package iproute2"
{ ip link add "$bridge" type bridge && ip link set "$bridge" up && machine "spp$$" 1 && machine "spc$$" 2 && machine "spv$$" 3; } 2>"$work/ip" ||
  skip "no network namespaces here: $(cat "$work/netns" "$work/ip" 2>/dev/null | tail -n 1)"

# on: to be called in a subshell, which becomes the command.
on() { # machine, command...: in its folder
  local m=$1$$
  shift
  cd "$work/$m" && exec ip netns exec "$m" "$@"
}

# The machine that people reach: a certificate of a CA of its own, and README's file.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=a CA' -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=p' -keyout "$work/spp$$/privkey.pem" -out "$work/p.csr" 2>/dev/null
openssl x509 -req -in "$work/p.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 -out "$work/leaf.pem" \
  -extfile <(echo 'subjectAltName=DNS:example.test,DNS:*.example.test') 2>/dev/null
cat "$work/leaf.pem" "$work/ca.pem" >"$work/spp$$/fullchain.pem"
awk '/^    front = / { on = 1 } on && /^$/ { exit } on { sub(/^ +/, ""); sub(/example\.org/, "example.test"); print }' "$top/README.md" >"$work/spp$$/p.toml"
holds "README's file says where to listen" grep -q '^front = ":443"' "$work/spp$$/p.toml"
code=$(on spp "$top/bin/p" invite photos --config p.toml 2>"$work/invite.log")
holds "the invitation" test "${code:0:6}" = spdy1.
(on spp "$top/bin/p" --config p.toml --drain 2s) >"$work/p.log" 2>&1 </dev/null &
p_pid=$!
listens() { grep -q 'msg="p listens"' "$work/p.log" || ! running "$p_pid"; }
wait_for 20 listens

# The one that serves: it has a folder of films, and gets the one word.
mkdir "$work/spc$$/films"
cp "$media/sample.mp4" "$work/spc$$/films"
visit() { (on spv curl -q -sS --max-time 30 --cacert "$work/ca.pem" "$@") 2>>"$work/visit.log"; }
serves() { visit -f https://photos.example.test/sample.mp4 | cmp -s - "$media/sample.mp4"; }
(on spc "$top/bin/c" --join "$code" --root films --drain 2s) >>"$work/c.log" 2>&1 </dev/null &
c_pid=$!
holds "https://photos.example.test/ is verified, and leads to the other machine" wait_for 20 serves
stop "$c_pid"
equal "while it is away" 503 "$(visit -o "$work/away" -w '%{http_code}' https://photos.example.test/)"
(on spc "$top/bin/c" --root films --drain 2s) >>"$work/c.log" 2>&1 </dev/null &
c_pid=$!
holds "the next start needs nothing more" wait_for 20 serves
equal "all that it keeps" "films state" "$(cd "$work/spc$$" && echo *)"
(on spc "$top/bin/c" check --root films) >"$work/check" 2>&1
equal "c check says that all is well" 0 $?
holds "and who serves" grep -q 'shared with the connection that it has now' "$work/check"
finish
