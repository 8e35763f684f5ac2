#!/usr/bin/env bash
# Locks the dependencies of pyproject.toml, with hashes, for every platform:
# requirements.lock (to run) and requirements-dev.lock (to run and to test); and uv, which
# installs them, in scripts/uv.lock.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() {
    uv pip compile --universal --python-version 3.11 --generate-hashes \
        --no-annotate --no-emit-index-url --no-header --upgrade --quiet "$@"
}
# setuptools builds the package itself, with isolation off so that nothing unlocked is fetched.
build=$(mktemp) installer=$(mktemp)
trap 'rm -f "$build" "$installer"' EXIT
echo "setuptools>=77" > "$build"
echo "uv>=0.9" > "$installer"
# The checkout has the site at hand; an installed wheel asks for the extra.
compile pyproject.toml "$build" --extra site --output-file requirements.lock
compile pyproject.toml "$build" --extra site --group dev --output-file requirements-dev.lock
compile "$installer" --output-file scripts/uv.lock
