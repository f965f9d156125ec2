# Debian's archive, by a private apt: its own list of sources and cache, the machine's mirror, proxy and keyring.
# To be sourced; $cache is where everything that is downloaded stays.

# Installs the packages in the array `packages` that are missing. It maps each to a file that it has.
install_packages() {
    local package missing=()
    for package in "${!packages[@]}"; do
        [ -e "${packages[$package]}" ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
}

# The mirror that the machine's own apt uses: prints its URI, for Debian or (with -security) for the updates.
mirror() {
    local wanted=$1 uri
    while read -r uri; do
        uri=${uri%/}
        case $uri in
        */debian) [ "$wanted" = debian ] && echo "$uri" && return ;;
        */debian-security) [ "$wanted" = debian-security ] && echo "$uri" && return ;;
        esac
    done < <(env -u APT_CONFIG apt-get indextargets --format '$(REPO_URI)' | sort -u)
    # The two are next to each other on every mirror.
    [ "$wanted" = debian-security ] && uri=$(mirror debian) && echo "$uri-security"
}

readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Points APT_CONFIG at the private configuration for ARCH, and fetches its lists of packages: once in a run.
declare -A private_apt_is_ready
private_apt() {
    local arch=$1 apt=$cache/apt-$1 uri security suite
    export APT_CONFIG=$apt/apt.conf
    [ -z "${private_apt_is_ready[$arch]:-}" ] || return 0
    uri=$(mirror debian) || { echo "no mirror of Debian among this machine's apt sources" >&2; return 1; }
    security=$(mirror debian-security)
    [ -r "$keyring" ] || { echo "no $keyring: install debian-archive-keyring" >&2; return 1; }
    mkdir -p "$apt"/{lists,archives}/partial
    : >"$apt/status"
    # What is fetched is old on purpose, and its signature is checked. Only its age is not: mirrors that lag, or are
    # kept as they were on a day, have lists past their date.
    cat >"$apt/apt.conf" <<-CONF
		APT::Architecture "$arch";
		APT::Architectures "$arch";
		Dir::State::Lists "$apt/lists";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt";
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Acquire::Check-Valid-Until "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
	CONF
    for suite in {bullseye,bookworm,trixie}-security; do
        echo "deb [arch=$arch target=Packages signed-by=$keyring] $security $suite main"
    done >"$apt/sources.list"
    for suite in bullseye bookworm bookworm-backports trixie trixie-backports sid; do
        echo "deb [arch=$arch target=Packages signed-by=$keyring] $uri $suite main"
    done >>"$apt/sources.list"
    echo "fetching the lists of packages for $arch"
    # A suite that is gone from the mirror is no error here: the kernels that it had are then missed one by one.
    if ! apt-get -qq update >"$apt/update.log" 2>&1; then
        cat "$apt/update.log" >&2
        if grep -q NO_PUBKEY "$apt/update.log"; then
            echo 'a key is missing: install the debian-archive-keyring package of a newer Debian' >&2
        fi
    fi
    # All kernels that there are: "LINUX-VERSION PACKAGE PACKAGE-VERSION".
    apt-cache dumpavail | awk '
        /^Package: / { package = $2 }
        /^Version: / { version = linux = $2; sub(/[-~+].*/, "", linux) }
        /^$/ && package ~ /^linux-(image|binary)-[0-9]/ { print linux, package, version }' >"$apt/kernels"
    private_apt_is_ready[$arch]=1
}
