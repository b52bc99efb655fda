#!/usr/bin/env bash
# Checks the source of every module; all tools at pinned versions through the module proxy.
set -euo pipefail
cd "$(dirname "$0")/.."

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0

failed=0
say() { printf '\n== %s\n' "$*"; }
fail() { printf 'lint: %s\n' "$*"; failed=1; }

say "gofmt"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || fail "gofmt would change: $(tr '\n' ' ' <<<"$unformatted")"

# vulnerabilities tells a finding from a database that cannot be reached.
vulnerabilities() {
  local out code=0
  out=$(timeout 300 go run -C "$1" "$govulncheck" ./... 2>&1) || code=$?
  if [ $code -eq 0 ]; then
    printf '%s\n' "$out" | tail -n 1
  elif grep -q 'fetching vulnerabilities' <<<"$out"; then
    printf 'its database cannot be reached from here: not checked\n'
  else
    printf '%s\n' "$out"
    return 1
  fi
}

for module in $(find . -name go.mod -not -path '*/testdata/*' | sort); do
  dir=$(dirname "$module")
  say "go vet $dir"
  go vet -C "$dir" ./... || fail "go vet did not pass $dir"
  say "staticcheck $dir"
  go run -C "$dir" "$staticcheck" ./... || fail "staticcheck did not pass $dir"
  say "go mod tidy $dir"
  go mod tidy -C "$dir" -diff || fail "go mod tidy does not agree with $dir"
  say "govulncheck $dir"
  vulnerabilities "$dir" || fail "govulncheck did not pass $dir"
done

say "versions known to be bad"
go test ./internal/deps || fail "internal/deps did not pass"

exit $failed
