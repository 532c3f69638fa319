#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "range request"
pair

file=$media/sample.mp4
size=$(size "$file")

# range: what is asked for, first and last byte of what comes
range() {
  get part /sample.mp4 -H "Range: bytes=$1"
  equal "bytes=$1" "206 Partial Content" "$(status "$work/part.headers")"
  equal "bytes=$1: Content-Range" "bytes $2-$3/$size" "$(header Content-Range "$work/part.headers")"
  equal "bytes=$1: Content-Length" "$(($3 - $2 + 1))" "$(header Content-Length "$work/part.headers")"
  tail -c +"$(($2 + 1))" "$file" | head -c "$(($3 - $2 + 1))" >"$work/wanted"
  same "bytes=$1: the bytes" "$work/wanted" "$work/part.body"
}

range 0-0 0 0
range 0-99 0 99
range 65530-131080 65530 131080
range 700000- 700000 $((size - 1))
range -500 $((size - 500)) $((size - 1))
range 1000-99999999 1000 $((size - 1))

get beyond /sample.mp4 -H "Range: bytes=$size-"
equal "beyond the end" "416 Requested Range Not Satisfiable" "$(status "$work/beyond.headers")"
equal "beyond the end: Content-Range" "bytes */$size" "$(header Content-Range "$work/beyond.headers")"

get several /sample.mp4 -H "Range: bytes=0-9,100-109"
equal "two ranges" "206 Partial Content" "$(status "$work/several.headers")"
case $(header Content-Type "$work/several.headers") in
"multipart/byteranges; boundary="*) pass "two ranges: multipart/byteranges" ;;
*) fail "two ranges: multipart/byteranges" "$(header Content-Type "$work/several.headers")" ;;
esac
finish
