#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "c killed and back, under load"
own_root
big_file
own_pair
want=$(sha "$big")

# Twenty visitors in the middle of a download when C is killed. Each either gets
# every byte (P may go on with C's next connection) or sees that it did not.
downloads=''
for i in $(seq 20); do
  { fetch -f --limit-rate 4M -o "$work/$i.body" "http://$front/big.bin" 2>/dev/null; echo $? >"$work/$i.status"; } &
  downloads="$downloads $!"
done
begun() { for i in $(seq 20); do [ -s "$work/$i.body" ] || return 1; done; }
holds "twenty downloads have begun" wait_for 60 begun
kill_hard "$c_pid"
start_c
holds "c is back" wait_for 60 ours_ready
get again /image.jpg
same "a download after it" "$media/image.jpg" "$work/again.body"

# shellcheck disable=SC2086 # a list
wait $downloads
whole=0 broken=0 wrong=0
for i in $(seq 20); do
  if [ "$(cat "$work/$i.status")" != 0 ]; then
    broken=$((broken + 1))
  elif [ "$(sha "$work/$i.body")" = "$want" ]; then
    whole=$((whole + 1))
  else
    wrong=$((wrong + 1))
  fi
done
equal "no wrong body looks right ($whole whole, $broken broken off)" 0 "$wrong"
equal "every download is accounted for" 20 $((whole + broken))
finish
