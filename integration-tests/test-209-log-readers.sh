#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "who reads the logs goes away, or stands still"
own_root
mkfifo "$work/pipe"
reader=''
trap '[ -z "$reader" ] || kill_hard "$reader"; tidy' EXIT

# p_to: P with its standard output and error where the caller says.
p_to() { # P's flags...
  front=127.0.0.1:0 control=127.0.0.1:0 admin=127.0.0.1:0
  (cd "$top" && exec bin/p --front "$front" --control "$control" --admin "$admin" --drain 2s "$@") </dev/null &
  p_pid=$!
}

# where: the ports, when P's log tells them.
where() {
  listens() { ! running "$p_pid" || grep -q 'msg="p listens"' "$work/p.log"; }
  wait_for 60 listens
  front=$(listens_on front) control=$(listens_on control) admin=$(listens_on admin)
}

# ends_well: a requested stop of p or c is exit status 0.
ends_well() { # what, pid
  kill -TERM "$2"
  wait "$2"
  equal "$1's exit status" 0 $?
}

: >"$work/p.log"
head -n 1 <"$work/pipe" >>"$work/p.log" &
p_to >"$work/pipe" 2>&1
where
(cd "$top" && exec bin/c --proxy "$control" --root "$root" --drain 2s) </dev/null > >(head -n 1 >"$work/c.log") 2>&1 &
c_pid=$!
holds "p 2>&1 | head -n 1, and the same c: both get ready" wait_for 60 ours_ready
get one /image.jpg
same "what they serve" "$media/image.jpg" "$work/one.body"
ends_well c "$c_pid"
get two /image.jpg -o /dev/null
holds "p is still there" running "$p_pid"
ends_well p "$p_pid"
c_pid='' p_pid=''

# A reader that never reads: some 3 MB of lines, where pipe and waiting room take half.
: >"$work/p.log"
sleep 600 <"$work/pipe" &
reader=$!
p_to --access-log - >"$work/pipe" 2>>"$work/p.log"
where
start_c && wait_for 60 ours_ready
long=$(printf 'x%.0s' {1..4000})
began=$(now)
answers=$(fetch -o /dev/null -w '%{http_code}\n' "http://$front/image.jpg?[1-800]$long" | sort | uniq -c | awk '{ print $2 " x " $1 }')
equal "the answers to 800 requests" "200 x 800" "$answers"
echo "      $(since "$began") s"
holds "lines left out are counted" test "$(fetch "http://$admin/metrics" | sed -n 's/^spdy_proxy_access_log_dropped_total //p' | cut -d . -f 1)" -gt 0
equal "and said once" 1 "$(grep -c 'level=WARN msg="access log: lines are left out' "$work/p.log")"
kill_hard "$reader"
reader=''
get three /image.jpg
same "a reader that is gone: what they serve" "$media/image.jpg" "$work/three.body"
ends_well p "$p_pid"
p_pid=''

if [ -c /dev/full ]; then
  : >"$work/p.log"
  again=$control
  front=127.0.0.1:0 control=$again admin=127.0.0.1:0
  again_p --access-log /dev/full
  where
  wait_for 60 ours_ready
  equal "a full disk: the answers to 100 requests" "200 x 100" \
    "$(fetch -o /dev/null -w '%{http_code}\n' "http://$front/image.jpg?[1-100]" | sort | uniq -c | awk '{ print $2 " x " $1 }')"
  equal "said once" 1 "$(grep -c 'level=WARN msg="access log: lines are left out.*no space left' "$work/p.log")"
else
  echo "SKIP  a full disk: no /dev/full here"
  [ -z "${SKIPPED:-}" ] || echo "test-209: a full disk: no /dev/full here" >>"$SKIPPED"
fi
finish
