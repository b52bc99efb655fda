#!/usr/bin/env bash
# Runs the tests of every module with the race detector and each benchmark once. All are compiled
# first, on every core, and then run one package after another, so that no compiler disturbs a bound
# in time. Whatever the tests write goes to a folder of this run, and a server that is still running
# at the end is a failure. Arguments are packages of the main module, instead of all.
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

bin=$TMPDIR/bin
mkdir "$bin"

# packages prints the folder and the import path of each package of a module that has tests.
packages() {
  local dir=$1
  shift
  go list -C "$dir" -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}} {{.ImportPath}}{{end}}' "$@"
}

# compile reads packages and writes a binary for each, named by its path.
compile() {
  # shellcheck disable=SC2016 # the inner shell expands them
  BIN=$bin xargs -r -P "$(nproc)" -L 1 bash -c 'go test -C "$0" -race -c -o "$BIN/${1//\//_}" .'
}

# run runs one package's tests, and prints what they say only if they fail.
run() {
  local dir=$1 package=$2 log=$TMPDIR/log began=$EPOCHREALTIME verdict=ok took
  (cd "$dir" && "$bin/${package//\//_}" -test.paniconexit0 -test.timeout=10m \
    -test.shuffle=on -test.bench=. -test.benchtime=1x) >"$log" 2>&1 </dev/null || verdict=FAIL
  [ $verdict = ok ] || cat "$log"
  took=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
  printf '%-4s\t%s\t%d.%03ds\n' $verdict "$package" $((took / 1000)) $((took % 1000)) # as go test says it
  [ $verdict = ok ]
}

start=$SECONDS failed=0 passed=0
for module in $(find . -name go.mod -not -path '*/testdata/*' | sort); do
  dir=$(dirname "$module")
  [ $# -eq 0 ] || [ "$dir" = . ] || continue
  packages "$dir" "${@:-./...}" >"$TMPDIR/packages"
  say "compiling $(wc -l <"$TMPDIR/packages") packages of $dir (a few minutes on a cold cache)"
  compiled=$SECONDS
  compile <"$TMPDIR/packages" || { say "does not compile"; exit 1; }
  say "tests of $dir, compiled in $((SECONDS - compiled)) s"
  while read -r folder package; do
    if run "$folder" "$package"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  done <"$TMPDIR/packages"
done

rest=$(left)
if [ -n "$rest" ]; then
  printf 'test: still running after the tests:\n%s\n' "$rest"
  exit 1
fi
printf '\n%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ] || { say "failed after $((SECONDS - start)) s"; exit 1; }
say "passed in $((SECONDS - start)) s, nothing left running"
