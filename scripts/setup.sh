# Sourced by ./general-level and ./test: makes the virtual environment .venv on first use and
# whenever the locked requirements change. Needs Python 3.11 or newer, nothing else.
#   setup <lock file>
setup() {
    local python="${PYTHON:-python3}" locks stamp=".venv/.installed-$(basename "$1" .lock)"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2
        return 1
    }
    locks=$(cat "$1" pyproject.toml | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$locks" ] && return 0
    echo "Setting up .venv (once, about a minute) ..." >&2
    [ -x .venv/bin/python ] || "$python" -m venv .venv || return 1
    install_locked "$1" >&2 || return 1
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation --editable . >&2 || return 1
    .venv/bin/python -m compileall -q flows tasks sql
    echo "$locks" > "$stamp"
}

# Installs a lock file with uv, which takes seconds where pip takes minutes; with pip where uv cannot
# be had or does not get through, as it reads none of pip's settings but the index.
install_locked() {
    local pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check)
    # What is installed is what was locked, bit for bit.
    local locked=(--require-hashes -r "$1")
    if "${pip[@]}" install --require-hashes -r scripts/uv.lock; then
        local index="${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$("${pip[@]}" config get global.index-url 2>/dev/null)}}"
        # Compiled now, as our own code is: some systems have Python keep nothing that it compiles.
        .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python \
            ${index:+--default-index "$index"} "${locked[@]}" && return 0
    fi
    "${pip[@]}" install "${locked[@]}"
}
