#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "names, and one port for visitors and origins"
own_root
token=$(openssl rand -hex 16)
echo "$token * photos.example.net" >"$work/token"
chmod 600 "$work/token"
start_p -t --domain example.org,example.com --token-file "$work/token" || finish
# What goes out is the front port's alone.
control=$front
start_c --token-file "$work/token" --server-name localhost --name München
first=$c_pid
mkdir "$work/photos" && cp "$root/image.jpg" "$work/photos" && root=$work/photos
start_c --token-file "$work/token" --server-name localhost --name photos.example.net
trap 'stop "$first"; tidy' EXIT
port=${front##*:}
connected() { [ "$(fetch -o /dev/null -w '%{http_code}' "http://$admin/readyz?origin=$1")" = 200 ]; }
holds "a name with an umlaut is connected" wait_for 60 connected xn--mnchen-3ya
holds "a host's name is connected" wait_for 60 connected photos.example.net

asked() { fetch -k --connect-to "::$front" "$@"; }
same "by one domain" "$media/image.jpg" <(asked "https://xn--mnchen-3ya.example.org:$port/image.jpg")
same "by the other" "$media/image.jpg" <(asked "https://xn--mnchen-3ya.example.com:$port/image.jpg")
same "by its host" "$media/image.jpg" <(asked "https://photos.example.net:$port/image.jpg")
equal "below its host: the default origin, which is away" 503 "$(asked -o /dev/null -w '%{http_code}' "https://a.photos.example.net:$port/")"
says() { grep -Fq "$1" "$work/c.log"; }
holds "c says where visitors come" says "msg=\"serving $work/photos at https://photos.example.net:$port/\""
holds "and by which domains" says "at https://xn--mnchen-3ya.example.org:$port/ and https://xn--mnchen-3ya.example.com:$port/"
holds "c shows the name as it was written" says "written=münchen"
(cd "$top" && timeout 10 bin/c --name pаypal) >"$work/refused" 2>&1
equal "a name that looks like another: exit status" 2 $?
equal "and one line" 1 "$(wc -l <"$work/refused")"
finish
