// Package seeded proves that the tests see. Its test removes one safeguard of the cache at a time,
// by a patch of testdata on a copy of the source, and requires that a test of that code then fails,
// with the words of the oracle or the model. Nothing of this is in the production code.
package seeded
