#!/usr/bin/env bash
# Records what is a run and not a race: writes benchmarks/results/NAME.md.
#
#   benchmarks/record.sh races              30 s of storm in which nothing may be stale, then one safeguard less at a time
#   benchmarks/record.sh faults             the long form of every fault test, the model and the seeded bugs: about half an hour
#   benchmarks/record.sh replay TRACE       a recorded chat through three nodes, Redis embedded and real
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

# faults runs what demands a quiet machine first. A test that fails is a row as well, and the end of the script is an error then.
faults() {
  local log failed=0
  log=$(mktemp)
  one() { printf '+ go test %s\n' "$*" >&2; go test -count=1 -timeout 60m -v "$@" >>"$log" 2>&1 || failed=1; }
  one ./node -run 'TestStormOverThreeNodes$' -storm 60s -out "$PWD/benchmarks/results"
  one ./node -long -run 'TestRedisIsKilled|TestRedisHangs|TestSilentStream|TestDamagedStream|TestLostReplies|TestBadEntries|TestFailoverThat|TestEverythingFails|TestNoFlushInAnHour'
  one ./node -run 'TestModel$' -runs 10000 -rapid.nofailfile
  one -tags seeded ./tier ./node -run Seeded
  head 'Faults' 'benchmarks/record.sh faults'
  printf '| what | demanded | measured | test |\n|---|---|---|---|\n'
  awk '/^ *=== (RUN|CONT|NAME) /{test=$3} match($0,/result: /){print "| " substr($0,RSTART+8) " | " test " |"}' "$log"
  printf '\nOne safeguard removed at a time; the oracle or the model must see it within a minute:\n\n'
  grep -E 'seen after|not seen|^ *--- .*Seeded' "$log" | sed -E 's/^ *[a-z_]+_test.go:[0-9]+: //' | cut -c1-160 | code
  printf 'All tests:\n\n'
  grep -E '^--- |^(ok|FAIL)' "$log" | code
  rm -f "$log"
  return $failed
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
faults) faults >"$out" ;;
replay) replay "$(realpath "${2:?the file with the chat is missing}")" >"$out" ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
printf 'wrote %s\n' "$out"
