# Debian's userland for the guests, as a disk image that no guest changes. To be sourced, after debian.sh.

# What the tests, the README and its examples use, besides what every Debian has. The C compiler is a small one: with
# gcc the image is twice as large, and a test takes ten seconds more to compile its five lines.
readonly userland_packages=bash,bsdutils,busybox-static,iproute2,libc6-dev,procps,python3-minimal,runc,tcc,tmux,util-linux,util-linux-extra

# How the kernel finds its root: by this disk signature, since NVMe disks come in any order.
readonly userland_signature=6b6e6f62

# The guests run what was built here, and so need a C library that is not older than the one here.
userland_suite() { (. /etc/os-release && echo "${VERSION_CODENAME:?this is no Debian}"); }

# The path of the image for ARCH. It is another one when it is to be made in another way.
userland_image() {
    local key
    key=$(cat "$here/userland.sh" "$here/guest/first" | sha256sum | head -c 12)
    echo "$cache/userland-$(userland_suite)-$1-$key.img"
}

# Makes the image for ARCH where it is not there yet.
ensure_userland() {
    local arch=$1 userland suite tree foreign=()
    userland=$(userland_image "$arch")
    suite=$(userland_suite)
    [ ! -e "$userland" ] || return 0
    # The lock is ours, so these are what was interrupted.
    rm -rf "$cache"/.userland.*
    tree=$(mktemp -d "$cache/.userland.XXXXXX")
    echo "making the guests' userland, Debian $suite for $arch"
    [ "$arch" = "$(dpkg --print-architecture)" ] || foreign=(--foreign)
    if ! debootstrap --variant=minbase --arch="$arch" "${foreign[@]}" --keyring="$keyring" \
        --include="$userland_packages" "$suite" "$tree/root" "$(mirror debian)" >"$tree/log" 2>&1 ||
        { [ ${#foreign[@]} -gt 0 ] && ! unpack_foreign "$tree/root" >>"$tree/log" 2>&1; }; then
        tail -n 20 "$tree/log" >&2
        rm -rf "$tree"
        return 1
    fi
    rm -rf "$tree"/root/var/{cache/apt,lib/apt/lists,log} "$tree"/root/usr/share/{doc,info,locale,man,zoneinfo}
    install -m 755 "$here/guest/first" "$tree/root/sbin/first"
    ln -sf tcc "$tree/root/usr/bin/cc"
    echo guest >"$tree/root/etc/hostname"
    mkdir -p "$tree/root/checkout"
    write_disk "$tree/root" "$tree/image" "$(($(du -sm "$tree/root" | cut -f1) * 5 / 4 + 64))"
    mv "$tree/image" "$userland"
    rm -rf "$tree"
}

# Makes a userland of what debootstrap has fetched for another architecture, whose programs do not run here. So no package's
# script is run: its files are unpacked, and what the tests need from the scripts is made here.
unpack_foreign() {
    local root=$1 directory package
    # In a container, debootstrap makes links of these.
    for directory in dev proc; do
        [ ! -L "$root/$directory" ] || rm "$root/$directory" || return 1
    done
    for package in "$root"/var/cache/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -C "$root" --keep-directory-symlink -xf - || return 1
    done
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd" &&
        cp "$root/usr/share/base-passwd/group.master" "$root/etc/group" &&
        ln -sf mawk "$root/usr/bin/awk" &&
        mkdir -p "$root"/{media,mnt,opt,srv} &&
        rm -rf "$root/debootstrap"
}

# A partition with a directory's files, and that many megabytes.
write_disk() {
    local directory=$1 image=$2 size=$3
    truncate -s "$((size + 1))M" "$image"
    mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E offset=1048576,root_owner=0:0 -d "$directory" "$image" "${size}M"
    python3 - "$image" "$userland_signature" "$size" <<-'PYTHON'
		import struct, sys
		image, signature, megabytes = sys.argv[1:]
		# A boot record: the disk's signature, and one partition of Linux (0x83) after the first megabyte.
		partition = struct.pack("<4xB3xII", 0x83, 2048, int(megabytes) * 2048)
		with open(image, "r+b") as disk:
		    disk.seek(440)
		    disk.write(struct.pack("<I2x", int(signature, 16)) + partition + bytes(48) + b"\x55\xaa")
	PYTHON
}
