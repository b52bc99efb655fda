package contracts

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/look"
	"github.com/chatapp-ngomna/edgecache/ui"
	"github.com/chatapp-ngomna/edgecache/verify"
)

// TestDurationsInJSONAreMilliseconds looks at all that nodes, origins and commands show in JSON.
func TestDurationsInJSONAreMilliseconds(t *testing.T) {
	seen := 0
	for _, shown := range []any{
		node.Stats{}, node.Cluster{}, node.Why{}, look.Why{}, prewarm.Status{}, prewarm.Result{}, stream.Backlog{}, origin.Health{},
		source.Backlog{}, ui.Snapshot{}, ui.Found{}, edge.FunctionStats{}, verify.Report{}, verify.Violation{}, verify.Mismatch{},
	} {
		durations(reflect.TypeOf(shown), map[reflect.Type]bool{}, func(in reflect.Type, f reflect.StructField) {
			seen++
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Type == reflect.TypeFor[time.Duration]() || !strings.HasSuffix(name, "Ms") {
				t.Errorf("%v.%s is a %v with the name %q; want profile.Millis and a name in Ms", in, f.Name, f.Type, name)
			}
		})
	}
	if seen < 10 {
		t.Errorf("only %d durations were found", seen)
	}
}

// durations calls found for each field of t, and of what is in it, that is a duration and in JSON.
func durations(t reflect.Type, done map[reflect.Type]bool, found func(reflect.Type, reflect.StructField)) {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
		durations(t.Elem(), done, found)
		return
	}
	if t.Kind() != reflect.Struct || done[t] || t == reflect.TypeFor[time.Time]() {
		return
	}
	done[t] = true
	for f := range t.Fields() {
		switch {
		case f.Tag.Get("json") == "-" || !f.IsExported():
		case f.Type == reflect.TypeFor[time.Duration](), f.Type == reflect.TypeFor[profile.Millis]():
			found(t, f)
		default:
			durations(f.Type, done, found)
		}
	}
}
