# The disk with the checkout's part: its files, and what was built of it. To be sourced, after userland.sh.

# Cargo's target for ARCH. rust-lld links what is static, so no compiler for arm64 is needed. .ci/systemd
# builds for the same target and profile.
target_of() { case $1 in amd64) echo x86_64-unknown-linux-musl ;; arm64) echo aarch64-unknown-linux-musl ;; esac; }

# Where cargo puts what it builds for ARCH.
built_in() { echo "$target/$(target_of "$1")/guest"; }

# Builds knobgate and the tests on the kernel for ARCH, once for all its kernels. Writes cargo's messages, one JSON object
# a line.
build_checkout() {
    local triple what
    triple=$(target_of "$1")
    local tests='--test kernel --test snapshot --test hook --test compiler --test scenario --test knobs'
    read -ra what <<<"${KNOBGATE_KERNELS_BUILD:---workspace $tests}"
    cd "$checkout" || return 1
    rustup -q target add "$triple" || return 1
    export CARGO_TARGET_{X86_64,AARCH64}_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
    "${CARGO:-cargo}" test --profile guest --locked --no-run --target "$triple" "${what[@]}" \
        --message-format=json-render-diagnostics >"$2"
}

# Makes a disk of the checkout's files and of what cargo's messages name.
checkout_disk() {
    local messages=$1 image=$2 tree name executable
    tree=$(mktemp -d "$run/checkout.XXXXXX")
    mkdir -p "$tree/root$checkout" "$tree/tests"
    (
        cd "$checkout"
        # With what is not committed, and without what has been removed.
        git ls-files --cached --others --exclude-standard -z | while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file"
        done | tar --null --files-from=- -cf -
    ) | tar -C "$tree/root$checkout" -xf -
    # A test is called NAME-HASH, and is found in the guest as /tests/NAME as well. Three crates have one of their own, which
    # is found by the crate's name.
    mkdir -p "$tree/root$target/tmp"
    while read -r name executable; do
        install -D -m 755 "$executable" "$tree/root$executable"
        [ "$name" = - ] || ln -s "$executable" "$tree/tests/$name"
    done < <(python3 - "$messages" <<-'PYTHON'
		import json, os, sys
		for line in open(sys.argv[1]):
		    message = json.loads(line)
		    if message["reason"] != "compiler-artifact" or not message["executable"]:
		        continue
		    kind, name = message["target"]["kind"], message["target"]["name"]
		    crate = os.path.basename(os.path.dirname(message["manifest_path"]))
		    if kind == ["bin"]:
		        print("-", message["executable"])
		    elif kind == ["test"] and crate == "testing":
		        print(name, message["executable"])
		    elif kind == ["test"] and (name == "kernel" or (crate, name) == ("agent", "knobs")):
		        print(crate, message["executable"])
	PYTHON
    )
    [ -n "$(ls "$tree/tests")" ] || { echo 'cargo has built no test on the kernel' >&2; return 1; }
    printf '%s\n' "$checkout" >"$tree/mounts"
    case $target in
    "$checkout"/*) ;;
    *) printf '%s\n' "$target" >>"$tree/mounts" ;;
    esac
    cp -r "$here/guest" "$tree/guest"
    truncate -s "$(($(du -sm "$tree" | cut -f1) * 5 / 4 + 64))M" "$image"
    mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E root_owner=0:0 -d "$tree" "$image"
    rm -rf "$tree"
}
