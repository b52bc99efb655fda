//go:build !linux

package outage

func diskChild() {}
