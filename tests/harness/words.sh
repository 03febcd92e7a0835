# How the scripts that `make` runs speak. Sourced.

say() { echo "==> $*" >&2; }
die() { printf '%s\n' "$@" >&2; exit 1; }

# Runs a command that writes hundreds of lines, and shows of them only those that say why it failed, five at most.
# Usage: in_short PATTERN COMMAND [ARGUMENTS]
in_short() {
    local pattern=$1 output found
    shift
    output=$("$@" 2>&1 < /dev/null) && return
    found=$(grep -E "$pattern" <<< "$output" | awk '!seen[$0]++' | head -n5) || true
    [ -n "$found" ] || found=$(tail -n5 <<< "$output")
    printf '%s\n' "$found" >&2
    return 1
}

# What to put before a command that only root may run.
with_sudo() { [ "$(id -u)" = 0 ] || echo "sudo "; }
