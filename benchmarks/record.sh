#!/usr/bin/env bash
# Records what is a run and not a race: writes benchmarks/results/NAME.md.
#
#   benchmarks/record.sh races              30 s of storm in which nothing may be stale, then one safeguard less at a time
#   benchmarks/record.sh replay TRACE       a recorded chat through three nodes, Redis embedded and real
#   benchmarks/record.sh prewarm            300,000 users through three nodes, beside bare scripted writes
set -euo pipefail
cd "$(dirname "$0")/.."
out=benchmarks/results/${1:-}.md

# head says where and of what.
head() {
  local changed=
  git diff --quiet HEAD -- . ':!benchmarks/results' || changed=', and changes that are not committed'
  printf '# %s\n\nWritten by `%s`, %s; commit %s%s; %s, %s processors, %s.\n\n' "$1" "$2" "$(date -u +%FT%TZ)" \
    "$(git rev-parse --short HEAD)" "$changed" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | sed 1q)" "$(nproc)" "$(go env GOVERSION)"
}

# code prints its input as a block.
code() { printf '```\n'; cat; printf '```\n\n'; }

races() {
  head 'Fills against invalidations' 'benchmarks/record.sh races'
  printf 'Loads delayed by 0-50 ms; four writers, half of whose changes tell no version, and twelve readers on three nodes; ristretto'"'"'s buffer of writes kept full. The oracle judges every read.\n\n'
  go test -count=1 -v -run 'TestStorm$' ./tier -storm 30s | grep -E 'reads|^(---|ok|FAIL)' | code
  printf 'The same oracle with one safeguard removed must see it, and says when it did:\n\n'
  go test -count=1 -v -tags seeded -run Seeded ./tier ./node | grep -E 'seen after|^ *---|^(ok|FAIL)' | code
}

replay() {
  local port=16399
  head 'A recorded chat through three nodes' 'benchmarks/record.sh replay TRACE'
  printf 'Redis embedded in the process:\n\n'
  go run ./cmd/edgecache replay --trace "$1" 2>/dev/null | code
  redis-server --port $port --save '' --dir /tmp --loglevel warning >/dev/null &
  server=$!
  trap 'kill $server' EXIT
  until redis-cli -p $port ping >/dev/null 2>&1; do sleep 0.1; done
  printf 'A real Redis over loopback:\n\n'
  go run ./cmd/edgecache replay --trace "$1" --redis redis://127.0.0.1:$port 2>/dev/null | code
}

case "${1:-}" in
races) races >"$out" ;;
replay) replay "$(realpath "${2:?the file with the chat is missing}")" >"$out" ;;
prewarm) go run -C benchmarks . -only prewarm -out results -name prewarm ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
printf 'wrote %s\n' "$out"
