#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "fifty downloads at once"
own_root
big_file 8000000
own_pair
want=$(sha "$big")

# Each body is a digest at once: fifty times 8 MB need no room on the disk.
downloads=''
for i in $(seq 50); do
  { fetch -f "http://$front/big.bin" | openssl dgst -sha256 -r | cut -d ' ' -f 1 >"$work/$i.sha"; } &
  downloads="$downloads $!"
done
# shellcheck disable=SC2086 # a list
wait $downloads
right=0
for i in $(seq 50); do [ "$(cat "$work/$i.sha")" != "$want" ] || right=$((right + 1)); done
equal "downloads of 8 MB with the right digest" 50 "$right"
finish
