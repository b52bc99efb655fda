#!/usr/bin/env bash
# Runs the tests of every module with the race detector and each benchmark once. All are compiled
# first, on every core, without the debugger's tables and vet, which lint runs. Most packages then
# share the cores; those whose tests judge times closely run one after another, so that nothing
# disturbs a bound. Tests that fail are run once more, alone: when they then pass, their first output
# stays above and the end names their package as flaky. Whatever the tests write goes to a folder of this
# run, and a server that is still running at the end is a failure. Arguments are packages of the main
# module, instead of all.
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

# alone matches the packages whose tests judge times so closely that nothing may run beside them.
# longest are those of the others that begin first, so that the cores end together.
alone='edgecache/(node|stream|tier|tests/outage|tests/abuse) '
longest=(tests/seeded cmd/edgecache source deploy/check api edge/fuel source/postgres prewarm)

# packages prints the import path and the folder of each package of a module that has tests.
packages() {
  local dir=$1
  shift
  go list -C "$dir" -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' "$@"
}

# compile reads packages of a module and writes a binary for each, named by its path. One call of go
# compiles many; it names a binary by the last element of the path, which two of them may share.
compile() {
  local module=$1 package all group
  all=$(cut -d' ' -f1)
  while [ -n "$all" ]; do
    group=$(awk -F/ '!seen[$NF]++' <<<"$all")
    all=$(awk -F/ 'seen[$NF]++' <<<"$all")
    # shellcheck disable=SC2086 # paths of packages have no spaces
    go test -C "$module" -race -vet=off -ldflags=-w -c -o "$bin/" $group || return
    for package in $group; do mv "$bin/${package##*/}.test" "$bin/${package//\//_}"; done
  done
}

# run runs one package's tests, all or those of that name, prints what they say only if they fail, and
# notes the package as passed or failed.
run() {
  local package=$1 dir=$2 log=$TMPDIR/log.${1//\//_} began=$EPOCHREALTIME verdict=ok took
  (cd "$dir" && "$bin/${package//\//_}" -test.paniconexit0 -test.timeout=10m \
    -test.shuffle=on -test.run="${3:-}" -test.bench="${3:-.}" -test.benchtime=1x) >"$log" 2>&1 </dev/null || verdict=FAIL
  took=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
  { [ $verdict = ok ] || cat "$log"
    printf '%-4s\t%s\t%d.%03ds\n' $verdict "$package" $((took / 1000)) $((took % 1000)); } >"$log.all" # as go test says it
  cat "$log.all"
  if [ $verdict = ok ]; then echo "$package" >>"$TMPDIR/passed"; else echo "$package $dir" >>"$TMPDIR/failed"; fi
}
export -f run
export bin

# failed matches the tests that failed in a package, and all of them if it did not come to its end.
failed() {
  local log=$TMPDIR/log.${1//\//_}
  [ "$(tail -n 1 "$log")" = FAIL ] || return 0
  sed -nE 's/^--- FAIL: ([^ /]+) .*/\1/p' "$log" | sort -u | paste -sd'|' | sed 's/..*/^(&)$/'
}

start=$SECONDS
touch "$TMPDIR/passed" "$TMPDIR/failed" "$TMPDIR/packages"
say "compiling (a few minutes on a cold cache)"
for module in $(find . -name go.mod -not -path '*/testdata/*' | sort); do
  dir=$(dirname "$module")
  [ $# -eq 0 ] || [ "$dir" = . ] || continue
  packages "$dir" "${@:-./...}" >"$TMPDIR/module"
  compile "$dir" <"$TMPDIR/module" || { say "does not compile"; exit 1; }
  cat "$TMPDIR/module" >>"$TMPDIR/packages"
done
all=$(wc -l <"$TMPDIR/packages")
say "$all packages compiled in $((SECONDS - start)) s; tests that share the cores"
grep -Ev "$alone" "$TMPDIR/packages" >"$TMPDIR/shared" || true
{ for package in "${longest[@]}"; do grep -E "edgecache/$package " "$TMPDIR/shared" || true; done; cat "$TMPDIR/shared"; } |
  awk '!seen[$0]++' |
  xargs -r -P "$(($(nproc) + 1))" -L 1 bash -c 'run "$@"' run
say "tests that judge times closely, one package after another"
while read -r package dir; do run "$package" "$dir"; done < <(grep -E "$alone" "$TMPDIR/packages")
mv "$TMPDIR/failed" "$TMPDIR/again"
touch "$TMPDIR/failed"
if [ -s "$TMPDIR/again" ]; then
  say "failed, once more alone"
  while read -r package dir; do
    run "$package" "$dir" "$(failed "$package")"
  done <"$TMPDIR/again"
  while read -r package _; do
    grep -q "^$package " "$TMPDIR/failed" || echo "flaky: $package failed first and passed alone, see above"
  done <"$TMPDIR/again"
fi
passed=$(wc -l <"$TMPDIR/passed")

rest=$(left)
if [ -n "$rest" ]; then
  printf 'test: still running after the tests:\n%s\n' "$rest"
  exit 1
fi
printf '\n%d passed, %d failed\n' "$passed" $((all - passed))
[ "$passed" -eq "$all" ] || { say "failed after $((SECONDS - start)) s"; exit 1; }
say "passed in $((SECONDS - start)) s, nothing left running"
