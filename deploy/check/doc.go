// Package check tests what deploys edgecache, as far as that goes without a container engine:
// docker-compose.yml by the loader that docker compose itself uses, and the content of the image by
// running it in an empty root. It is a module of its own, so that edgecache does not depend on what
// only these tests need.
package check
