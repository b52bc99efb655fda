package source_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if place := os.Getenv(crashEnv); place != "" {
		crashChild(place)
		return
	}
	goleak.VerifyTestMain(m,
		// fasthttp keeps one goroutine for the Date header of all servers, and one a server sleeps
		// up to 10 s longer than it.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}
