//go:build race

package main

// mostGrowth is how much more memory an attacked process may have than a calm one, in MiB: four
// times what is promised, for the race detector's own.
const mostGrowth = 4 * 64
