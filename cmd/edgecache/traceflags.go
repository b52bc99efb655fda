package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/internal/tracing"
)

// traceSettings are the flags of what serves requests about their traces.
type traceSettings struct {
	endpoint string
	ratio    float64
}

func (s *traceSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.endpoint, "otlp-endpoint", "", "`URL` of a collector of OpenTelemetry (OTLP/HTTP), such as http://127.0.0.1:4318; no traces when not given")
	f.Float64Var(&s.ratio, "otlp-ratio", 0.01, "trace this `SHARE` of the requests, 0 to 1, where the caller has not decided (traceparent)")
}

// trace returns what makes spans, nil without an endpoint. It is closed with the other parts.
func (up *parts) trace(s traceSettings, service string) (*tracing.Tracer, error) {
	if s.endpoint == "" {
		return nil, nil
	}
	t, err := tracing.New(tracing.Config{Endpoint: s.endpoint, Ratio: s.ratio, Service: service, Version: version(), Logger: up.log})
	if err != nil {
		return nil, usagef("--otlp-endpoint, --otlp-ratio: %s", strings.TrimPrefix(err.Error(), tracing.ErrConfig.Error()+": "))
	}
	up.add(t.Close)
	return t, nil
}
