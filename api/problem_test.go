package api

import (
	"fmt"
	"os"
	"testing"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// TestNodesAnswerAsOrigins has problems whose text is the node's own keep to the one list of
// statuses.
func TestNodesAnswerAsOrigins(t *testing.T) {
	for _, err := range []error{gate.ErrForeignHost, gate.ErrSimpleType, gate.ErrCrossSite, auth.ErrUnauthorized,
		auth.ErrForbidden, &gate.Limited{What: "more"}, web.ErrTooLarge, web.ErrNoBody, web.ErrTruncated, web.ErrBusy,
		os.ErrDeadlineExceeded, profile.ErrInvalidID, profile.ErrNotFound, profile.ErrTooLarge} {
		wrapped := fmt.Errorf("read: %w", err)
		if got, want := problemOf(wrapped).status, gate.Status(wrapped); got != want || want == 0 {
			t.Errorf("%v: %d; want %d", err, got, want)
		}
	}
}
