# Sourced by ./general-level and ./test: makes the virtual environment .venv on first use and
# whenever the locked requirements change. Needs Python 3.11 or newer, nothing else.
#   setup <lock file>...
setup() {
    local python="${PYTHON:-python3}" stamp locks
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2
        return 1
    }
    locks=$(cat "$@" pyproject.toml | cksum)
    stamp=".venv/.installed-$(basename "$1" .lock)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$locks" ] && return 0
    echo "Setting up .venv (once, about a minute) ..." >&2
    [ -x .venv/bin/python ] || "$python" -m venv .venv || return 1
    local lock requirements=()
    for lock in "$@"; do requirements+=(-r "$lock"); done
    # --require-hashes: what is installed is what was locked, bit for bit.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
        "${requirements[@]}" >&2 || return 1
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation --editable . >&2 || return 1
    echo "$locks" > "$stamp"
}
