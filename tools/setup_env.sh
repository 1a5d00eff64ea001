#!/usr/bin/env bash
# Makes .venv with the locked packages and this checkout, or reuses it when it is up to date.
# Sourced by the scripts beside it; leaves the interpreter in $PYTHON and the checkout in $ROOT.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
NEEDED_GB=8

fail() { printf 'error: %s\n' "$1" >&2; exit 1; }

find_python() {  # the first interpreter >= 3.11
    local name
    for name in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
        [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 || continue
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"; return
        fi
    done
}

stamp=$(cat "$ROOT/requirements/lock.txt" "$ROOT/pyproject.toml" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$VENV/.stamp" 2>/dev/null)" != "$stamp" ] || ! "$VENV/bin/python" -c '' 2>/dev/null; then
    base=$(find_python)
    [ -n "$base" ] || fail "Python >= 3.11 is needed and none was found. Install it, or name one: PYTHON=/path/to/python3.11 bash $0"
    free_gb=$(( $(df -Pk "$ROOT" | awk 'NR==2 {print $4}') / 1048576 ))
    have_gb=$(( $(du -sk "$VENV" 2>/dev/null | cut -f1 || true) + 0 ))
    [ $(( free_gb + have_gb / 1048576 )) -ge "$NEEDED_GB" ] || fail "$NEEDED_GB GB of free disk are needed for the packages, $ROOT has $free_gb GB."
    echo "Installing the locked packages into $VENV (a few minutes, about 6 GB) ..."
    "$VENV/bin/python" -c '' 2>/dev/null || "$base" -m venv --clear "$VENV" \
        || fail "$base could not make a virtual environment (on Debian and Ubuntu: apt install python3-venv)."
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    "$VENV/bin/python" -m pip install --quiet --upgrade pip || fail "pip could not be updated: is there a network?"
    "$VENV/bin/python" -m pip install --quiet --no-deps -r "$ROOT/requirements/lock.txt" \
        || fail "the packages could not be installed; the reason stands above. Run the command again to go on."
    "$VENV/bin/python" -m pip install --quiet --no-deps --editable "$ROOT" || fail "mmwhitebox could not be installed."
    echo "$stamp" > "$VENV/.stamp"
fi
PYTHON=$VENV/bin/python
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}  # idle threads yield: few cores are shared with the data loader
