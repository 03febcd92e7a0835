# apt-get with sources, lists and a state of its own, for other releases of Debian than the machine's. Sourced; nothing of the machine's
# is changed. The caller sets `apt_root`, a directory for all of it.

# Where this machine's packages of Debian itself come from, and not those of security updates or of others, PostgreSQL's for instance.
debian_archive() {
    local found
    found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sort -u | head -n1)
    if [ -z "$found" ]; then
        local sudo=()
        [ "$(id -u)" = 0 ] || sudo=(sudo)
        "${sudo[@]}" apt-get -qq update
        found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sort -u | head -n1)
    fi
    echo "$found"
}

# Usage: own_sources deb|deb-src SUITE...
own_sources() {
    local type=$1 archive suite
    shift
    archive=$(debian_archive)
    [ -n "$archive" ] || return 1
    mkdir -p "$apt_root/lists/partial" "$apt_root/cache/archives/partial"
    : > "$apt_root/status" # as if nothing were installed
    for suite in "$@"; do
        printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' "$type" "$archive" "$suite" \
            /usr/share/keyrings/debian-archive-keyring.gpg
    done > "$apt_root/own.sources"
    # Of the last suite where PostgreSQL and its library come from, the others bring what they need.
    printf 'Package: postgresql* libpq5\nPin: release a=%s\nPin-Priority: 900\n' "${!#}" > "$apt_root/preferences"
    own_apt apt-get -qq update
}

# Usage: own_apt apt-get|apt-cache ARGUMENTS. A mirror may lag behind; what it has is signed all the same.
own_apt() {
    "$1" -o Dir::Etc::sourcelist="$apt_root/own.sources" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences="$apt_root/preferences" -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$apt_root/lists" \
        -o Dir::State::status="$apt_root/status" -o Dir::Cache="$apt_root/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Check-Valid-Until=false "${@:2}"
}
