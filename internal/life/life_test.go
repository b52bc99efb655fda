package life

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func start(begin func(context.Context) error) func(*Life) error {
	return func(l *Life) error { return l.Start(context.Background(), begin) }
}

func TestStartBeginsOnce(t *testing.T) {
	var l Life
	begun := 0
	begin := start(func(context.Context) error { begun++; return nil })
	if err := errors.Join(begin(&l), begin(&l)); err != nil || begun != 1 {
		t.Errorf("two Starts: %v, begun %d times; want nil and once", err, begun)
	}
}

func TestStartMayBeCalledAgainAfterAnError(t *testing.T) {
	var l Life
	refused := errors.New("refused")
	if err := start(func(context.Context) error { return refused })(&l); !errors.Is(err, refused) || l.Started() {
		t.Fatalf("first Start: %v, started %v; want the error of begin", err, l.Started())
	}
	if err := start(func(context.Context) error { return nil })(&l); err != nil || !l.Started() {
		t.Errorf("second Start: %v, started %v; want nil", err, l.Started())
	}
}

func TestStartAfterCloseIsRefused(t *testing.T) {
	var l Life
	if err := l.Close(nil); err != nil {
		t.Fatal(err)
	}
	if err := start(func(context.Context) error { t.Error("begun after Close"); return nil })(&l); !errors.Is(err, ErrClosed) {
		t.Errorf("Start: %v; want ErrClosed", err)
	}
}

func TestCloseWaitsForGoroutinesAndEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Life
		over, ends := false, 0
		begin := start(func(context.Context) error {
			l.Go(func(ctx context.Context) {
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), ErrClosed) {
					t.Errorf("cause: %v; want ErrClosed", context.Cause(ctx))
				}
				<-time.After(time.Second) // in the bubble's time
				over = true
			})
			return nil
		})
		if err := begin(&l); err != nil {
			t.Fatal(err)
		}
		failed := errors.New("end failed")
		for range 2 {
			err := l.Close(func() error { ends++; return failed })
			if !over || ends != 1 || !errors.Is(err, failed) {
				t.Errorf("Close: %v, goroutine over %v, ended %d times; want the error of end, once", err, over, ends)
			}
		}
	})
}

func TestNothingRunsAfterClose(t *testing.T) {
	var l Life
	if err := l.Close(nil); err != nil {
		t.Fatal(err)
	}
	if l.Go(func(context.Context) { t.Error("it runs") }) {
		t.Error("Go: true after Close; want false")
	}
}

func TestCloseEndsAStartUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Life
		result := make(chan error)
		go func() {
			result <- start(func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })(&l)
		}()
		synctest.Wait()
		go func() {
			if err := l.Close(nil); err != nil {
				t.Error(err)
			}
		}()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("Start: %v; want ErrClosed", err)
		}
		synctest.Wait()
	})
}

// TestStress starts and closes from many goroutines at once: whatever comes first, nothing runs
// after Close.
func TestStress(t *testing.T) {
	for range 200 {
		var l Life
		var all sync.WaitGroup
		var mu sync.Mutex
		running, begun := 0, 0
		change := func(n int) { mu.Lock(); running += n; mu.Unlock() }
		for range 4 {
			all.Go(func() {
				err := l.Start(t.Context(), func(context.Context) error {
					begun++ // Start calls one begin at a time
					change(1)
					if !l.Go(func(ctx context.Context) { <-ctx.Done(); change(-1) }) {
						change(-1) // Close has begun, so nothing runs
					}
					return nil
				})
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("Start: %v", err)
				}
			})
			all.Go(func() {
				if err := l.Close(nil); err != nil {
					t.Errorf("Close: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				if running != 0 {
					t.Errorf("%d goroutines after Close", running)
				}
			})
		}
		all.Wait()
		if begun > 1 {
			t.Fatalf("begun %d times", begun)
		}
	}
}
