#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "basic post"
pair

# post: what, file to send, curl's options... The answer is that of GET, with
# the length and digest of what C received.
post() {
  local what=$1 file=$2
  shift 2
  get post /image.jpg "$@" --data-binary "@$file"
  headers "$what: status and headers" post.headers "$work/post.headers"
  equal "$what: length received" "$(size "$file")" "$(header X-Received-Length "$work/post.headers")"
  equal "$what: digest received" "sha-256=:$(openssl dgst -sha256 -binary "$file" | openssl base64 -A):" "$(header X-Received-Digest "$work/post.headers")"
  same "$what: the body is that of GET" "$media/image.jpg" "$work/post.body"
}

printf 'name=value&other=1' >"$work/form"
: >"$work/nothing"
openssl rand -out "$work/random" 5000000
post "a form" "$work/form"
post "nothing" "$work/nothing"
post "5 MB" "$work/random"
post "5 MB, of no length told" "$work/random" -H 'Transfer-Encoding: chunked'
post "5 MB, after 100 Continue" "$work/random" -H 'Expect: 100-continue'

get put /image.jpg -X PUT --data-binary "@$work/form"
equal "PUT without --upload" "405 Method Not Allowed" "$(status "$work/put.headers")"
holds "PUT without --upload: Allow" test -n "$(header Allow "$work/put.headers")"
finish
