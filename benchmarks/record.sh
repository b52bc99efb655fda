#!/usr/bin/env bash
# Records what is a run and not a race: writes benchmarks/results/NAME.md.
#
#   benchmarks/record.sh races              30 s of storm in which nothing may be stale, then one safeguard less at a time
#   benchmarks/record.sh faults             the long form of every fault test, the model and the seeded bugs: about half an hour
#   benchmarks/record.sh stuck              changes beside 1 to 1,000 users who cannot be announced: about two minutes
#   benchmarks/record.sh hints              calls of the origin for each write of another service: a minute and a half
#   benchmarks/record.sh rehearsal [TIME]   the migration there and back, TIME (20s) a step: about seven minutes
#   benchmarks/record.sh replay TRACE       a recorded chat through three nodes, Redis embedded and real
#   benchmarks/record.sh verify [N] [RATE]  N changes (a million), RATE a second (2500), under edgecache verify
#   benchmarks/record.sh origin TRACE       the source of truth while parts of it are killed, down, slow or stopped
#   benchmarks/record.sh cluster            prewarms of three and ten processes, some of them killed: about ten minutes
#   benchmarks/record.sh warm TRACE         the first minute of a recorded chat after a full restart, cold and prewarmed
#   benchmarks/record.sh prewarm            300,000 users through three nodes, beside bare scripted writes
#   benchmarks/record.sh tiers              edgecache bench l1 l2 origin on a private redis-server, and README's table and picture: a minute
#   benchmarks/record.sh hitratio DIR CHAT  hits on recorded requests (DIR/*.gz and a chat): a minute
#   benchmarks/record.sh outside            a node under edgecache bench and under vegeta, at the same rates: a minute
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
  go test -count=1 -v -run 'TestStorm$' ./tier -storm 30s | grep -aE 'reads|^(---|ok|FAIL)' | code
  printf 'The same oracle with one safeguard removed must see it, and says when it did:\n\n'
  go test -count=1 -v -run TestEachSeededBugIsSeen ./tests/seeded | grep -aE 'seen after|^ *---|^(ok|FAIL)' | code
}

# faults runs what demands a quiet machine first. A test that fails is a row as well, and the end of the script is an error then.
faults() {
  local log failed=0
  log=$(mktemp)
  one() { printf '+ go test %s\n' "$*" >&2; go test -count=1 -timeout 60m -v "$@" >>"$log" 2>&1 || failed=1; }
  one ./node -run 'TestStormOverThreeNodes$' -storm 60s -out "$PWD/benchmarks/results"
  one ./node -long -run 'TestRedisIsKilled|TestRedisHangs|TestSilentStream|TestDamagedStream|TestLostReplies|TestBadEntries|TestFailoverThat|TestEverythingFails|TestNoFlushInAnHour|TestShapedNetwork|TestKilledProcesses|WhileTheNodeIsDown|TestStartAlone|TestSwapsUnderLoad'
  one ./tier/kv -long -run TestDamage
  one ./node -run 'TestModel$' -runs 10000 -rapid.nofailfile
  one ./tests/seeded -run TestEachSeededBugIsSeen
  head 'Faults' 'benchmarks/record.sh faults'
  printf '| what | demanded | measured | test |\n|---|---|---|---|\n'
  awk '/^ *=== (RUN|CONT|NAME) /{test=$3} match($0,/result: /){print "| " substr($0,RSTART+8) " | " test " |"}' "$log"
  printf '\nOne safeguard removed at a time; the oracle or the model must see it within a minute:\n\n'
  grep -aE 'seen after|has not seen|^ *--- .*Seeded' "$log" | sed -E 's/^ *[a-z_]+_test.go:[0-9]+: //' | cut -c1-160 | code
  printf 'All tests:\n\n'
  grep -aE '^--- |^(ok|FAIL)' "$log" | code
  rm -f "$log"
  return $failed
}

# private starts a redis-server that ends with the script, and sets port.
private() {
  port=16399
  redis-server --port $port --save '' --dir /tmp --loglevel warning >/dev/null &
  server=$!
  trap 'kill $server' EXIT
  until redis-cli -p $port ping >/dev/null 2>&1; do sleep 0.1; done
}

