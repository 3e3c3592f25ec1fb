#!/usr/bin/env bash
# usage: check-fresh.sh FILE CMD...   fails when CMD, which writes FILE, changes it
set -euo pipefail
file=$1
shift
before=$(mktemp)
trap 'rm -f "$before"' EXIT
cp "$file" "$before"
"$@"
if ! cmp -s "$before" "$file"; then
  echo "$file is not what \"$*\" makes: commit the new one" >&2
  cp "$before" "$file"
  exit 1
fi
