#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "p killed and back"
own_root
big_file
own_pair

{ fetch -f --limit-rate 4M -o "$work/cut.body" "http://$front/big.bin" 2>/dev/null; echo $? >"$work/cut.status"; } &
download=$!
holds "a download has begun" wait_for 60 test -s "$work/cut.body"
kill_hard "$p_pid"
wait "$download"
holds "the download is seen to be broken off" test "$(cat "$work/cut.status")" != 0
fetch -o "$work/none" "http://$front/" 2>/dev/null
equal "without p nobody answers (curl's 7: refused)" 7 $?

again_p
holds "c is connected to the new p" wait_for 60 ours_ready
holds "c is the same process" running "$c_pid"
get again /big.bin
same "a download after it" "$big" "$work/again.body"
finish
