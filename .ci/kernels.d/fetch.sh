# Fetches kernels. To be sourced, after debian.sh.

# The row of the table for a kernel: ARCH FROM BELOW WANTED REWRITES STANDS-FOR.
row() {
    # Names are compared as strings: 5.1 and 5.10 are the same number.
    awk -v name="$1" '!/^#/ && $1 "" == name "" { $1 = ""; print substr($0, 2); found = 1 } END { exit !found }' "$here/table"
}

# The architecture of a kernel of the table.
arch_of() { row "$1" | cut -d' ' -f1; }

# What apt offers for a row of the table: "VERSION PACKAGE PACKAGE-VERSION" in the order in which to try.
candidates() {
    awk -v arch="$1" -v from="$2" -v below="$3" -v wanted="$4" '
        function number(version,    part) { split(version, part, "."); return part[1] * 1e6 + part[2] * 1e3 + part[3] }
        $2 ~ "-cloud-" arch "(-unsigned)?$" && number($1) >= number(from) && number($1) < number(below) {
            print ($1 == wanted), $0
        }' "$cache/apt-$1/kernels" | sort -k1,1nr -k2,2Vr -k4,4Vr -k3,3 | cut -d' ' -f2-
}

# Puts a kernel into $cache/kernels/NAME: `vmlinuz`, `config`, and `version` (of Linux) and `package` in words.
fetch_kernel() {
    local name=$1 kernel=$cache/kernels/$1 arch from below wanted upstream package version work vmlinuz
    [ ! -e "$kernel/vmlinuz" ] || return 0
    read -r arch from below wanted _ < <(row "$name")
    private_apt "$arch" || return 1
    mkdir -p "$cache/kernels"
    # The lock is ours, so these are what was interrupted.
    rm -rf "$cache/kernels/.$name".*
    while read -r upstream package version; do
        work=$(mktemp -d "$cache/kernels/.$name.XXXXXX")
        if (cd "$work" && apt-get -qq download "$package=$version" >download.log 2>&1 && dpkg -x ./*.deb tree) &&
            vmlinuz=$(find "$work/tree" -type f -name 'vmlinuz*' | grep .); then
            mv "$vmlinuz" "$work/vmlinuz"
            find "$work/tree" -type f -name 'config*' -exec mv {} "$work/config" \;
            rm -rf "$work/tree" "$work"/*.deb "$work/download.log"
            echo "$upstream" >"$work/version"
            echo "$package $version" >"$work/package"
            chmod 755 "$work"
            mv -T "$work" "$kernel"
            echo "$name: fetched Linux $upstream ($package $version)"
            [ "$wanted" = newest ] || [ "$wanted" = "$upstream" ] ||
                echo "$name: Linux $wanted is not offered any more"
            return 0
        fi
        # A package without a kernel only depends on the one that has it, and says nothing.
        [ ! -s "$work/download.log" ] || sed "s/^/$name: $package: /" "$work/download.log" >&2
        rm -rf "$work"
    done < <(candidates "$arch" "$from" "$below" "$wanted")
    echo "$name: no kernel from $from on and below $below can be fetched" >&2
    return 1
}

# Debian's static busybox for ARCH, as $cache/busybox-ARCH.
fetch_busybox() {
    local arch=$1 work
    [ ! -e "$cache/busybox-$arch" ] || return 0
    private_apt "$arch"
    work=$(mktemp -d "$cache/.busybox.XXXXXX")
    (
        cd "$work"
        apt-get -qq download busybox-static >log 2>&1 || { cat log >&2; exit 1; }
        dpkg -x ./*.deb tree
    )
    mv "$(find "$work/tree" -type f -path '*/bin/busybox')" "$cache/busybox-$arch"
    rm -rf "$work"
}
