#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "a c that p refuses, and a p that c refuses"
own_root
start_p || finish

# refused: what, a pattern of c's one line about it, c's flags...
refused() {
  local what=$1 pattern=$2
  shift 2
  : >"$work/c.log"
  start_c "$@"
  tells() { grep -Eiq "level=(WARN|ERROR) .*($pattern)" "$work/c.log"; }
  holds "$what: c says so" wait_for 60 tells
  holds "$what: c stays up and tries again" running "$c_pid"
  equal "$what: no session" 503 "$(fetch -o /dev/null -w '%{http_code}' "http://$admin/readyz?origin=@")"
  stop "$c_pid"
  c_pid=''
}

install -m 600 /dev/null "$work/token"
echo 'not-the-token *' >"$work/token"
refused "a wrong token" 'answered 401 Unauthorized' --token-file "$work/token"
holds "a wrong token: p says so" grep -q 'level=WARN.*answer="401 ' "$work/p.log"
holds "a wrong token: in no log" test "$(cat "$work/p.log" "$work/c.log" | grep -c 'not-the-token')" = 0

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=another \
  -keyout "$work/another.key" -out "$work/another.pem" 2>/dev/null
lines=$(wc -l <"$work/p.log")
refused "an unknown CA" 'unknown authority.*no token was sent' --ca "$work/another.pem"
refused "a foreign name" 'not example.org.*no token was sent' --server-name example.org
holds "a certificate that c does not take: p says so" test "$(wc -l <"$work/p.log")" -gt "$lines"

start_c
holds "the right c, after all that" wait_for 60 ours_ready
finish
