#!/usr/bin/env bash
# Finds what the tests need beside Go, and installs what is missing where it may: on Debian, as root. With "guests", what
# builds the examples of edge functions as well.
set -euo pipefail

say() { printf 'deps: %s\n' "$*"; }

# pg_server prints where the newest PostgreSQL server is. Debian keeps it out of the PATH.
pg_server() { command -v postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -n 1; }

command -v go >/dev/null || { say 'Go is not installed: install Go 1.26 or newer'; exit 1; }

# The tests use what Redis 7 brought.
if command -v redis-server >/dev/null; then
  version=$(redis-server --version | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
  [ "${version:-0}" -ge 7 ] || { say "redis-server ${version:-of unknown version} is too old: install Redis 7 or newer"; exit 1; }
fi

packages=() services=()
command -v redis-server >/dev/null || { packages+=(redis-server); services+=(redis-server); }
[ -n "$(pg_server)" ] || { packages+=(postgresql); services+=(postgresql); }
# The client for Node.js is tested by its own runner, which Node.js 18 has, and Debian 12 with it.
if command -v node >/dev/null; then
  version=$(node --version | sed -n 's/^v\([0-9]*\)\..*/\1/p')
  [ "${version:-0}" -ge 18 ] || { say "node ${version:-of unknown version} is too old: install Node.js 18 or newer"; exit 1; }
else
  packages+=(nodejs)
fi
# The dashboard is tested in a real browser.
browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
browser >/dev/null || packages+=(chromium fonts-dejavu-core)
# promtool tests the alerts, and the names of metrics.
command -v promtool >/dev/null || { packages+=(prometheus); services+=(prometheus); }
# A build in a checkout asks Git which commit it is of.
command -v git >/dev/null || packages+=(git)
# The race detector is linked by a C compiler.
command -v "$(go env CC | cut -d' ' -f1)" >/dev/null || packages+=(gcc libc6-dev)

# rust reports whether a rustc is here that can build for WebAssembly.
rust() {
  local r
  for r in rustc /usr/bin/rustc; do
    command -v $r >/dev/null && [ -d "$($r --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ] && return
  done
  return 1
}
if [ "${1:-}" = guests ]; then
  command -v clang >/dev/null || packages+=(clang)
  command -v wasm-ld >/dev/null || packages+=(lld)
  command -v npm >/dev/null || packages+=(npm)
  rust || packages+=(rustc libstd-rust-dev-wasm32)
fi

found() { say "found $(redis-server --version | cut -d' ' -f1-3), $("$(pg_server)" --version), Node.js $(node --version), $(basename "$(browser)"), $(go env CC)"; }

if [ ${#packages[@]} -eq 0 ]; then
  found
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  say "missing: ${packages[*]}. Install Redis 7 or newer, PostgreSQL, Node.js 18 or newer, Chromium, promtool of Prometheus and a C compiler with your system's packages, then run this again."
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  say "missing: ${packages[*]}. Run as root: apt-get install --no-install-recommends ${packages[*]}"
  exit 1
fi

say "installing ${packages[*]}"
# Debian starts a service that it installs; the tests start their own servers, and this machine's
# ports 6379 and 5432 are none of their business.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
install() { apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${packages[@]}" </dev/null; }
# The lists may be absent or older than what the mirror still has.
install 2>/dev/null || { apt-get -qq update && install; } || {
  say "apt-get could not install ${packages[*]}: install them by hand, then run this again."
  exit 1
}
if [ ${#services[@]} -gt 0 ] && command -v systemctl >/dev/null; then
  systemctl disable --now "${services[@]}" >/dev/null 2>&1 || true # not at the next boot either
fi
found
