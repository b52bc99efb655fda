package api

import (
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// media is the type of an answer.
type media uint8

const (
	mediaJSON media = iota
	mediaMsgpack
)

const (
	typeJSON    = "application/json"
	typeMsgpack = "application/msgpack"
)

// String returns the name of the type as of the Content-Type header.
func (m media) String() string {
	if m == mediaMsgpack {
		return typeMsgpack
	}
	return typeJSON
}

var problemAccept = &problem{status: 406, name: "not-acceptable", title: "Not acceptable",
	detail: "the Accept header allows neither application/json nor application/msgpack"}

// negotiate returns the type that the Accept header prefers, JSON where it has no preference.
func negotiate(c *fiber.Ctx) (media, error) {
	accept := headerValue(c, headerAccept)
	switch accept {
	case "", "*/*", typeJSON:
		return mediaJSON, nil
	case typeMsgpack:
		return mediaMsgpack, nil
	}
	json, msgpack := quality(accept, typeJSON), quality(accept, typeMsgpack)
	switch {
	case json == 0 && msgpack == 0:
		return 0, problemAccept
	case msgpack > json:
		return mediaMsgpack, nil
	}
	return mediaJSON, nil
}

// quality returns the weight from 0 to 1 that an Accept header (RFC 9110, 12.5.1) gives to
// mediaType: the weight of the most specific range that it falls into, 0 when it falls into none.
func quality(accept, mediaType string) float64 {
	kind, _, _ := strings.Cut(mediaType, "/")
	best, q := 0, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		specific := 0
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case mediaType:
			specific = 3
		case kind + "/*":
			specific = 2
		case "*/*":
			specific = 1
		}
		if specific > best {
			best, q = specific, weight(params)
		}
	}
	return q
}

// weight returns the q parameter: 1 when there is none, 0 for what is no number from 0 to 1.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
