#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "c absent"
own_root
start_p --hold 1s || finish

# 503, with when to come again, one line of text, and the reason.
absent() { # what
  get absent /image.jpg
  headers "$1: status and headers" absent.headers "$work/absent.headers"
  holds "$1: Retry-After" test -n "$(header Retry-After "$work/absent.headers")"
  holds "$1: Proxy-Status" test -n "$(header Proxy-Status "$work/absent.headers")"
  equal "$1: one line of text" 1 "$(wc -l <"$work/absent.body" | tr -d ' ')"
}

absent "p is young, c does not come"
held() { fetch "http://$admin/metrics" | sed -n 's/^spdy_proxy_hold_duration_seconds_count //p'; }
before=$(held)
absent "c was never there"
equal "c was never there: the request was not held" "$before" "$(held)"
equal "p is up without c" 200 "$(fetch -o /dev/null -w '%{http_code}' "http://$admin/readyz")"
equal "the default origin is not ready" 503 "$(fetch -o /dev/null -w '%{http_code}' "http://$admin/readyz?origin=@")"

start_c
holds "c comes" wait_for 60 ours_ready
get there /image.jpg
same "c is there: every byte" "$media/image.jpg" "$work/there.body"

stop "$c_pid"
equal "c ends well when it is asked to" 0 $?
not_ready() { ! ready "$admin"; }
holds "p notices" wait_for 60 not_ready
begun=$(now)
absent "c has left"
took=$(since "$begun")
equal "c has left: the request was held" $((before + 1)) "$(held)"
holds "c has left: the request was held for a second ($took s)" test "${took%.*}" -ge 1

# A request that is held when C comes is answered.
{ fetch -f -o "$work/held.body" "http://$front/image.jpg" 2>/dev/null; echo $? >"$work/held.status"; } &
held=$!
start_c
wait "$held"
equal "c comes back in time: no failure to be seen" 0 "$(cat "$work/held.status")"
same "c comes back in time: every byte" "$media/image.jpg" "$work/held.body"
finish
