#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "head req"
pair

for name in image.jpg sample.mp4; do
  get head "/$name" --head
  headers "$name: status and headers" "$name.headers" "$work/head.headers"
  get whole "/$name"
  for field in Content-Type Content-Length Last-Modified ETag; do
    equal "$name: $field as in GET" "$(header "$field" "$work/whole.headers")" "$(header "$field" "$work/head.headers")"
  done
done
# A body after a HEAD would be read as the next answer of the connection.
fetch -I "http://$front/image.jpg" -o "$work/one" --next -q -sS --noproxy '*' "http://$front/image.jpg" -o "$work/two"
same "the next answer of the same connection" "$media/image.jpg" "$work/two"
get nowhere /no-such-file --head
equal "a name that is not there" "404 Not Found" "$(status "$work/nowhere.headers")"
finish
