#!/bin/sh
# Writes some knobs and shows the result of each. Run it under tour.knob, in its own namespaces, so that the machine's
# values stay untouched:
#
#   knobgate run --policy examples/tour.knob -- unshare --net --uts --ipc sh examples/tour.sh

refuse() {
    echo "$0: $1; run it as its first lines say" >&2
    exit 2
}

for namespace in net uts ipc; do
    ours=$(readlink /proc/self/ns/$namespace) && parents=$(readlink "/proc/$PPID/ns/$namespace") ||
        refuse "cannot tell whether this is a $namespace namespace of its own"
    [ "$ours" != "$parents" ] || refuse "this is not a $namespace namespace of its own"
done
# The policy denies this write. Without the policy, it changes the name of this namespace alone.
if { echo tour >/proc/sys/kernel/domainname; } 2>/dev/null; then
    refuse 'the policy is not in force'
fi

try() {
    knob=$2 value=$3
    before=$(tr '\t' ' ' <"/proc/sys/$knob")
    answer=$(printf '%s\n' "$value" | tee "/proc/sys/$knob" 2>&1 >/dev/null) && answer='the write succeeds'
    after=$(tr '\t' ' ' <"/proc/sys/$knob")
    printf '%s\n    # echo "%s" > /proc/sys/%s\n    %s\n    it was %s and is now %s\n\n' \
        "$1" "$value" "$knob" "${answer##*: }" "$before" "$after"
}

try 'A knob through which containers escape is denied:' kernel/core_pattern '|/tmp/x'
try 'A value inside its bounds passes:' net/ipv4/ip_default_ttl 100
try 'A value outside of them does not:' net/ipv4/ip_default_ttl 255
try 'One that is too large is clamped to the largest:' net/core/somaxconn 9999999
try 'This write is ignored, and its writer none the wiser:' net/ipv4/tcp_syncookies 0
