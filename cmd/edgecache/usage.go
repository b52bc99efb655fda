package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a mistake in how the command was called.
type usageError struct{ err error }

// Error returns the mistake.
func (u *usageError) Error() string { return u.err.Error() }

// Unwrap returns the mistake's cause.
func (u *usageError) Unwrap() error { return u.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// explainFlag puts what is wrong with a flag in words of the command line, in place of the
// parser's.
func explainFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && len(unknown.GetSpecifiedShortnames()) == 0:
		name := unknown.GetSpecifiedName()
		return fmt.Errorf("unknown flag --%s%s", name, didYouMean("--", name, flagNames(cmd.Flags())))
	case errors.As(err, &invalid):
		return fmt.Errorf("--%s: want %s, not %q", invalid.GetFlag().Name, wanted(invalid.GetFlag()), invalid.GetValue())
	}
	return err
}

// wanted says what a flag takes.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	case "float64":
		return "a number such as 0.5"
	case "durationSlice":
		return "durations such as 250ms,2.5s"
	case "duration":
		return "a duration such as 500ms or 5s"
	}
	return "text"
}

// flagNames returns the names that a configuration file or a command line may have.
func flagNames(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			names = append(names, f.Name)
		}
	})
	return names
}

// didYouMean returns "; did you mean …?" for the name that is nearest to a mistyped one, nothing
// when none is near.
func didYouMean(prefix, typed string, names []string) string {
	best, nearest := 3, ""
	for _, name := range names {
		if d := distance(typed, name); d < best {
			best, nearest = d, name
		}
	}
	if nearest == "" {
		return ""
	}
	return "; did you mean " + prefix + nearest + "?"
}

// distance returns how many bytes must be inserted, removed or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes flags only, not %q", cmd.Name(), redactURL(strings.Join(args, " ")))
	}
	return nil
}

// wantArgs refuses fewer arguments than min or more than max, and says what belongs there.
func wantArgs(min, max int, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < min || len(args) > max {
			return fmt.Errorf("%s wants %s, such as: %s %s", cmd.Name(), strings.TrimPrefix(cmd.Use, cmd.Name()+" "), cmd.CommandPath(), example)
		}
		return nil
	}
}
