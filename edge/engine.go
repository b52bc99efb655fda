package edge

import (
	"context"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Engine compiles functions and bounds how many calls run at once. Its methods may be called
// concurrently.
type Engine struct {
	cfg     Config
	runtime wazero.Runtime
	cache   wazero.CompilationCache // nil without Config.CacheDir
	slots   chan struct{}           // one element per call that runs
	closing chan struct{}
	once    sync.Once
}

// NewEngine returns an Engine, which Close frees.
func NewEngine(cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, slots: make(chan struct{}, cfg.Concurrency), closing: make(chan struct{})}
	// Without WithCloseOnContextDone: fuel ends what runs, and the option costs 10 x for each turn
	// of a loop.
	conf := wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false).
		WithMemoryLimitPages(uint32(cfg.Pages))
	if cfg.CacheDir != "" {
		var err error
		if e.cache, err = wazero.NewCompilationCacheWithDir(cfg.CacheDir); err != nil {
			return nil, fmt.Errorf("edge: directory for native code: %w", err)
		}
		conf = conf.WithCompilationCache(e.cache)
	}
	ctx := context.Background()
	e.runtime = wazero.NewRuntimeWithConfig(ctx, conf)
	if err := instantiateWASI(ctx, e.runtime); err != nil {
		return nil, fmt.Errorf("edge: wasi: %w", err)
	}
	return e, nil
}

// Close waits for the calls that run, and frees the engine and all that it compiled. It may be
// called twice.
func (e *Engine) Close() (err error) {
	e.once.Do(func() {
		close(e.closing)
		for range cap(e.slots) {
			e.slots <- struct{}{}
		}
		err = e.free()
	})
	return err
}

func (e *Engine) free() error {
	ctx := context.Background()
	if err := e.runtime.Close(ctx); err != nil {
		return fmt.Errorf("edge: close: %w", err)
	}
	if e.cache != nil {
		return e.cache.Close(ctx)
	}
	return nil
}

// enter waits for a slot.
func (e *Engine) enter(ctx context.Context) error {
	select {
	case e.slots <- struct{}{}:
		return nil
	default: // a select of one case costs less than one of three
	}
	select {
	case e.slots <- struct{}{}:
		return nil
	case <-e.closing:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *Engine) leave() { <-e.slots }
