#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "another c takes over, under load"
own_root
big_file
pidfile=$work/pid
start_p --drain 20s || finish
start_c --pid-file "$pidfile" --drain 20s
holds "the pair is ready" wait_for 60 ours_ready
holds "the files are at rest" wait_for 60 at_rest

: >"$work/open" >"$work/errors"
visitor() {
  local asked=0 refused=0
  while [ -e "$work/open" ]; do
    fetch -f -o /dev/null "http://$front/image.jpg" 2>>"$work/errors" || refused=$((refused + 1))
    asked=$((asked + 1))
  done
  echo "$asked $refused" >"$work/count"
}
visitor &
asking=$!
{ fetch -f --limit-rate 4M -o "$work/big.body" "http://$front/big.bin" 2>>"$work/errors"; echo $? >"$work/big.status"; } &
download=$!
holds "a download has begun" wait_for 60 test -s "$work/big.body"

first=$c_pid
for n in 1 2 3; do
  kill -USR2 "$c_pid"
  other() { [ "$(cat "$pidfile")" != "$c_pid" ]; }
  holds "hand-over $n: another process is c" wait_for 60 other
  c_pid=$(cat "$pidfile")
done
rm "$work/open"
wait "$asking" "$download"
equal "the download across all of them" 0 "$(cat "$work/big.status")"
same "the download: every byte" "$big" "$work/big.body"
read -r asked refused <"$work/count"
equal "requests that failed, of $asked" 0 "$refused"
[ ! -s "$work/errors" ] || sed 's/^/  /' "$work/errors"
holds "the first process has ended" wait_for 60 gone "$first"
wait "$first"
equal "its exit status" 0 $?
finish
