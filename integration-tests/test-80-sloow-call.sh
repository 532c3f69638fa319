#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "sloow call"
pair

begun=$(now)
get slow /sample.mp4 --limit-rate 60000
took=$(since "$begun")
equal "a slow reader" "200 OK" "$(status "$work/slow.headers")"
same "a slow reader: every byte" "$media/sample.mp4" "$work/slow.body"
holds "a slow reader: it took over 10 s ($took s)" test "${took%.*}" -ge 10
finish