replay() {
  local port
  head 'A recorded chat through three nodes' 'benchmarks/record.sh replay TRACE'
  printf 'Redis embedded in the process:\n\n'
  go run ./cmd/edgecache replay --trace "$1" 2>/dev/null | code
  private
  printf 'A real Redis over loopback:\n\n'
  go run ./cmd/edgecache replay --trace "$1" --redis redis://127.0.0.1:$port 2>/dev/null | code
}

verify() {
  head "${1:-1000000} changes under edgecache verify" "benchmarks/record.sh verify${1:+ $1}${2:+ $2}"
  go run -C benchmarks . verify -changes "${1:-1000000}" -rate "${2:-2500}"
}

# rows makes rows of a table of the lines that tests write for it, and keeps the names of those that failed.
rows() { tee /dev/stderr | sed -nE 's/^.*RESULT (\|.*)$/\1/p; s/^ *--- FAIL: ([^ ]+).*$/| | **failed**, see its output | `\1` |/p'; }

origin() {
  local short="${short:-}" form=-long trials=200 lookups=0
  if [ -n "$short" ]; then form= trials=5 lookups=10000; fi
  head 'The source of truth under faults' 'benchmarks/record.sh origin TRACE'
  printf 'Real PostgreSQL, Redis, HTTP and processes; three nodes where nodes are meant.%s\n\n' "${short:+ Short forms, which show that it runs and nothing more.}"
  printf '| demanded | measured | test |\n|---|---|---|\n'
  { EDGECACHE_LONG=${form:+1} EDGECACHE_CRASH_TRIALS=$trials go test -count=1 -timeout 60m -v -run 'Killed|Stopped' ./source || true; } | rows
  # shellcheck disable=SC2086 # no form is no argument
  { go test -count=1 -timeout 60m -v ./tests/outage $form || true; } | rows
  local table
  table=$(go run ./cmd/edgecache replay --trace "$1" --rate 2000 --lookups $lookups --origin-latency 200ms 2>/dev/null)
  printf '| origin with 200 ms latency, 2,000 lookups/s over the trace: p50 under 1 ms | p50 %s, p99 %s; origin calls: %s | `edgecache replay` |\n\n' \
    "$(awk '$1 == "all" { print $5 }' <<<"$table")" "$(awk '$1 == "all" { print $6 }' <<<"$table")" "$(sed -n 's/^origin calls: //p' <<<"$table")"
  printf 'The last row in full, from `edgecache replay --rate 2000 --origin-latency 200ms`, Redis embedded:\n\n'
  code <<<"$table"
}

# stuck measures how long changes take beside users who cannot be announced.
stuck() {
  head 'Changes beside users who cannot be announced' 'benchmarks/record.sh stuck'
  printf 'A shard of a real Redis Cluster of three is killed, or one Redis forbids the keys of some users; 1,000 changes of others over HTTP, four at a time.\n\n'
  printf '| demanded | measured | test |\n|---|---|---|\n'
  { go test -count=1 -timeout 10m -v ./tests/outage -long \
    -run 'TestStuckUsersHoldUpNobodyElse/^(a_shard_that_was_killed|guards_that_nobody_may_touch)$' || true; } | rows
}

# hints counts what writes of other services cost.
hints() {
  head 'What a write of another service costs the origin' 'benchmarks/record.sh hints'
  printf '| what | demanded | calls for each write | test |\n|---|---|---|---|\n'
  go test -count=1 -timeout 10m -v ./node -run TestOutsideWritesCostOneCall -long | tee /dev/stderr |
    awk '/^ *=== (RUN|CONT|NAME) /{test=$3} match($0,/result: /){print "| " substr($0,RSTART+8) " | " test " |"}'
}

# rehearsal plays the migration from services that write as the old ones do, 20 s a step or as long as is said.
rehearsal() {
  head 'The migration, there and back' "benchmarks/record.sh rehearsal${1:+ $1}"
  printf 'A stand-in of the old service, whose clock is wrong, on a real PostgreSQL and Redis; two nodes, readers and the oracle all along.\n\n'
  printf '| step | demanded | measured |\n|---|---|---|\n'
  { go test -count=1 -timeout 60m -v ./tests/rehearsal -each "${1:-20s}" || true; } | rows
}

