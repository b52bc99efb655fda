package seeded

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// errDoesNotApply says that the source is no longer what a patch was made for.
var errDoesNotApply = errors.New("seeded: the patch does not apply")

// prefix is what a diff puts before the names of its files.
var prefix = regexp.MustCompile(`^[ab]/`)

// overlay writes patched copies of a patch's files to dir, and the file for -overlay that puts them
// in the place of those under root. It returns that file's path.
func overlay(root, patch, dir string) (string, error) {
	f, err := os.Open(patch)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	files, _, err := gitdiff.Parse(f)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", errDoesNotApply, patch, err)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%w: %s changes no file", errDoesNotApply, patch)
	}
	replace := map[string]string{}
	for i, file := range files {
		original, err := filepath.Abs(filepath.Join(root, prefix.ReplaceAllString(file.OldName, "")))
		if err != nil {
			return "", err
		}
		source, err := os.ReadFile(original)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errDoesNotApply, err)
		}
		patched, err := apply(string(source), file)
		if err != nil {
			return "", fmt.Errorf("%s: %w", patch, err)
		}
		replace[original] = filepath.Join(dir, fmt.Sprint(i)+filepath.Ext(original))
		if err := os.WriteFile(replace[original], []byte(patched), 0o644); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o644)
}

// apply puts a file's fragments in. What a fragment expects must be there once, line by line; where
// in the file does not matter, so that a change elsewhere in it costs nothing.
func apply(source string, file *gitdiff.File) (string, error) {
	if file.IsBinary || len(file.TextFragments) == 0 {
		return "", fmt.Errorf("%w: nothing to change in %s", errDoesNotApply, file.OldName)
	}
	for _, fragment := range file.TextFragments {
		var before, after strings.Builder
		for _, line := range fragment.Lines {
			if line.Old() {
				before.WriteString(line.Line)
			}
			if line.New() {
				after.WriteString(line.Line)
			}
		}
		text := "\n" + source
		at := strings.Index(text, "\n"+before.String())
		if at < 0 || strings.Contains(text[at+1:], "\n"+before.String()) {
			return "", fmt.Errorf("%w: want what %s expects once in %s", errDoesNotApply, fragment.Header(), file.OldName)
		}
		source = source[:at] + after.String() + source[at+before.Len():]
	}
	return source, nil
}
