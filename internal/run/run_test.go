package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBackoffIsJitteredAndBounded(t *testing.T) {
	b := Backoff{500 * time.Millisecond, 30 * time.Second}
	if d := b.Delay(0); d != 0 {
		t.Errorf("try 0 waits %v", d)
	}
	for n, want := range map[int]time.Duration{1: 500 * time.Millisecond, 2: time.Second, 4: 4 * time.Second, 7: 30 * time.Second, 1 << 30: 30 * time.Second} {
		seen := map[time.Duration]bool{}
		for range 200 {
			d := b.Delay(n)
			if d < want/2 || d > want {
				t.Fatalf("try %d waits %v, want %v to %v", n, d, want/2, want)
			}
			seen[d] = true
		}
		if len(seen) < 10 {
			t.Errorf("try %d: only %d different waits", n, len(seen))
		}
	}
}

func TestSleepEndsByTimePokeAndContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if err := Sleep(t.Context(), time.Minute, nil); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("by time: %v after %v", err, time.Since(begun))
		}
		poke := make(chan struct{}, 1)
		poke <- struct{}{}
		begun = time.Now()
		if err := Sleep(t.Context(), time.Minute, poke); err != nil || time.Since(begun) != 0 {
			t.Errorf("by poke: %v after %v", err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Sleep(ctx, time.Minute, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("by context: %v", err)
		}
	})
}

// order writes down what happened, in order.
type order struct {
	mu sync.Mutex
	s  []string
}

func (o *order) add(s string) { o.mu.Lock(); o.s = append(o.s, s); o.mu.Unlock() }

func (o *order) stays(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		o.add("+" + name)
		<-ctx.Done()
		time.Sleep(time.Millisecond) // the others must wait for it
		o.add("-" + name)
		return ctx.Err()
	}
}

func TestStopIsInReverseOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o order
		var g Group
		g.Must("a", o.stays("a"))
		g.Keep("b", o.stays("b"))
		g.Must("c", o.stays("c"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(o.s[3:], " "); got != "-c -b -a" {
			t.Errorf("stopped %q", got)
		}
		for _, s := range g.States() {
			if s.Phase != Idle {
				t.Errorf("%s is %s after Run", s.Name, s.Phase)
			}
		}
	})
}

func TestAPartThatHangsKeepsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o order
		var g Group
		driver := make(chan struct{})
		defer close(driver)
		g.Must("room", o.stays("room"))
		g.Keep("camera", func(context.Context) error { <-driver; return nil })
		g.Keep("mic", o.stays("mic"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		err := g.Run(ctx)
		if err == nil || !strings.HasPrefix(err.Error(), "camera: did not end within 15s") {
			t.Errorf("%v", err)
		}
		if d := time.Since(begun); d > 17*time.Second {
			t.Errorf("it took %v", d)
		}
		if got := strings.Join(o.s[2:], " "); got != "-mic -room" {
			t.Errorf("ended %q", got)
		}
		if s := g.States()[1]; s.Phase != Running {
			t.Errorf("the camera is %s", s.Phase)
		}
	})
}

func TestMustEndsAll(t *testing.T) {
	boom := errors.New("boom")
	for _, err := range []error{boom, nil} {
		t.Run(fmt.Sprint(err), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var o order
				var g Group
				g.Must("a", o.stays("a"))
				g.Must("b", func(context.Context) error { time.Sleep(time.Second); return err })
				got := g.Run(t.Context())
				if got == nil || !strings.HasPrefix(got.Error(), "b: ") || err != nil && !errors.Is(got, err) {
					t.Errorf("got %v", got)
				}
				if !slices.Contains(o.s, "-a") {
					t.Error("a was not stopped")
				}
			})
		})
	}
}

func TestKeepStartsAgainEverLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		var g Group
		p := g.Keep("x", func(ctx context.Context) error {
			at = append(at, time.Since(begun))
			return errors.New("no")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var seen State
		var looked sync.WaitGroup
		looked.Go(func() { time.Sleep(100 * time.Second); seen = p.State() })
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		looked.Wait()
		if len(at) < 8 || len(at) > 16 {
			t.Errorf("%d tries in 2 min: %v", len(at), at)
		}
		if seen.Phase != Waiting || seen.Err == nil || seen.Tries < 5 {
			t.Errorf("state %+v", seen)
		}
	})
}

func TestKeepForgetsFailuresAfterAGoodRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var gaps []time.Duration
		ended := time.Now()
		var g Group
		g.Keep("x", func(ctx context.Context) error {
			gaps = append(gaps, time.Since(ended))
			n++
			time.Sleep(11 * time.Second)
			ended = time.Now()
			return errors.New("no")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		g.Run(ctx)
		for i, d := range gaps[1:] {
			if d > 500*time.Millisecond {
				t.Errorf("restart %d after %v", i, d)
			}
		}
	})
}

func TestParkedUntilPoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var g Group
		p := g.Keep("x", func(ctx context.Context) error {
			n++
			return fmt.Errorf("no licence: %w", ErrPermanent)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		time.AfterFunc(time.Minute, func() {
			if p.State().Phase != Parked || n != 1 {
				t.Errorf("%+v, %d runs", p.State(), n)
			}
			p.Poke()
		})
		g.Run(ctx)
		if n != 2 {
			t.Errorf("%d runs, want 2", n)
		}
	})
}

func TestPokeEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		g := Group{Backoff: Backoff{time.Hour, time.Hour}}
		p := g.Keep("x", func(ctx context.Context) error { n++; return errors.New("no") })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		time.AfterFunc(time.Second, p.Poke)
		g.Run(ctx)
		if n != 2 {
			t.Errorf("%d runs, want 2", n)
		}
	})
}
