package gate

import (
	"errors"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestOwnSite(t *testing.T) {
	for headers, own := range map[string]bool{
		"": true, "Sec-Fetch-Site: same-origin": true, "Sec-Fetch-Site: none": true, "Origin: http://here:1": true, "Origin: https://HERE:1": true,
		"Sec-Fetch-Site: cross-site": false, "Sec-Fetch-Site: same-site": false, "Sec-Fetch-Site: x": false, "Origin: null": false,
		"Origin: http://evil": false, "Origin: http://here:2": false, "Origin: http://here:1.evil": false, "Origin: here:1": false,
		"Sec-Fetch-Site: cross-site|Origin: http://here:1": false,
		// the page's own reverse proxy
		"Sec-Fetch-Site: same-origin|Origin: http://evil":        true,
		"Sec-Fetch-Site: cross-site|Authorization: Bearer a.b.c": true,
	} {
		var h fasthttp.RequestHeader
		h.SetHost("here:1")
		for one := range strings.SplitSeq(headers, "|") {
			if name, value, ok := strings.Cut(one, ": "); ok {
				h.Set(name, value)
			}
		}
		if err := new(Gate).OwnSite(&h); (err == nil) != own || err != nil && !errors.Is(err, ErrCrossSite) {
			t.Errorf("%q: %v; want own %v", headers, err, own)
		}
	}
}
