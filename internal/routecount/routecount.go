// Package routecount counts the answers of a server by route and class of their status.
package routecount

import (
	"sync/atomic"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Router is a router whose routes have their answers counted. It is a prometheus.Collector. Routes
// are added before it serves.
type Router struct {
	app    *fiber.App
	status func(error) int
	routes []*route
}

// route is one of a Router, with its answers by the class of their status: 2 for 2xx.
type route struct {
	method, path string
	classes      [6]atomic.Uint64
}

// New returns a Router without routes. status is what becomes of a handler's error.
func New(status func(error) int) *Router { return &Router{status: status} }

// On sets the router that the routes are added to, and returns r.
func (r *Router) On(app *fiber.App) *Router {
	r.app = app
	return r
}

// Get serves GET and HEAD.
func (r *Router) Get(path string, h fiber.Handler) {
	r.app.Get(path, r.count(fiber.MethodGet, path, h))
}

// Put serves PUT.
func (r *Router) Put(path string, h fiber.Handler) {
	r.app.Put(path, r.count(fiber.MethodPut, path, h))
}

// Post serves POST.
func (r *Router) Post(path string, h fiber.Handler) {
	r.app.Post(path, r.count(fiber.MethodPost, path, h))
}

// Delete serves DELETE.
func (r *Router) Delete(path string, h fiber.Handler) {
	r.app.Delete(path, r.count(fiber.MethodDelete, path, h))
}

func (r *Router) count(method, path string, next fiber.Handler) fiber.Handler {
	one := &route{method: method, path: path}
	r.routes = append(r.routes, one)
	return func(c *fiber.Ctx) error {
		err := next(c)
		status := c.Response().StatusCode()
		if err != nil {
			status = r.status(err)
		}
		one.classes[min(max(status/100, 0), 5)].Add(1)
		return err
	}
}

var requests = prometheus.NewDesc("edgecache_http_requests_total",
	"Requests by method, route and class of the status, such as 2xx.", []string{"method", "route", "class"}, nil)

// Describe implements prometheus.Collector.
func (r *Router) Describe(out chan<- *prometheus.Desc) { out <- requests }

// Collect implements prometheus.Collector. Of each route there is the class that is good, and those
// that were.
func (r *Router) Collect(out chan<- prometheus.Metric) {
	for _, one := range r.routes {
		for class := range one.classes {
			if n := one.classes[class].Load(); n > 0 || class == 2 {
				out <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(n), one.method, one.path,
					string(rune('0'+class))+"xx")
			}
		}
	}
}
