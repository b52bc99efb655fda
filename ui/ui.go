// Package ui is what a person sees of a node: the pages of its dashboard, and the snapshots that
// these and `edgecache top` show, one a second.
//
// The pages are in the binary and load nothing from elsewhere. Snapshots are made while somebody
// looks, once for all who do.
package ui

import (
	"embed"
	"path"
)

//go:embed static
var static embed.FS

// Policy is the Content-Security-Policy of the pages: they run what comes from their own server,
// and nothing that stands in the page itself.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// Index is the name of the page that loads the others.
const Index = "index.html"

// types are the media types of the files. Never changed.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// File returns a file of the dashboard and its media type, and false for a name that is none.
func File(name string) (text []byte, mediaType string, ok bool) {
	mediaType, ok = types[path.Ext(name)]
	if !ok || path.Base(name) != name {
		return nil, "", false
	}
	text, err := static.ReadFile("static/" + name)
	return text, mediaType, err == nil
}
