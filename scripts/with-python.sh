#!/usr/bin/env bash
# usage: with-python.sh CMD...
# Runs CMD with `python` on the PATH from a virtual environment that has python/requirements-test.txt installed.
# The environment is made once per (requirements, Python version) under .cache/python (or TERN_PYTHON_CACHE).
set -euo pipefail
HERE=$(cd "$(dirname "$0")/.." && pwd)
REQUIREMENTS=$HERE/python/requirements-test.txt
CACHE=${TERN_PYTHON_CACHE:-$HERE/.cache/python}
BASE=${PYTHON:-python3}
command -v "$BASE" >/dev/null || { echo "with-python.sh: no $BASE on the PATH; install Python 3.9 or later" >&2; exit 127; }

KEY=$("$BASE" - "$REQUIREMENTS" <<'PY'
import hashlib, sys
digest = hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:12]
print(f"{sys.version_info[0]}.{sys.version_info[1]}-{digest}")
PY
)
VENV=$CACHE/$KEY
mkdir -p "$CACHE"
# One maker at a time; `ready` appears only after a complete install, so an interrupted one is made anew.
if [ ! -e "$VENV/ready" ]; then
  exec 9>"$CACHE/lock"
  if command -v flock >/dev/null; then flock 9; fi
  if [ ! -e "$VENV/ready" ]; then
    rm -rf "$VENV"
    "$BASE" -m venv "$VENV" >&2
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-input --only-binary=:all: -r "$REQUIREMENTS" >&2
    touch "$VENV/ready"
  fi
  exec 9>&-
fi
PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV exec "$@"
