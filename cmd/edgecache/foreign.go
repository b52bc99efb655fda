package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
)

// foreignOrigin are the flags of serve about an origin that is another service than edgecache's
// own.
type foreignOrigin struct {
	health, idField string
}

func (o *foreignOrigin) flags(f *pflag.FlagSet) {
	f.StringVar(&o.health, "origin-health", "/health", "`PATH` of --origin to ask at the start; any answer shows that it is there")
	f.StringVar(&o.idField, "origin-id-field", "", "`NAME` of the field that holds the id in the profiles of --origin; id or _id when not given")
}

// check refuses flags that have nothing to work on.
func (o *foreignOrigin) check(url string) error {
	switch {
	case !strings.HasPrefix(o.health, "/"):
		return usagef("--origin-health %q: want a path such as /health", o.health)
	case url == "" && (o.idField != "" || o.health != "/health"):
		return usagef("--origin-id-field and --origin-health are for another origin; want --origin URL with them")
	}
	return nil
}

func (o *foreignOrigin) apply(conf *origin.ClientConfig) {
	conf.HealthPath, conf.IDField = o.health, o.idField
}

// ownClients are the flags of origin for clients that were made for another service.
type ownClients struct {
	shape         string
	ignoreUnknown bool
}

func (c *ownClients) flags(f *pflag.FlagSet) {
	f.StringVar(&c.shape, "batch-shape", string(source.BatchObject), "answer bulk lookups without ?shape= as `object` by id, or as array with a count")
	f.BoolVar(&c.ignoreUnknown, "ignore-unknown", false, "leave fields that nobody knows out of changes, in place of 400")
}

func (c *ownClients) check() error {
	if s := source.BatchShape(c.shape); s != "" && s != source.BatchObject && s != source.BatchArray {
		return usagef("--batch-shape %q: want %s or %s", c.shape, source.BatchObject, source.BatchArray)
	}
	return nil
}

func (c *ownClients) apply(conf *source.ServiceConfig) {
	conf.BatchShape, conf.IgnoreUnknown = source.BatchShape(c.shape), c.ignoreUnknown
}
