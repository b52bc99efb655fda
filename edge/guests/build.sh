#!/bin/sh
# Builds the examples into prebuilt/, and says there by which compilers. With --check it builds them in a folder of its own and
# compares byte for byte. Wants clang and wasm-ld (Debian: clang, lld), npm, and rustc with the library for
# wasm32-unknown-unknown (Debian: rustc, libstd-rust-dev-wasm32); `scripts/deps.sh guests` installs them. Those in Go are built
# by the tests.
set -eu
cd "$(dirname "$0")"
examples='hide-matricule display-name avatar-size'

check=
out=$PWD/prebuilt
if [ "${1:-}" = --check ]; then
	check=$out
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi

# rust prints a rustc that can build for WebAssembly: a newer one in the PATH often lacks the library.
rust() {
	for r in rustc /usr/bin/rustc; do
		if command -v $r >/dev/null && [ -d "$($r --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ]; then
			echo $r
			return
		fi
	done
	echo "build: no rustc has the library for wasm32-unknown-unknown: run scripts/deps.sh guests" >&2
	return 1
}

wanted=$(node -p "require('./assemblyscript/package.json').devDependencies.assemblyscript")
installed() { node -p "require('./assemblyscript/node_modules/assemblyscript/package.json').version" 2>/dev/null; }
[ "$(installed)" = "$wanted" ] || (cd assemblyscript && npm install --silent --no-package-lock --no-audit --no-fund)
rustc=$(rust)

versions() {
	clang --version | sed -n 's/.*clang version \([0-9.]*\).*/clang \1/p'
	echo "assemblyscript $(installed)"
	$rustc --version | cut -d ' ' -f 1,2
}

if [ -n "$check" ] && ! versions | diff "$check/versions" -; then
	echo "build: prebuilt/ was built by other compilers (<) than those here (>): build it anew, or use those" >&2
	exit 1
fi

for e in $examples; do
	clang --target=wasm32 -Os -mbulk-memory -nostdlib -Wall -Wextra -Wno-unused-function -Wl,--no-entry -Wl,--strip-all \
		-Wl,--stack-first -Wl,-z,stack-size=8192 -Wl,--initial-memory=65536 -o "$out/$e.c.wasm" "c/$e.c"
done
for e in $examples; do
	assemblyscript/node_modules/.bin/asc "assemblyscript/$e.ts" --runtime stub -O3 --noAssert --use abort= \
		--initialMemory 1 --outFile "$out/$e.as.wasm"
done
cd rust # its name would be in the modules
for e in $examples; do
	$rustc --edition 2021 --crate-type cdylib --target wasm32-unknown-unknown -C opt-level=s -C lto -C panic=abort -C strip=symbols \
		-C target-feature=+bulk-memory -C link-arg=--stack-first -C link-arg=-zstack-size=8192 -C link-arg=--initial-memory=65536 \
		-o "$out/$e.rust.wasm" "$e.rs"
done
cd ..
chmod 644 "$out"/*.wasm
versions >"$out/versions"

if [ -n "$check" ]; then
	diff -r "$check" "$out" || { echo "build: prebuilt/ is not what its sources make: run edge/guests/build.sh" >&2; exit 1; }
	echo "build: $(ls "$out"/*.wasm | wc -l) modules are what their sources make"
fi
