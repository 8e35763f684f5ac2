#!/usr/bin/env bash
# Locks the dependencies of pyproject.toml, with hashes, for every platform:
# requirements.lock (to run) and requirements-dev.lock (to run and to test).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() {
    uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-annotate --no-emit-index-url --no-header --upgrade --quiet "$@"
}
# setuptools builds the package itself, with isolation off so that nothing unlocked is fetched.
build=$(mktemp)
trap 'rm -f "$build"' EXIT
echo "setuptools>=77" > "$build"
# The checkout has the site at hand; an installed wheel asks for the extra.
compile "$build" --extra site --output-file requirements.lock
compile "$build" --extra site --group dev --output-file requirements-dev.lock
