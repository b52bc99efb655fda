package web

import (
	"crypto/sha256"
	_ "embed" // of docs.html
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"
)

// docsPage shows the OpenAPI document of the server that it comes from. It has its script and its
// style in it and fetches nothing else, so it works without a network.
//
//go:embed docs.html
var docsPage string

// docsPolicy lets the page run what is in it and nothing else.
var docsPolicy = sync.OnceValue(func() string {
	return fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
		contentHash("<script>", "</script>"), contentHash("<style>", "</style>"))
})

// contentHash is the source of what stands between two tags of the page, for a policy.
func contentHash(begin, end string) string {
	_, rest, _ := strings.Cut(docsPage, begin)
	text, _, _ := strings.Cut(rest, end)
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// SendDocs answers with the page.
func SendDocs(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetContentType("text/html; charset=utf-8")
	h.Set(fasthttp.HeaderContentSecurityPolicy, docsPolicy())
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.Response.SetBodyString(docsPage)
}
