package haltest

import (
	"context"
	"testing"
	"time"

	"anchord/hal"
)

// watch runs f.Watch until stop is called, which fails the test if Watch does not end.
func watch(t *testing.T, f hal.Finder, changed func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Watch(ctx, changed) }()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("watch did not end with its context")
		}
	}
}
