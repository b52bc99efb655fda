package look

import (
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Waited is the profile.ErrUnavailable of a load whose time was up before the origin was asked.
type Waited struct {
	// For says what the time went to.
	For string
	// Limit is tier.Config.LoadDeadline.
	Limit time.Duration
	// Cause is that of the load's context.
	Cause error
}

// Error says what was waited for, and the limit.
func (w *Waited) Error() string {
	return fmt.Sprintf("%v: %s, within the limit of a load, %v: %v", profile.ErrUnavailable, w.For, w.Limit, w.Cause)
}

// Unwrap returns profile.ErrUnavailable and the cause.
func (w *Waited) Unwrap() []error { return []error{profile.ErrUnavailable, w.Cause} }
