#!/bin/sh
# Builds the examples into prebuilt/. Wants clang and wasm-ld (Debian: clang, lld) and npm; those in Go are built by the tests.
set -eu
cd "$(dirname "$0")"
out=${1:-prebuilt}
mkdir -p "$out"
for f in c/*.c; do
	clang --target=wasm32 -Os -mbulk-memory -nostdlib -Wall -Wextra -Wno-unused-function -Wl,--no-entry -Wl,--strip-all \
		-Wl,--stack-first -Wl,-z,stack-size=8192 -Wl,--initial-memory=65536 -o "$out/$(basename "$f" .c).c.wasm" "$f"
done
[ -d assemblyscript/node_modules ] || (cd assemblyscript && npm install --silent --no-package-lock)
for f in hide-matricule display-name avatar-size; do
	assemblyscript/node_modules/.bin/asc "assemblyscript/$f.ts" --runtime stub -O3 --noAssert --use abort= \
		--initialMemory 1 --outFile "$out/$f.as.wasm"
done
