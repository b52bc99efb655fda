package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// FunctionsNode is a node that runs edge functions; *node.Node is one.
type FunctionsNode interface {
	View(ctx context.Context, id string, through node.Through, want tier.Want) (node.View, error)
	BatchView(ctx context.Context, ids []string, through node.Through, want tier.Want) (tier.Batch, error)
	Functions() *edge.Functions
}

// Caller is who asks, as far as functions are concerned.
type Caller struct {
	// Role chooses the function of FunctionsConfig.Roles. RoleNone is that of a caller who has
	// none.
	Role string
	// Claims is what functions may read of the caller; nil for nothing. It is used until the
	// handler returns.
	Claims edge.Values
}

// RoleNone is the role of a caller of which nothing is known.
const RoleNone = "none"

// FunctionsConfig says how edge functions are served.
type FunctionsConfig struct {
	// Node runs them. Required.
	Node FunctionsNode
	// Roles names, for a role, the function that every profile goes through before a caller of that
	// role is shown it, whatever function the caller names besides. A role that is not here has
	// none.
	Roles map[string]string
	// Caller tells who asks. Errors are answered as they come. Default: what the token says, its
	// role and its claims; without tokens nobody is known, and all have RoleNone.
	Caller func(c *fiber.Ctx) (Caller, error)
}

// maxLocale is the longest language tag that is passed on, in bytes: RFC 5646 wants no more.
const maxLocale = 35

// argPrefix precedes the names of arguments in a query.
const argPrefix = "arg."

var headerVaryView = []byte("Accept, Accept-Language, Authorization")

// vary returns what an answer depends on in the request's headers.
func vary(tag uint64) []byte {
	if tag != 0 {
		return headerVaryView
	}
	return headerAccept
}

func (s *Server) caller(c *fiber.Ctx) (Caller, error) {
	if s.cfg.Functions.Caller != nil {
		return s.cfg.Functions.Caller(c)
	}
	id := gate.Identity(c.Context())
	if id == nil {
		return Caller{Role: RoleNone}, nil
	}
	return Caller{Role: id.Role.String(), Claims: claims(id.Claims)}, nil
}

// claims are those of a token, of which functions see texts, numbers, and true and false.
type claims map[string]any

