#!/usr/bin/env bash
# usage: test.sh [ARGUMENTS OF VITEST...]
# Runs all tests. Starts a throw-away S3 server and a Python environment for those that need them, both fetched on
# first use into .cache. Without Python those tests are skipped, visibly; under CI=true that is an error instead.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/node_modules/.bin:$PATH
run=(vitest run --reporter=default --reporter=./test/plain-reporter.mjs "$@")

if command -v "${PYTHON:-python3}" >/dev/null; then
  exec bash scripts/with-s3.sh bash scripts/with-python.sh "${run[@]}"
fi
if [ "${CI:-}" = true ]; then
  echo 'test.sh: python3 is missing: the tests with S3 and with Python clients cannot run' >&2
  exit 1
fi
echo 'test.sh: python3 is missing: tests with S3 and with Python clients are skipped' >&2
exec "${run[@]}"
