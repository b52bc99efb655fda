package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/internal/routecount"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/node"
)

// typeWasm is the type of modules.
const typeWasm = "application/wasm"

// functionsPath is where functions are administered.
const functionsPath = "/v1/functions"

// defaultDiff and maxDiff are how many users a comparison takes.
const (
	defaultDiff = 1000
	maxDiff     = 10_000
)

// Differ is a FunctionsNode that compares modules; *node.Node is one.
type Differ interface {
	DiffFunction(ctx context.Context, name string, wasm []byte, fuel int64, users int, r edge.Request) (node.Diff, error)
}

// functionRoutes adds what administers edge functions.
func (s *Server) functionRoutes(app *routecount.Router) {
	if s.cfg.Functions == nil {
		return
	}
	admin := func(h fiber.Handler) fiber.Handler { return s.allow(auth.RoleAdmin, h) }
	app.Get(functionsPath, admin(s.getFunctions))
	app.Get(functionsPath+"/:name", admin(s.getFunction))
	app.Get(functionsPath+"/:name/module", admin(s.getModule))
	app.Put(functionsPath+"/:name", admin(s.ownSite(s.putFunction)))
	app.Post(functionsPath+"/:name/diff", admin(s.ownSite(s.postDiff)))
	app.Post(functionsPath+"/:name/rollback", admin(s.ownSite(s.postRollback)))
	app.Delete(functionsPath+"/:name", admin(s.ownSite(s.deleteFunction)))
}

// maxBody is the largest body of a request, in bytes: modules may be larger than all else.
func maxBody(ctx *fasthttp.RequestCtx) int {
	if strings.HasPrefix(utils.UnsafeString(ctx.Path()), functionsPath+"/") {
		return edge.MaxModule
	}
	return MaxBody
}

func (s *Server) functions() *edge.Functions { return s.cfg.Functions.Node.Functions() }

// functionName returns the :name of the path, checked and copied.
func functionName(c *fiber.Ctx) (string, error) {
	name := utils.CopyString(c.Params("name"))
	return name, edge.CheckName(name)
}

// functionAnswer is one function: its versions, and what this node knows of it.
type functionAnswer struct {
	edge.Record
	About *edge.Description   `json:"about,omitempty"`
	Stats *edge.FunctionStats `json:"stats,omitempty"`
}

// getFunctions serves GET /v1/functions.
func (s *Server) getFunctions(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	records, err := s.functions().Records(ctx)
	if err != nil && records == nil {
		return functionsUnavailable(err)
	}
	answers := make(map[string]functionAnswer, len(records))
	for name, r := range records {
		answers[name] = s.describe(ctx, name, r)
	}
	return sendValue(c, fiber.StatusOK, struct {
		Functions map[string]functionAnswer `json:"functions"`
	}{answers})
}

// describe adds what this node knows of a function.
func (s *Server) describe(ctx context.Context, name string, r edge.Record) functionAnswer {
	a := functionAnswer{Record: r}
	serving, _, err := s.functions().Lookup(ctx, name, true)
	if err != nil {
		return a
	}
	stats := serving.Stats()
	a.Stats = &stats
	if f, err := serving.Function(ctx); err == nil {
		about := f.About()
		a.About = &about
	}
	return a
}

// getFunction serves GET /v1/functions/:name.
func (s *Server) getFunction(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	name, r, err := s.record(ctx, c)
	if err != nil {
		return err
	}
	return sendValue(c, fiber.StatusOK, s.describe(ctx, name, r))
}

// record returns the function of the path.
func (s *Server) record(ctx context.Context, c *fiber.Ctx) (string, edge.Record, error) {
	name, err := functionName(c)
	if err != nil {
		return "", edge.Record{}, err
	}
	records, err := s.functions().Records(ctx)
	if r, ok := records[name]; ok {
		return name, r, nil
	}
	if err != nil {
		return "", edge.Record{}, functionsUnavailable(err)
	}
	return "", edge.Record{}, &edge.Failure{Function: name, Err: edge.ErrUnknown}
}

// getModule serves GET /v1/functions/:name/module?version=N: the module as it was pushed.
func (s *Server) getModule(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	name, r, err := s.record(ctx, c)
	if err != nil {
		return err
	}
	number, err := queryNumber(c, "version", int64(r.Current))
	if err != nil {
		return err
	}
	v, ok := r.Find(int(number))
	if !ok {
		return fmt.Errorf("%w: %q has no version %d", edge.ErrRequest, name, number)
	}
	wasm, err := s.functions().Module(ctx, v.Sum)
	if err != nil {
		return functionsUnavailable(err)
	}
	c.Response().Header.SetContentType(typeWasm)
	c.Response().Header.SetCanonical(headerCacheControl, valueNoStore)
	c.Response().SetBodyRaw(wasm)
	return nil
}

