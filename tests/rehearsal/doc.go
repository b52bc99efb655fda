// Package rehearsal holds the rehearsal of a migration: a cluster takes over from services that
// write as the old ones do, step by step and back, while users are read. It has no other code.
package rehearsal
