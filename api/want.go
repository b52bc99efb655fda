package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// newest is the age that no copy has: who asks for it gets what the source of truth says now.
const newest = time.Nanosecond

// wantOf reads what the request demands of the answer: ?minVersion=N and Cache-Control: max-age=N
// or no-cache.
func wantOf(c *fiber.Ctx) (want tier.Want, err error) {
	if demands := headerValue(c, headerCacheControl); demands != "" {
		want.MaxAge = maxAge(demands)
	}
	if len(c.Request().URI().QueryString()) > 0 {
		want.MinVersion, err = minVersion(c.Query("minVersion"))
	}
	return want, err
}

func minVersion(value string) (int64, error) {
	if value == "" {
		return 0, nil
	}
	v, err := strconv.ParseInt(value, 10, 64)
	if err != nil || profile.CheckVersion(v) != nil {
		p := problemRequest(fmt.Sprintf("minVersion %.40q is no version", value))
		p.rule = "milliseconds since 1970, decimal, below 2^53"
		return 0, p
	}
	return v, nil
}

// maxAge returns the oldest age that a request's Cache-Control allows, 0 for any. A max-age that is
// no number counts as 0 seconds, as RFC 9111 (1.2.2 and 4.2.1) advises; other directives are not
// for this cache.
func maxAge(cacheControl string) (limit time.Duration) {
	for directive := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-cache":
			return newest
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil || seconds == 0 {
				return newest
			}
			limit = time.Duration(seconds) * time.Second
		}
	}
	return limit
}
