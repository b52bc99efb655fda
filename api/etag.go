package api

import (
	"hash/crc32"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// castagnoli is the polynomial that processors compute themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendETag appends the entity tag of one representation: "VERSION-CHECKSUM-j" for JSON, -m for
// msgpack. The checksum of the packed bytes is there for records that other services write by hand,
// where equal versions need not mean equal records. What went through edge functions has their tag
// before the end: "VERSION-CHECKSUM-TAG-j".
func appendETag(dst []byte, res tier.Result, m media, tag uint64) []byte {
	dst = strconv.AppendInt(append(dst, '"'), res.Version(), 10)
	dst = strconv.AppendUint(append(dst, '-'), uint64(crc32.Checksum(res.Packed(), castagnoli)), 16)
	if tag != 0 {
		dst = strconv.AppendUint(append(dst, '-'), tag, 16)
	}
	if m == mediaMsgpack {
		return append(dst, `-m"`...)
	}
	return append(dst, `-j"`...)
}

// notModified reports whether the client already has the representation that etag names.
func notModified(c *fiber.Ctx, etag []byte) bool {
	known := headerValue(c, headerIfNoneMatch)
	return known != "" && web.NoneMatch(known, string(etag))
}
