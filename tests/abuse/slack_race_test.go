//go:build race

package abuse

import "time"

// slack is what a busy machine may add to a p99, when the race detector makes each attack about ten
// times as much work.
const slack = 3 * time.Second
