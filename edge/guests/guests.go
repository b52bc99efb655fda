// Package guests holds the examples of edge functions, as source in four languages and as modules.
// "edgecache fn new" writes them into a folder.
package guests

import "embed"

// Sources are the examples' sources, in c, assemblyscript, rust and go.
//
//go:embed c/*.c c/*.h assemblyscript/*.ts assemblyscript/package.json rust/*.rs go
var Sources embed.FS

// Modules are the examples in C, AssemblyScript and Rust, built.
//
//go:embed prebuilt/*.wasm
var Modules embed.FS
