#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "the slow a next to a fast download"
own_root
big_file
own_pair

begun=$(now)
get alone /big.bin
alone=$(since "$begun")
same "a fast download alone ($alone s)" "$big" "$work/alone.body"

# Eight readers of 16 KiB a second, of a file that takes them twenty minutes.
readers=''
for i in $(seq 8); do
  "$top/bin/a" -o "$work/$i.slow" "http://$front/big.bin" 2>"$work/$i.said" &
  readers="$readers $!"
done
begun() { for i in $(seq 8); do [ -s "$work/$i.slow" ] || return 1; done; }
holds "eight slow readers have begun" wait_for 60 begun

begun=$(now)
get beside /big.bin
beside=$(since "$begun")
same "a fast download beside them" "$big" "$work/beside.body"
# At their rate it would take twenty minutes; what else the machine does comes and goes.
within "it is not slowed" "$beside" "$(echo "$alone" | awk '{ print 10 * $1 + 10 }')"

on=0 well=0
for pid in $readers; do
  running "$pid" && on=$((on + 1))
  kill -TERM "$pid"
  wait "$pid" && well=$((well + 1))
done
equal "the slow readers went on all the time" 8 "$on"
equal "they end well when they are asked to" 8 "$well"
right=0
for i in $(seq 8); do
  received=$(sed -n 's/^a: \([0-9]*\) bytes received$/\1/p' "$work/$i.said")
  head -c "$received" "$big" | cmp -s - "$work/$i.slow" && right=$((right + 1))
done
equal "what each says it received is the file's beginning" 8 "$right"

"$top/bin/a" --rate 400000 "http://$front/sample.avi" >"$work/avi" 2>"$work/said"
equal "to the end of a file" 0 $?
same "to the end of a file: every byte" "$media/sample.avi" "$work/avi"
equal "to the end of a file: what it says" "a: $(size "$media/sample.avi") bytes received" "$(tail -n 1 "$work/said")"
finish
