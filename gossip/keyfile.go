package gossip

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	keySize    = 32 // bytes: AES-256
	maxKeys    = 8
	maxKeyFile = 16 << 10 // bytes
)

// NewKey returns a random key.
func NewKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// KeyID returns the short fingerprint by which people tell keys apart: eight hexadecimal digits of
// the key's SHA-256.
func KeyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:keyIDSize])
}

// ReadKeys reads a key file: the primary comes first. Errors: ErrKeys when it is no key file, or
// that of reading it; an absent file is fs.ErrNotExist.
func ReadKeys(path string) ([][]byte, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	return parseKeys(path, text)
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("gossip: key file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("gossip: key file: %w", err)
	}
	return text, nil
}

// parseKeys never puts a line of the file into an error, because it may be a key.
func parseKeys(path string, text []byte) ([][]byte, error) {
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrKeys, path, maxKeyFile)
	}
	var keys [][]byte
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line, _, _ = bytes.Cut(line, []byte("#"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(string(line))
		if err != nil || len(key) != keySize {
			return nil, fmt.Errorf("%w: line %d of %s is not the base64 of %d bytes", ErrKeys, n, path, keySize)
		}
		keys = append(keys, key)
	}
	if err := checkKeys(keys); err != nil {
		return nil, fmt.Errorf("%w, in %s", err, path)
	}
	return keys, nil
}

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return ErrNoKey
	}
	if len(keys) > maxKeys {
		return fmt.Errorf("%w: there are %d; want at most %d", ErrKeys, len(keys), maxKeys)
	}
	seen := make(map[string]bool, len(keys))
	for i, k := range keys {
		if len(k) != keySize {
			return fmt.Errorf("%w: key %d has %d bytes; want %d", ErrKeys, i+1, len(k), keySize)
		}
		if seen[KeyID(k)] {
			return fmt.Errorf("%w: key %s is there twice", ErrKeys, KeyID(k))
		}
		seen[KeyID(k)] = true
	}
	return nil
}

// WriteKeys writes a key file, the primary first, so that a reader at any moment sees the old or
// the new one in whole. A file that was there keeps its mode and, where that is allowed, its owner,
// but not its comments; a new one has mode 0600.
func WriteKeys(path string, keys [][]byte) (err error) {
	if err := checkKeys(keys); err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // replace the file, not the link to it
	}
	text := []byte("# keys of the cluster, the primary first; written by edgecache cluster keys\n")
	for _, k := range keys {
		text = fmt.Appendf(text, "%s # %s\n", base64.StdEncoding.EncodeToString(k), KeyID(k))
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("gossip: write keys: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
			err = fmt.Errorf("gossip: write keys: %w", err)
		}
	}()
	if err := errors.Join(fill(temp, path, text), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// fill makes temp what path is to be.
func fill(temp *os.File, path string, text []byte) error {
	if old, err := os.Stat(path); err == nil {
		if err := temp.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
		keepOwner(temp, old)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := temp.Write(text); err != nil {
		return err
	}
	return temp.Sync()
}
