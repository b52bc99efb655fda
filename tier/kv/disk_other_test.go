//go:build !linux

package kv

import "errors"

func diskChild(string) error { return errors.ErrUnsupported }
