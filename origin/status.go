package origin

import (
	"context"
	"errors"
	"net/http"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// statuses are what the errors of the truth are over HTTP: the service answers so, and the client
// reads so. The first that fits counts. Never changed.
var statuses = []struct {
	err  error
	code int
}{
	{profile.ErrInvalidID, http.StatusBadRequest},
	{profile.ErrMalformed, http.StatusBadRequest},
	{profile.ErrNotFound, http.StatusNotFound},
	{ErrExists, http.StatusConflict},
	{ErrVersion, http.StatusPreconditionFailed},
	{profile.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{profile.ErrUnavailable, http.StatusServiceUnavailable},
	{ErrClosed, http.StatusServiceUnavailable},
	{ErrUnwritable, http.StatusServiceUnavailable},
	{context.DeadlineExceeded, http.StatusServiceUnavailable},
	{context.Canceled, http.StatusServiceUnavailable},
}

// Status returns the HTTP status with which a source of truth answers a lookup or a change that
// ended in err: 500 for what is no error of this package or of profile, nor the end of a context.
func Status(err error) int {
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.code
		}
	}
	return http.StatusInternalServerError
}

// meaning returns the error that a status of an answer stands for. Other services than ours answer
// 410 and 422 as well. What no status stands for is profile.ErrUnavailable.
func meaning(call *call, status int) error {
	switch status {
	case http.StatusGone:
		status = http.StatusNotFound
	case http.StatusUnprocessableEntity:
		status = http.StatusBadRequest
	}
	if status == http.StatusBadRequest && call.body != nil {
		return profile.ErrMalformed // of a lookup it is an id that this service would never have
	}
	for _, s := range statuses {
		if s.code == status {
			return s.err
		}
	}
	return profile.ErrUnavailable
}
