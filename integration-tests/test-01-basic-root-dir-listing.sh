#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "basic root dir listing"
pair

get listing /
headers "status and headers" listing.headers "$work/listing.headers"
# One link a file, in order. Names that a URL has to escape are left out on both
# sides, and folders: the running pair's folder may hold anything.
grep -Eo 'href="(\./)?[A-Za-z0-9._-]+"' "$work/listing.body" | sed -E 's/^href="(\.\/)?(.*)"$/\2/' >"$work/links"
for f in "$root"/*; do [ ! -f "$f" ] || printf '%s\n' "${f##*/}"; done | grep -Ex '[A-Za-z0-9._-]+' >"$work/files"
same "one link a file, sorted" "$work/files" "$work/links"
[ "$root" = "$top/testdata" ] || same "the five samples" "$reference/listing.links" "$work/links"

get nowhere /no-such-file
equal "a name that is not there" "404 Not Found" "$(status "$work/nowhere.headers")"
get outside /../certs/p.key --path-as-is
equal "a name outside the folder" "404 Not Found" "$(status "$work/outside.headers")"
finish
