package gate

import (
	"errors"
	"net/http"
	"os"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// statuses are what nodes and origins answer alike, the first that fits. Never changed.
var statuses = []struct {
	err  error
	code int
}{
	{ErrForeignHost, http.StatusMisdirectedRequest},
	{ErrSimpleType, http.StatusUnsupportedMediaType},
	{ErrCrossSite, http.StatusForbidden},
	{auth.ErrUnauthorized, http.StatusUnauthorized},
	{auth.ErrForbidden, http.StatusForbidden},
	{web.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{web.ErrNoBody, http.StatusBadRequest},
	{web.ErrTruncated, http.StatusBadRequest},
	{web.ErrBusy, http.StatusServiceUnavailable},
	{os.ErrDeadlineExceeded, http.StatusRequestTimeout},
	{profile.ErrInvalidID, http.StatusBadRequest},
	{profile.ErrNotFound, http.StatusNotFound},
	{profile.ErrTooLarge, http.StatusRequestEntityTooLarge},
}

// Status returns the HTTP status of an error that nodes and origins answer alike: of this package,
// of auth, of a body, of an id or a profile. It returns 0 for those that a server has of its own.
func Status(err error) int {
	if _, ok := errors.AsType[*Limited](err); ok {
		return http.StatusTooManyRequests
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.code
		}
	}
	return 0
}
