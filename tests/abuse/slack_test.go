//go:build !race

package abuse

import "time"

// slack is what a busy machine may add to a p99; on a quiet one twice that of before is kept to.
const slack = 500 * time.Millisecond
