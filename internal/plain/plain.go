// Package plain shows errors to people who know nothing of packages.
package plain

import "strings"

var packages = strings.NewReplacer("api: ", "", "auth: ", "", "importer: ", "", "node: ", "", "origin: ", "", "prewarm: ", "",
	"profile: ", "", "source: ", "", "tier: ", "", "web: ", "")

// Text returns the text of err without the names of this module's packages.
func Text(err error) string { return packages.Replace(err.Error()) }
