package source

import (
	"fmt"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// BatchShape is how the answer to a bulk lookup holds its users. The zero value is BatchObject.
type BatchShape string

const (
	// BatchObject holds them by id: {"users":{id:profile},…}.
	BatchObject BatchShape = "object"
	// BatchArray holds them in a list, as clients of the auth-user-service expect it:
	// {"users":[profile],"count":N,…}, N of them.
	BatchArray BatchShape = "array"
)

func (b BatchShape) check() error {
	switch b {
	case "", BatchObject, BatchArray:
		return nil
	}
	return fmt.Errorf("source: batch shape %.40q: want %s or %s", b, BatchObject, BatchArray)
}

// batchShape returns the shape that a request asks for, or the service's.
func (s *Service) batchShape(c *fiber.Ctx) (BatchShape, error) {
	shape := BatchShape(c.Query("shape", string(s.cfg.BatchShape)))
	if shape.check() != nil {
		return "", fmt.Errorf("%w: shape %.40q; want %s or %s",
			profile.ErrMalformed, string(shape), BatchObject, BatchArray)
	}
	return shape, nil
}

// appendUsers appends those of ids who were found, with their names in a JSON object or array.
func (b BatchShape) appendUsers(dst []byte, ids []string, found map[string]*profile.Profile) []byte {
	open, end := byte('{'), byte('}')
	if b == BatchArray {
		open, end = '[', ']'
	}
	dst = append(append(dst, `{"users":`...), open)
	n := 0
	for _, id := range ids {
		p := found[id]
		if p == nil {
			continue
		}
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		if b != BatchArray {
			dst = append(profile.AppendJSONString(dst, id), ':')
		}
		dst = profile.AppendJSON(dst, p)
	}
	if dst = append(dst, end); b == BatchArray {
		dst = strconv.AppendInt(append(dst, `,"count":`...), int64(n), 10)
	}
	return dst
}
