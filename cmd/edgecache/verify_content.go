package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/verify"
)

// contentSettings are the flags of verify about the origin that answers are compared with.
type contentSettings struct {
	on       bool
	origin   string
	rate     int
	foreign  foreignOrigin
	toOrigin originAccess
}

func (s *contentSettings) flags(f *pflag.FlagSet) {
	f.BoolVar(&s.on, "content", false, "compare answers with those of --origin, too")
	f.StringVar(&s.origin, "origin", "", "`URL` of the origin to compare with")
	f.IntVar(&s.rate, "content-rate", 20, "compare `N` users a second, up to 1000")
	s.foreign.flags(f)
	s.toOrigin.flags(f)
}

func (s *contentSettings) check() error {
	switch {
	case s.on && s.origin == "":
		return usagef("--content compares with the origin: want --origin URL with it")
	case !s.on && s.origin != "":
		return usagef("--origin is for --content")
	case s.rate < 1 || s.rate > 1000:
		return usagef("--content-rate %d: want 1 to 1000", s.rate)
	}
	if err := s.foreign.check(s.origin); err != nil {
		return err
	}
	return s.toOrigin.check(s.origin)
}

// apply makes the verifier compare with the origin, which must be there.
func (s *contentSettings) apply(ctx context.Context, conf *verify.Config, tokens auth.Config, up *parts) error {
	if !s.on {
		return nil
	}
	to := origin.ClientConfig{URL: s.origin, Logger: slog.New(slog.DiscardHandler)}
	s.foreign.apply(&to)
	if err := s.toOrigin.apply(&to, tokens, up.log); err != nil {
		return err
	}
	asks, err := origin.NewClient(to)
	if err != nil {
		return usagef("--origin: %w", err)
	}
	up.add(asks.Close)
	if err := asks.Start(ctx); err != nil {
		return fmt.Errorf("cannot reach the origin at %s (--origin): %w", redactURL(s.origin), s.toOrigin.explain(err))
	}
	conf.Truth, conf.ContentRate = asks, s.rate
	return nil
}
