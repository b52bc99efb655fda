#!/usr/bin/env bash
# Runs the tests of every module with the race detector and each benchmark once. Whatever the tests
# write goes to a folder of this run, and a server that is still running at the end is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/edgecache-test.XXXXXX")
chmod 711 "$TMPDIR" # PostgreSQL refuses to run as root, and must get to its folder as someone else
export TMPDIR CGO_ENABLED=1

# left prints the processes whose folder is under this run's.
left() {
  local p
  for p in /proc/[0-9]*; do
    [[ "$(readlink "$p/cwd" 2>/dev/null)" == "$TMPDIR"/* ]] || continue
    printf '%s %s\n' "${p#/proc/}" "$(tr '\0' ' ' <"$p/cmdline" 2>/dev/null)"
  done
}
trap 'rm -rf "$TMPDIR"' EXIT

start=$SECONDS failed=0
for module in $(find . -name go.mod -not -path '*/testdata/*' | sort); do
  dir=$(dirname "$module")
  say "tests of $dir (a cold cache compiles for a few minutes first)"
  go test -C "$dir" -p 1 -race -shuffle=on -bench . -benchtime 1x ./... || failed=1
done

rest=$(left)
if [ -n "$rest" ]; then
  printf 'test: still running after the tests:\n%s\n' "$rest"
  exit 1
fi
[ $failed -eq 0 ] || { say "failed after $((SECONDS - start)) s"; exit 1; }
say "passed in $((SECONDS - start)) s, nothing left running"