// putFunction serves PUT /v1/functions/:name?fuel=N&open=1&share=X&signature=…: it pushes the
// module in the body.
func (s *Server) putFunction(c *fiber.Ctx) error {
	name, err := functionName(c)
	if err != nil {
		return err
	}
	fuel, err := queryNumber(c, "fuel", 0)
	if err != nil {
		return err
	}
	o := edge.PushOptions{Fuel: fuel, Open: c.QueryBool("open"), Signature: utils.CopyString(c.Query("signature"))}
	if o.Share, err = queryShare(c); err != nil {
		return err
	}
	body, err := s.readModule(c)
	if err != nil {
		return err
	}
	defer body.Release()
	ctx, cancel := context.WithTimeout(s.ctx, pushTimeout)
	defer cancel()
	pushed, err := s.functions().Push(ctx, name, body.Bytes, o)
	if err != nil {
		return functionsUnavailable(err)
	}
	return sendValue(c, fiber.StatusOK, pushed)
}

// pushTimeout bounds a push, which waits for all nodes to compile.
const pushTimeout = time.Minute

func (s *Server) readModule(c *fiber.Ctx) (*web.Body, error) {
	if err := wantType(c, typeWasm, "application/octet-stream"); err != nil {
		return nil, err
	}
	body, err := s.budget.ReadBody(c.Context(), edge.MaxModule)
	if errors.Is(err, web.ErrTooLarge) {
		return nil, &problem{status: 413, name: "too-large", title: "Too large",
			detail: fmt.Sprintf("a module takes at most %d bytes", edge.MaxModule)}
	}
	return body, err
}

// queryNumber returns a number from 0 of the query.
func queryNumber(c *fiber.Ctx, name string, otherwise int64) (int64, error) {
	text := c.Query(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, problemRequest(fmt.Sprintf("%s is %.40q; want a whole number from 0", name, text))
	}
	return n, nil
}

// queryShare returns the share of the query, 0 without one.
func queryShare(c *fiber.Ctx) (float64, error) {
	text := c.Query("share")
	if text == "" {
		return 0, nil
	}
	share, err := strconv.ParseFloat(text, 64)
	if err != nil || !(share > 0 && share < 1) {
		return 0, problemRequest(fmt.Sprintf("share is %.40q; want a number above 0 and below 1, such as 0.05", text))
	}
	return share, nil
}

// postRollback serves POST /v1/functions/:name/rollback?to=N.
func (s *Server) postRollback(c *fiber.Ctx) error {
	name, err := functionName(c)
	if err != nil {
		return err
	}
	to, err := queryNumber(c, "to", 0)
	if err == nil {
		err = s.skipBody(c)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, pushTimeout)
	defer cancel()
	pushed, err := s.functions().Rollback(ctx, name, int(to))
	if err != nil {
		return functionsUnavailable(err)
	}
	return sendValue(c, fiber.StatusOK, pushed)
}

// deleteFunction serves DELETE /v1/functions/:name.
func (s *Server) deleteFunction(c *fiber.Ctx) error {
	name, err := functionName(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	if err := s.functions().Remove(ctx, name); err != nil {
		return functionsUnavailable(err)
	}
	c.Response().Header.SetCanonical(headerCacheControl, valueNoStore)
	return c.SendStatus(fiber.StatusNoContent)
}

// postDiff serves POST /v1/functions/:name/diff?users=N&claim.NAME=…&arg.NAME=…&locale=…: how the
// module in the body differs from what serves.
func (s *Server) postDiff(c *fiber.Ctx) error {
	differ, ok := s.cfg.Functions.Node.(Differ)
	if !ok {
		return node.ErrNoFunctions
	}
	name, err := functionName(c)
	if err != nil {
		return err
	}
	users, err := queryNumber(c, "users", defaultDiff)
	if err != nil {
		return err
	}
	fuel, err := queryNumber(c, "fuel", 0)
	if err != nil {
		return err
	}
	body, err := s.readModule(c)
	if err != nil {
		return err
	}
	defer body.Release()
	ctx, cancel := context.WithTimeout(s.ctx, pushTimeout)
	defer cancel()
	d, err := differ.DiffFunction(ctx, name, body.Bytes, fuel, int(min(users, maxDiff)), requestOf(c))
	if err != nil {
		return functionsUnavailable(err)
	}
	return sendValue(c, fiber.StatusOK, d)
}

// requestOf reads a made-up caller from the query.
func requestOf(c *fiber.Ctx) edge.Request {
	claims, args := edge.Map{}, edge.Map{}
	for key, value := range c.Context().QueryArgs().All() {
		if name, ok := strings.CutPrefix(string(key), "claim."); ok {
			claims[name] = string(value)
		}
		if name, ok := strings.CutPrefix(string(key), argPrefix); ok {
			args[name] = string(value)
		}
	}
	return edge.Request{Claims: claims, Args: args, Locale: utils.CopyString(localeOf(c))}
}

// functionsUnavailable is for the errors of an administration: what is no fault of the request is
// one of Redis.
func functionsUnavailable(err error) error {
	if problemOf(err) != problemInternal {
		return err
	}
	return &problem{status: 503, name: "functions-unavailable", title: "Functions unavailable",
		detail: "Redis, which keeps the functions, did not answer; try again", cause: err}
}
