#!/bin/sh
# Builds the binary that needs nothing of the system it runs on: no C library, no loader, no shell. The image is made of it,
# and deploy/check tests it.
#
#   scripts/build-static.sh [FILE]     default bin/edgecache
#
# VERSION in the environment is what "edgecache version" says where there is no Git to tell.
set -eu
out=${1:-bin/edgecache}
case $out in /*) ;; *) out=$PWD/$out ;; esac
cd "$(dirname "$0")/.."

CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.given=${VERSION:-}" -o "$out" ./cmd/edgecache
