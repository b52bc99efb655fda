#!/usr/bin/env bash
# Fuzzes each target of the module in turn. A crash is written to its package's testdata/fuzz, where
# `go test` runs it from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
export GOMEMLIMIT=${GOMEMLIMIT:-2GiB}

{ grep -rlE '^func Fuzz' --include='*_test.go' . || true; } | xargs -r -n1 dirname | sort -u | while read -r dir; do
  for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | cut -d' ' -f2); do
    printf '\n== %s %s for %s\n' "$dir" "$target" "$time"
    go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" </dev/null
  done
done
