package profile

import (
	"math"
	"strconv"
	"time"
)

// Millis is a time.Duration that is a number of milliseconds in JSON, with as many decimals as it
// takes. The names of such fields end in Ms.
type Millis time.Duration

// Duration returns m as a time.Duration.
func (m Millis) Duration() time.Duration { return time.Duration(m) }

// String is that of time.Duration.
func (m Millis) String() string { return time.Duration(m).String() }

// MarshalJSON returns the milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(m)/float64(time.Millisecond), 'f', -1, 64), nil
}

// UnmarshalJSON takes a number of milliseconds; null leaves m as it is. Errors are of
// strconv.ParseFloat, or strconv.ErrRange for what no time.Duration holds.
func (m *Millis) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	ms, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return err
	}
	nanos := math.Round(ms * float64(time.Millisecond))
	if math.IsNaN(nanos) || math.Abs(nanos) >= math.MaxInt64 {
		return strconv.ErrRange
	}
	*m = Millis(nanos)
	return nil
}
