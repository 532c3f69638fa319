#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "movie play in safari"
pair

# What Safari asks for, in its order: two bytes, to see whether ranges work; the
# beginning, to find that the index is not there; the tail, where it is; then
# the film, in pieces, each only if the file is still the same.
file=$media/sample.mp4
size=$(size "$file")
safari() { # name, range
  get "$1" /sample.mp4 -H "Range: bytes=$2" -H 'Accept: */*' -H 'Accept-Encoding: identity' -H 'X-Playback-Session-Id: 5D0BF7A2' \
    -A 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15' \
    ${etag:+-H "If-Range: $etag"}
}

safari probe 0-1
headers "the probe" safari-probe.headers "$work/probe.headers"
equal "the probe: two bytes" 2 "$(size "$work/probe.body")"
etag=$(header ETag "$work/probe.headers")
holds "the probe: an ETag" test -n "$etag"

tail_from=$((size - 65536))
safari tail "$tail_from-$((size - 1))"
equal "the tail" "206 Partial Content" "$(status "$work/tail.headers")"
equal "the tail: Content-Range" "bytes $tail_from-$((size - 1))/$size" "$(header Content-Range "$work/tail.headers")"
tail -c 65536 "$file" >"$work/wanted"
same "the tail: the bytes" "$work/wanted" "$work/tail.body"
holds "the tail: the film's index is in it" grep -q moov "$work/tail.body"

: >"$work/film"
from=0
while [ "$from" -lt "$size" ]; do
  to=$((from + 200000))
  [ "$to" -lt "$size" ] || to=$((size - 1))
  safari piece "$from-$to"
  cat "$work/piece.body" >>"$work/film"
  from=$((to + 1))
done
same "the film, in pieces" "$file" "$work/film"

etag='"another"'
safari changed 0-1
equal "another file by now: the whole of it" "200 OK" "$(status "$work/changed.headers")"
same "another file by now: the bytes" "$file" "$work/changed.body"
finish
