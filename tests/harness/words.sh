# Messages of the scripts that `make` runs. Sourced.

say() { echo "==> $*" >&2; }
die() { printf '%s\n' "$@" >&2; exit 1; }

# Runs a command with long output, and if it fails shows only the lines that match PATTERN, five at most.
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

# The prefix of a command that only root may run.
with_sudo() { [ "$(id -u)" = 0 ] || echo "sudo "; }
