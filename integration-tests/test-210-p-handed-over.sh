#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "another p takes over, under load"
own_root
big_file
pidfile=$work/pid
start_p --pid-file "$pidfile" --drain 20s || finish
start_c
holds "the pair is ready" wait_for 60 ours_ready
holds "the files are at rest" wait_for 60 at_rest

# Visitors with a connection for each request, one after the other; curl's status is
# not 0 where a connection is refused, broken off, or answered 4xx or 5xx.
visitor() { # number
  local asked=0 refused=0
  while [ -e "$work/open" ]; do
    fetch -f -o /dev/null "http://$front/image.jpg" 2>>"$work/errors" || refused=$((refused + 1))
    asked=$((asked + 1))
  done
  echo "$asked $refused" >"$work/$1.count"
}
: >"$work/open" >"$work/errors"
visitors=''
for i in 1 2 3; do
  visitor "$i" &
  visitors="$visitors $!"
done
{ fetch -f --limit-rate 4M -o "$work/big.body" "http://$front/big.bin" 2>>"$work/errors"; echo $? >"$work/big.status"; } &
download=$!
holds "a download has begun" wait_for 60 test -s "$work/big.body"

first=$p_pid
for n in 1 2 3; do
  kill -USR2 "$p_pid"
  other() { [ "$(cat "$pidfile")" != "$p_pid" ]; }
  holds "hand-over $n: another process is p" wait_for 60 other
  p_pid=$(cat "$pidfile")
done
rm "$work/open"
# shellcheck disable=SC2086 # a list
wait $visitors "$download"
equal "the download across all of them" 0 "$(cat "$work/big.status")"
same "the download: every byte" "$big" "$work/big.body"
read -r asked refused < <(cat "$work"/[0-9].count | awk '{ asked += $1; failed += $2 } END { print asked, failed }')
equal "requests that failed, of $asked" 0 "$refused"
[ ! -s "$work/errors" ] || sed 's/^/  /' "$work/errors"
holds "the first process has ended" wait_for 60 gone "$first"
wait "$first"
equal "its exit status" 0 $?
equal "c has had one process, and no loss" 0 "$(grep -c 'connection lost' "$work/c.log")"
get again /image.jpg
same "a download after it" "$media/image.jpg" "$work/again.body"
finish
