#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "root with If-Modified-Since and If-None-Match"
pair

for path in /image.jpg /sample.mp4; do
  get first "$path"
  equal "$path" "200 OK" "$(status "$work/first.headers")"
  modified=$(header Last-Modified "$work/first.headers")
  etag=$(header ETag "$work/first.headers")
  holds "$path tells when it was modified" test -n "$modified"

  get again "$path" -H "If-Modified-Since: $modified"
  equal "$path, not modified since" "304 Not Modified" "$(status "$work/again.headers")"
  equal "$path, not modified since: no body" 0 "$(size "$work/again.body")"

  get old "$path" -H "If-Modified-Since: Mon, 02 Jan 2006 15:04:05 GMT"
  equal "$path, modified since" "200 OK" "$(status "$work/old.headers")"
  same "$path, modified since: the body" "$media/${path#/}" "$work/old.body"

  get tagged "$path" -H "If-None-Match: $etag"
  equal "$path, the same ETag" "304 Not Modified" "$(status "$work/tagged.headers")"
  get other "$path" -H 'If-None-Match: "another"'
  equal "$path, another ETag" "200 OK" "$(status "$work/other.headers")"
done

# A listing has no time of its own: that of its folder misses most changes.
get root /
equal "/" "200 OK" "$(status "$work/root.headers")"
equal "/ tells no time of change" "" "$(header Last-Modified "$work/root.headers")"
finish
