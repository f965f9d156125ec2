# Boots a kernel and has it run a job. To be sourced.

# How long a guest may take until it begins with its job, in seconds. Several of them on busy cores take up to a minute.
readonly boot_limit=300

# What a machine of ARCH needs here: adds to the array `packages`.
machine_packages() {
    packages[qemu-system-data]=/usr/share/qemu/keymaps/en-us
    case $1 in
    amd64) packages+=([qemu-system-x86]=/usr/bin/qemu-system-x86_64 [seabios]=/usr/share/seabios/bios-256k.bin) ;;
    arm64) packages+=([qemu-system-arm]=/usr/bin/qemu-system-aarch64) ;;
    esac
}

# Sets `machine`, QEMU's command for a machine of ARCH, and `parameters`, what its kernel has to know. Its first serial port
# is the console. The second is for what the job prints: the first process finds its name in the variable `output`.
# Each writes to the file of that name in DIRECTORY.
machine_of() {
    local console=file:$2/console output=$2/output
    case $1 in
    amd64)
        machine=(qemu-system-x86_64 -M q35 -cpu max -serial "$console" -serial "file:$output")
        # It believes in its timer though the first ticks come late on a busy host.
        parameters='console=ttyS0 output=ttyS1 no_timer_check tsc=reliable'
        ;;
    arm64)
        # A newer processor, as "max" is, signs pointers, which QEMU takes long to do.
        machine=(qemu-system-aarch64 -M virt -cpu cortex-a72 -serial "$console"
            -chardev "file,id=output,path=$output" -device pci-serial,chardev=output)
        parameters='console=ttyAMA0 output=ttyS0'
        ;;
    esac
}

# Boots kernel NAME with the userland, the checkout's disk and the job in DIRECTORY: a script, `command`. As boot does.
boot_userland() {
    local name=$1 directory=$2 arch disk disks=() status=0
    arch=$(arch_of "$name")
    tar -C "$directory" -cf "$directory/job.tar" command
    for disk in "root=${userlands[$arch]}" "checkout=${checkouts[$arch]}" "job=$directory/job.tar"; do
        disks+=(-drive "file=${disk#*=},if=none,id=${disk%%=*},format=raw"
            -device "nvme,drive=${disk%%=*},serial=${disk%%=*}")
    done
    boot "$name" "$directory" "root=PARTUUID=$userland_signature-01 rootfstype=ext4 rootwait rw init=/sbin/first" \
        "${disks[@]}" || status=$?
    rm -f "$directory/job.tar"
    return $status
}

# Boots kernel NAME with these PARAMETERS, on a machine with these ARGUMENTS of QEMU. Keeps in DIRECTORY what is printed:
# `output`, by the job; `console`, by the kernel. And in `status` the job's exit status, or why there is none; in
# `suites` what the suites have reported. Returns the job's exit status, or 125. To be run in a subshell.
# usage: boot NAME DIRECTORY PARAMETERS ARGUMENT…
boot() {
    local name=$1 directory=$2 attempt
    trap 'exit 125' TERM INT
    trap '[ -z "${qemu:-}" ] || kill "$qemu" 2>/dev/null || true' EXIT
    for attempt in 1 2; do
        boot_once "$@"
        grep -aq 'guest: begin' "$directory/console" && break
        if [ $attempt = 1 ]; then
            echo "$name: does not boot; trying once more" >&2
            mv "$directory/console" "$directory/first-console"
        fi
    done
    times >"$directory/times"
    awk 'NR == 2 { split($1, user, /[ms]/); print int(user[1] * 60 + user[2]) }' "$directory/times" >"$directory/processor"
    judge "$directory"
}

# A guest on a busy host stands still at times. Its kernel is told not to complain of that (nowatchdog and the next two).
boot_once() {
    local name=$1 directory=$2 more=$3 started=$SECONDS begun= machine parameters
    shift 3
    machine_of "$(arch_of "$name")" "$directory"
    : >"$directory/console"
    : >"$directory/output"
    rm -f "$directory/late"
    TMPDIR=$directory "${machine[@]}" -accel tcg,tb-size=256 -smp "$smp" -m "$memory" \
        -nodefaults -no-user-config -display none -no-reboot -snapshot -kernel "$cache/kernels/$name/vmlinuz" \
        -append "nowatchdog workqueue.watchdog_thresh=0 rcupdate.rcu_cpu_stall_suppress=1 $parameters $more \
quiet loglevel=5 printk.devkmsg=on oops=panic panic=-1 mitigations=off" "$@" \
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
        grep -aE 'BUG: |kernel BUG at|Oops: |Internal error: |Kernel panic|general protection fault' | head -n 1 || true)
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