tiers() {
  local written port
  written=$(mktemp -d)
  private
  go run ./cmd/edgecache bench l1 l2 origin change --redis redis://127.0.0.1:$port/1 --out "$written" >&2
  mkdir -p benchmarks/results/tiers
  cp "$written/result.json" "$written/index.html" "$written/rows.csv" benchmarks/results/tiers/
  rm -r "$written"
  go test -count=1 ./tests/contracts -run README -write >&2
}

# outside puts the same load on the same node by two generators in turns: ours, and vegeta, which plans its requests as well.
outside() {
  local vegeta=github.com/tsenart/vegeta/v12@v12.12.0 node=http://127.0.0.1:18003 dir rate
  dir=$(mktemp -d)
  go build -o "$dir/edgecache" ./cmd/edgecache
  GOBIN=$dir go install "$vegeta"
  "$dir/edgecache" serve --listen 127.0.0.1:18003 --origin-listen 127.0.0.1:0 --sample-users 1000 >/dev/null 2>&1 &
  server=$!
  trap 'kill $server' EXIT
  until curl -sf $node/readyz >/dev/null; do sleep 0.1; done
  "$dir/edgecache" bench http --nodes $node --users 1000 --zipf 0 --rate 2000 --duration 3s >/dev/null # all in memory
  for id in $(seq 1 1000); do printf 'GET %s/v1/users/%s\n\n' $node "$id"; done >"$dir/targets"
  head 'The same node under edgecache bench and under vegeta' 'benchmarks/record.sh outside'
  printf 'GET /v1/users/ID of 1,000 users in memory, in turns, 5 s each; all three on one machine.\n\n'
  printf '| rate/s | generator | p50 | p90 | p99 | longest |\n|---:|---|---:|---:|---:|---:|\n'
  for rate in 1000 1000 1000 4000 4000 4000; do
    "$dir/edgecache" bench http --nodes $node --users 1000 --zipf 0 --rate $rate --duration 5s --out "$dir/out" >/dev/null
    awk -F, -v rate=$rate 'NR == 2 { printf "| %d | edgecache bench | %.0f µs | %.0f µs | %.0f µs | %.1f ms |\n", rate, $10/1e3, $12/1e3, $14/1e3, $19/1e6 }' "$dir/out/rows.csv"
    "$dir/vegeta" attack -targets "$dir/targets" -rate $rate -duration 5s -max-workers 64 -workers 64 >"$dir/bin"
    "$dir/vegeta" report -type json "$dir/bin" |
      jq -r --arg rate $rate '.latencies | "| \($rate) | vegeta | \(."50th" / 1e3 | round) µs | \(."90th" / 1e3 | round) µs | \(."99th" / 1e3 | round) µs | \(.max / 1e5 | round / 10) ms |"'
  done
  rm -r "$dir"
}

case "${1:-}" in
hitratio) go run -C benchmarks . hitratio -traces "$(realpath "${2:?the folder with the traces is missing}")" \
  -chat "$(realpath "${3:?the file with the chat is missing}")" -out results ;;
tiers) tiers && out=benchmarks/results/tiers ;;
outside) outside >"$out" ;;
origin) origin "$(realpath "${2:?the file with the chat is missing}")" >"$out" ;;
races) races >"$out" ;;
faults) faults >"$out" ;;
stuck) stuck >"$out" ;;
hints) hints >"$out" ;;
rehearsal) rehearsal "${@:2}" >"$out" ;;
replay) replay "$(realpath "${2:?the file with the chat is missing}")" >"$out" ;;
verify) verify "${@:2}" >"$out" ;;
warm) go run -C benchmarks . warm -trace "$(realpath "${2:?the file with the chat is missing}")" -out results ;;
cluster) go run -C benchmarks . cluster -out results ;;
prewarm) go run -C benchmarks . compare -only prewarm -out results -name prewarm ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
printf 'wrote %s\n' "$out"
