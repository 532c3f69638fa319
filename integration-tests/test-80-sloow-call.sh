#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "sloow call"
# curl keeps to its rate on the average only: it takes up to eight megabytes at once
# first. So this needs a larger file than a pair that runs has.
own_root
big_file
own_pair
head -c 1200000 "$big" >"$work/form"

exec_fetch --limit-rate 100000 -D "$work/sent.headers" -o "$work/sent.body" -w '%{time_total}' --data-binary "@$work/form" "http://$front/image.jpg" >"$work/sent.took" &
sender=$!
took=$(get slow /big.bin --limit-rate 800000 -w '%{time_total}')
equal "a slow download" "200 OK" "$(status "$work/slow.headers")"
same "a slow download: every byte" "$big" "$work/slow.body"
holds "a slow download: it took over 10 s ($took s)" test "${took%.*}" -ge 10

wait "$sender"
took=$(cat "$work/sent.took")
headers "a slow upload" post.headers "$work/sent.headers"
equal "a slow upload: every byte" "sha-256=:$(openssl dgst -sha256 -binary "$work/form" | openssl base64 -A):" "$(header X-Received-Digest "$work/sent.headers")"
holds "a slow upload: it took over 10 s ($took s)" test "${took%.*}" -ge 10
finish
