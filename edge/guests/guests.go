// Package guests holds the examples of edge functions, as source in three languages and as modules.
// "edgecache fn new" writes them into a folder.
package guests

import "embed"

// Sources are the examples' sources, in c, assemblyscript and go.
//
//go:embed c/*.c c/*.h assemblyscript/*.ts assemblyscript/package.json go
var Sources embed.FS

// Modules are the examples in C and AssemblyScript, built.
//
//go:embed prebuilt/*.wasm
var Modules embed.FS
