# Questions to PG_CONFIG, which is the pg_config that the user named or the one on the PATH. Sourced, after words.sh.

PG_CONFIG=${PG_CONFIG:-pg_config}

pg() { "$PG_CONFIG" "$1" 2> /dev/null; }

# Its absolute path, or nothing if it is not there.
path_of_pg_config() {
    case $PG_CONFIG in
        */*) [ ! -f "$PG_CONFIG" ] || echo "$(cd "$(dirname "$PG_CONFIG")" && pwd)/$(basename "$PG_CONFIG")" ;;
        *) command -v -- "$PG_CONFIG" || true ;;
    esac
}

major_version() { pg --version | sed -nE 's/^PostgreSQL ([0-9]+).*/\1/p'; }

# Those in the directories of packages.
pg_configs_of_packages() { compgen -G '/usr/lib/postgresql/*/bin/pg_config' || compgen -G '/usr/pgsql-*/bin/pg_config' || true; }

is_not_there() {
    local there
    [ ! -d "$PG_CONFIG" ] || die "PG_CONFIG=$PG_CONFIG is a directory, and takes a program: PG_CONFIG=${PG_CONFIG%/}/pg_config"
    case $PG_CONFIG in
        */*) echo "PG_CONFIG=$PG_CONFIG does not exist." >&2 ;;
        *) echo "PG_CONFIG=$PG_CONFIG is not on the PATH." >&2 ;;
    esac
    if [[ $PG_CONFIG =~ ^/usr/lib/postgresql/([0-9]+)/bin/pg_config$ ]] && command -v apt-get > /dev/null; then
        echo "To have it: $(with_sudo)apt-get install postgresql-server-dev-${BASH_REMATCH[1]}" >&2
    fi
    mapfile -t there < <(pg_configs_of_packages)
    die "${there[@]/#/There is: make PG_CONFIG=}"
}

# Stops with a message if it is wrong. It may be missing if the user has not named it: packages bring it.
check_pg_config() {
    local path said
    path=$(path_of_pg_config)
    if [ -z "$path" ]; then
        [ "$PG_CONFIG" = pg_config ] || is_not_there
        return 0
    fi
    [ -x "$path" ] || die "PG_CONFIG=$PG_CONFIG is not executable."
    said=$("$PG_CONFIG" --version 2>&1 < /dev/null | head -n1) || true
    case $said in
        "PostgreSQL "[0-9]*) ;;
        # Debian's, as long as there is none that it could run.
        "You need to install postgresql-server-dev"*) ;;
        *) die "PG_CONFIG=$PG_CONFIG is no pg_config: asked for --version, it says \"$said\"." ;;
    esac
}
