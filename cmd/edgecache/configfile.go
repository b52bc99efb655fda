package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// maxConfigFile is the largest configuration file, in bytes.
const maxConfigFile = 64 << 10

// setting is one line of a configuration file.
type setting struct {
	name  string
	value *yaml.Node
	line  int
}

// readSettings returns the settings of a YAML file in their order. The file is one mapping from the
// names of flags to plain values, and from the names of commands to mappings of the same kind.
func readSettings(file string) ([]setting, error) {
	text, err := readCapped(file)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) == 0 {
		return nil, nil // nothing but comments
	}
	return mapping(file, document.Content[0])
}

// mapping returns the settings of one mapping.
func mapping(file string, top *yaml.Node) ([]setting, error) {
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want lines of the form NAME: VALUE", file, top.Line)
	}
	settings := make([]setting, 0, len(top.Content)/2)
	for i := 0; i+1 < len(top.Content); i += 2 {
		key := top.Content[i]
		for _, earlier := range settings {
			if earlier.name == key.Value {
				return nil, fmt.Errorf("%s:%d: %s is set twice; first in line %d", file, key.Line, key.Value, earlier.line)
			}
		}
		settings = append(settings, setting{key.Value, top.Content[i+1], key.Line})
	}
	return settings, nil
}

// section returns the command under one whose settings these are, nil for a setting.
func (s setting) section(under *cobra.Command) *cobra.Command {
	if s.value.Kind != yaml.MappingNode {
		return nil
	}
	for _, cmd := range under.Commands() {
		if cmd.Name() == s.name {
			return cmd
		}
	}
	return nil
}

func readCapped(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(text) > maxConfigFile {
		err = fmt.Errorf("%s is larger than %d bytes", file, maxConfigFile)
	}
	return text, err
}

// apply sets the flag of that name, unless something stronger has.
func (s setting) apply(flags *pflag.FlagSet) error {
	f := flags.Lookup(s.name)
	if f == nil || s.name == "config" || s.name == "help" {
		known := slices.DeleteFunc(flagNames(flags), func(name string) bool { return name == "config" })
		return fmt.Errorf("unknown setting %q%s", s.name, cmp.Or(didYouMean("", s.name, known), "; known are "+strings.Join(known, ", ")))
	}
	if !s.fits(f.Value.Type()) {
		return fmt.Errorf("%s: want %s, not %s", s.name, wanted(f), s.given())
	}
	if f.Changed {
		return nil
	}
	if err := flags.Set(s.name, s.value.Value); err != nil {
		return fmt.Errorf("%s: want %s, not %q", s.name, wanted(f), s.value.Value)
	}
	return nil
}

// fits reports whether the value is of the YAML type that a flag takes.
func (s setting) fits(flagType string) bool {
	tag := s.tag()
	if flagType == "float64" {
		return tag == "!!float" || tag == "!!int"
	}
	return tag == map[string]string{"int": "!!int", "bool": "!!bool"}[flagType]
}

// tag returns the YAML type of a value, empty for text.
func (s setting) tag() string {
	if s.value.Kind == yaml.ScalarNode && s.value.Tag == "!!str" {
		return ""
	}
	return s.value.Tag
}

// given names what stands where something else belongs.
func (s setting) given() string {
	switch s.value.Tag {
	case "!!null":
		return "nothing"
	case "!!seq":
		return "a list"
	case "!!map":
		return "a mapping"
	case "!!int", "!!float":
		return "the number " + s.value.Value
	case "!!str":
		return strconv.Quote(s.value.Value)
	}
	return cmp.Or(s.value.Value, "an alias")
}