// Value implements edge.Values.
func (c claims) Value(name string) (string, bool) {
	switch v := c[name].(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

// through says what functions the answer goes through: that of the caller's role, then the one of
// the query.
func (s *Server) through(c *fiber.Ctx) (through node.Through, err error) {
	args := c.Context().QueryArgs()
	fn := ""
	if len(c.Request().URI().QueryString()) > 0 {
		fn = utils.CopyString(utils.UnsafeString(args.Peek("fn")))
	}
	conf := s.cfg.Functions
	if conf == nil || fn == "" && len(conf.Roles) == 0 {
		return through, s.checkNone(fn)
	}
	who, err := s.caller(c)
	if err != nil {
		return through, err
	}
	if own := conf.Roles[who.Role]; own != "" {
		through.Functions = append(through.Functions, own)
	}
	if fn != "" && !slices.Contains(through.Functions, fn) {
		if err := edge.CheckName(fn); err != nil {
			return through, err
		}
		through.Functions = append(through.Functions, fn)
	}
	if len(through.Functions) > 0 {
		through.Request = edge.Request{Claims: who.Claims, Args: queryArgs{args}, Locale: localeOf(c)}
		err = s.checkArgs(c, through)
	}
	return through, err
}

func (s *Server) checkNone(fn string) error {
	if fn != "" && s.cfg.Functions == nil {
		return node.ErrNoFunctions
	}
	return nil
}

// checkArgs refuses arguments that no function takes: who misspells one is not to wonder why
// nothing changes.
func (s *Server) checkArgs(c *fiber.Ctx, through node.Through) error {
	for key := range c.Context().QueryArgs().All() {
		name, is := strings.CutPrefix(string(key), argPrefix)
		if is && !s.takes(through.Functions, name) {
			return fmt.Errorf("%w: no function of this lookup takes the argument %.70q", edge.ErrRequest, name)
		}
	}
	return nil
}

func (s *Server) takes(functions []string, arg string) bool {
	return slices.ContainsFunc(functions, func(name string) bool {
		serving, _, err := s.cfg.Functions.Node.Functions().Lookup(s.ctx, name, true)
		if err != nil {
			return true // the lookup itself will say so
		}
		return takes(s.ctx, serving, arg) || serving.Trial() != nil && takes(s.ctx, serving.Trial(), arg)
	})
}

// takes reports whether a version takes an argument, or cannot say: then the lookup will say why.
func takes(ctx context.Context, version *edge.Serving, arg string) bool {
	f, err := version.Function(ctx)
	return err != nil || f.About().Takes(arg)
}

// queryArgs are the arguments of a query. What it returns is valid until the handler returns.
type queryArgs struct{ args *fasthttp.Args }

// Value implements edge.Values.
func (q queryArgs) Value(name string) (string, bool) {
	var room [80]byte
	key := append(append(room[:0], argPrefix...), name...)
	if !q.args.HasBytes(key) {
		return "", false
	}
	return utils.UnsafeString(q.args.PeekBytes(key)), true
}

// localeOf returns the language that ?locale= names, else the one that Accept-Language prefers.
func localeOf(c *fiber.Ctx) string {
	if tag := c.Context().QueryArgs().Peek("locale"); len(tag) > 0 {
		return plainLocale(string(tag))
	}
	best, q := "", 0.0
	for part := range strings.SplitSeq(c.Get(fiber.HeaderAcceptLanguage), ",") {
		tag, params, _ := strings.Cut(part, ";")
		if w := weight(params); w > q {
			best, q = strings.TrimSpace(tag), w
		}
	}
	return plainLocale(best)
}

// plainLocale returns a language tag, or "" for what is none.
func plainLocale(tag string) string {
	ok := len(tag) <= maxLocale
	for i := range len(tag) {
		c := tag[i] | 0x20
		ok = ok && (c >= 'a' && c <= 'z' || tag[i] >= '0' && tag[i] <= '9' || tag[i] == '-')
	}
	if !ok {
		return ""
	}
	return tag
}

// sendView answers with what functions show of a user.
func (s *Server) sendView(c *fiber.Ctx, id string, through node.Through, want tier.Want, m media) error {
	view, err := s.cfg.Functions.Node.View(s.context(c), id, through, want)
	if err != nil {
		return userError(viewError(c, err), id)
	}
	s.sendUser(c, view.Result, m, view.Tag)
	return nil
}

// viewError tells a function that the caller named, and that is not there, from one that the
// operator did.
func viewError(c *fiber.Ctx, err error) error {
	f, ok := errors.AsType[*edge.Failure](err)
	if !ok || !errors.Is(err, edge.ErrUnknown) || f.Function == c.Query("fn") {
		return err
	}
	return &problem{status: 502, name: "function-failed", title: "Function failed",
		detail: fmt.Sprintf("there is no function %q, which users go through before this caller is shown them", f.Function)}
}

// lookUp looks users up, through functions if there are any.
func (s *Server) lookUp(ctx context.Context, c *fiber.Ctx, ids []string, through node.Through, want tier.Want) (tier.Batch, error) {
	if len(through.Functions) == 0 {
		return s.cfg.Node.BatchGet(ctx, ids, want)
	}
	batch, err := s.cfg.Functions.Node.BatchView(ctx, ids, through, want)
	return batch, viewError(c, err)
}

// functionProblem is what a client is told of an error of edge functions; nil for others.
func functionProblem(err error) *problem {
	var f *edge.Failure
	switch {
	case errors.Is(err, edge.ErrModule):
		return &problem{status: 422, name: "no-function", title: "No function", detail: reason(err, edge.ErrModule)}
	case errors.Is(err, edge.ErrRefused) && errors.As(err, &f):
		return &problem{status: 403, name: "refused", title: "Refused by a function",
			detail: fmt.Sprintf("function %q refuses to show this user: %s", f.Function, f.Detail)}
	case errors.Is(err, edge.ErrUnknown) && errors.As(err, &f):
		return &problem{status: 404, name: "no-such-function", title: "No such function",
			detail: fmt.Sprintf("there is no function %q", f.Function)}
	case errors.As(err, &f):
		return &problem{status: 502, name: "function-failed", title: "Function failed",
			detail: strings.TrimPrefix(f.Error(), "edge: ")}
	case errors.Is(err, node.ErrNoFunctions):
		return &problem{status: 404, name: "no-such-function", title: "No such function", detail: "this node runs no edge functions"}
	case errors.Is(err, edge.ErrClosed):
		return &problem{status: 503, name: "unavailable", title: "Unavailable", detail: "the node is closing; try again"}
	case errors.Is(err, edge.ErrSignature):
		return &problem{status: 403, name: "signature-refused", title: "Signature refused", detail: reason(err, edge.ErrSignature)}
	case errors.Is(err, edge.ErrRequest):
		return problemRequest(reason(err, edge.ErrRequest))
	}
	return nil
}
