# Boots a kernel and has it run a job. To be sourced.

# How long a guest may take until it begins with its job, in seconds. Several of them on busy cores take up to a minute.
readonly boot_limit=300

# Boots kernel NAME with the userland, the checkout's disk and the job in DIRECTORY: a script, `command`. Keeps there
# what is printed: `output`, by the job; `console`, by the kernel. And in `status` the job's exit status, or why there is
# none; in `suites` what the suites have reported. Returns the job's exit status, or 125. To be run in a subshell.
boot() {
    local name=$1 directory=$2 attempt
    tar -C "$directory" -cf "$directory/job.tar" command
    trap 'exit 125' TERM INT
    trap '[ -z "${qemu:-}" ] || kill "$qemu" 2>/dev/null || true' EXIT
    for attempt in 1 2; do
        boot_once "$name" "$directory"
        grep -aq 'guest: begin' "$directory/console" && break
        if [ $attempt = 1 ]; then
            echo "$name: does not boot; trying once more" >&2
            mv "$directory/console" "$directory/first-console"
        fi
    done
    rm -f "$directory/job.tar"
    times >"$directory/times"
    awk 'NR == 2 { split($1, user, /[ms]/); print int(user[1] * 60 + user[2]) }' "$directory/times" >"$directory/processor"
    judge "$directory"
}

# A guest on a busy host stands still at times. Its kernel is told not to complain of that (nowatchdog and the next two),
# and to believe in its timer though the first ticks come late (no_timer_check).
boot_once() {
    local name=$1 directory=$2 started=$SECONDS begun=
    : >"$directory/console"
    : >"$directory/output"
    rm -f "$directory/late"
    TMPDIR=$directory qemu-system-x86_64 -M q35 -accel tcg,tb-size=256 -cpu max -smp "$smp" -m "$memory" \
        -nodefaults -no-user-config -display none -no-reboot -snapshot \
        -drive "file=$userland,if=none,id=root,format=raw" -device nvme,drive=root,serial=root \
        -drive "file=$checkout_image,if=none,id=checkout,format=raw" -device nvme,drive=checkout,serial=checkout \
        -drive "file=$directory/job.tar,if=none,id=job,format=raw" -device nvme,drive=job,serial=job \
        -serial "file:$directory/console" -serial "file:$directory/output" \
        -kernel "$cache/kernels/$name/vmlinuz" \
        -append "no_timer_check nowatchdog workqueue.watchdog_thresh=0 rcupdate.rcu_cpu_stall_suppress=1 console=ttyS0 root=PARTUUID=$userland_signature-01 rootfstype=ext4 rootwait rw init=/sbin/first \
quiet loglevel=5 printk.devkmsg=on oops=panic panic=-1 mitigations=off tsc=reliable" \
        </dev/null >"$directory/qemu" 2>&1 &
    qemu=$!
    while kill -0 "$qemu" 2>/dev/null; do
        sleep 0.5
        if [ -z "$begun" ] && grep -aq 'guest: begin' "$directory/console"; then begun=$SECONDS; fi
        if { [ -z "$begun" ] && [ $((SECONDS - started)) -gt "$boot_limit" ]; } ||
            { [ -n "$begun" ] && [ $((SECONDS - begun)) -gt "$guest_limit" ]; }; then
            echo "not at its end after $((SECONDS - started)) s" >"$directory/late"
            kill "$qemu" 2>/dev/null || true
        fi
    done
    wait "$qemu" || true
    qemu=
}

# Reads from the console how a guest ended.
judge() {
    local directory=$1 console status fault why
    console=$directory/console
    sed -i 's/\r$//' "$console"
    status=$(sed -n 's/^.*guest: end \([0-9]*\)$/\1/p' "$console" | tail -n 1)
    sed -n 's/^.*guest: suite //p' "$console" >"$directory/suites"
    # What comes after the end is of powering off.
    fault=$(sed '/guest: end [0-9]*$/q' "$console" |
        grep -aE 'BUG: |kernel BUG at|Oops: |Kernel panic|general protection fault' | head -n 1 || true)
    if [ -n "$fault" ]; then
        why="the kernel failed: ${fault#*] }"
    elif [ -n "$status" ]; then
        echo "$status" >"$directory/status"
        return "$status"
    elif [ -e "$directory/late" ]; then
        why=$(cat "$directory/late")
    elif grep -aq 'guest: begin' "$console"; then
        why='the guest ended before its job did'
    else
        why='does not boot'
    fi
    echo "$why" >"$directory/status"
    return 125
}
