#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "a client that leaves mid-body"
own_root
big_file 60000000
own_pair

leavers=''
for i in 1 2 3 4 5; do
  exec_fetch --limit-rate 1M -o "$work/$i.body" "http://$front/big.bin" 2>/dev/null &
  leavers="$leavers $!"
done
begun() { for i in 1 2 3 4 5; do [ -s "$work/$i.body" ] || return 1; done; }
serving() { [ "$(figure serving)" = "$1" ]; }
holds "five downloads have begun" wait_for 60 begun
holds "p counts them" wait_for 60 serving 5
for pid in $leavers; do kill_hard "$pid"; done
holds "p gives them up" wait_for 60 serving 0

# An upload whose sender leaves: a pipe gives the beginning, and stays open.
mkfifo "$work/pipe"
exec 9<>"$work/pipe"
exec_fetch -T "$work/pipe" -X POST -o "$work/post.body" "http://$front/image.jpg" 2>/dev/null &
leaver=$!
head -c 200000 "$big" >&9
holds "an upload has begun" wait_for 60 serving 1
kill_hard "$leaver"
holds "p gives it up" wait_for 60 serving 0
exec 9>&-

# The one connection carries on.
holds "c is still connected" ready "$admin"
get again /big.bin
same "a download after it" "$big" "$work/again.body"
finish
