#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "an invitation sets up another machine"
own_root
printf 'sesame *\n' >"$work/tokens"
pidfile=$work/pid
start_p --token-file "$work/tokens" --domain example.test --pid-file "$pidfile" || finish

# The other machine: a folder without certificates and tokens. Nothing but the
# invitation gets there.
for program in p c; do holds "bin/$program wants no library" sh -c "! grep -q 'ld-linux\|ld-musl' '$top/bin/$program'"; done
other=$work/other
mkdir "$other"
invite() { (cd "$top" && bin/p invite "$@" --address "localhost:${control##*:}" --token-file "$work/tokens" --pid-file "$pidfile" 2>>"$work/invite.log"); }
there() { (cd "$other" && exec "$top/bin/c" "$@" --drain 2s) >>"$work/c.log" 2>&1 </dev/null; }
start_there() {
  (cd "$other" && exec "$top/bin/c" "$@" --drain 2s) >>"$work/c.log" 2>&1 </dev/null &
  c_pid=$!
}
serves() { fetch -f -H 'Host: photos.example.test' "http://$front/image.jpg" 2>/dev/null | cmp -s - "$media/image.jpg"; }

code=$(invite photos)
equal "what is printed is an invitation" spdy1. "${code:0:6}"
holds "the token file has a second line" grep -q ' photos join-by=.*Z  # invited on ' "$work/tokens"
start_there --join "$code" --root "$root"
holds "the first start: it serves" wait_for 60 serves
settled() { grep -q ' photos  # invited on ' "$work/tokens"; }
holds "it was used, and has no end any more" wait_for 60 settled
stop "$c_pid"
equal "what it keeps is its owner's alone" 600 "$(stat -c %a "$other/state/invitation")"
start_there --root "$root"
holds "the next start, without the invitation: it serves" wait_for 60 serves

(cd "$top" && bin/p token remove photos --token-file "$work/tokens" --pid-file "$pidfile" >/dev/null 2>&1)
gone_again() { ! serves; }
holds "taken back, it serves no more" wait_for 60 gone_again
stop "$c_pid"
c_pid=''
rm -r "$other/state"
: >"$work/c.log"
there --join "$code" --root "$root"
equal "taken back, it is refused" 2 $?
equal "in one line" 1 "$(wc -l <"$work/c.log")"
holds "which says why" grep -q 'it was taken back, or' "$work/c.log"
holds "and nothing is kept" test ! -e "$other/state"
code=$(invite photos)
there --join "${code/1/2}" --root "$root"
equal "mistyped, it is refused" 2 $?
: >"$work/c.log"
there --join "$(invite late --expires 1ms)" --root "$root"
equal "too late, it is refused" 2 $?
equal "in one line, too" 1 "$(wc -l <"$work/c.log")"
holds "which says that" grep -q 'the invitation has expired: it had to be used by' "$work/c.log"
holds "and so does p token list" grep -q 'late, an invitation that was not used by' <(cd "$top" && bin/p token list --token-file "$work/tokens")
start_there --join "$(invite late)" --root "$root" --state "$other/late"
late() { fetch -f -H 'Host: late.example.test' "http://$front/image.jpg" 2>/dev/null | cmp -s - "$media/image.jpg"; }
holds "another of that name is made, and does" wait_for 60 late
finish
