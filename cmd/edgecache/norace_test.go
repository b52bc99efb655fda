//go:build !race

package main

// mostGrowth is how much more memory an attacked process may have than a calm one, in MiB.
const mostGrowth = 64
