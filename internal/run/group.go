package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// ErrPermanent is wrapped by a part that cannot work until somebody changes something:
// it is parked and not tried again before it is poked.
var ErrPermanent = errors.New("will not mend by itself")

// Phase is how a part stands with its supervisor.
type Phase string

// The phases.
const (
	Idle    Phase = "idle"    // the group does not run
	Running Phase = "running" // Run was called and has not returned
	Waiting Phase = "waiting" // it failed and is started again after a while
	Parked  Phase = "parked"  // it failed with ErrPermanent
)

// State is one part's state.
type State struct {
	Name  string
	Phase Phase
	Since time.Time
	Tries int   // failures in a row
	Err   error // the last failure; nil while all is well
}

// Group runs parts: started in the order in which they were added, stopped in reverse,
// one by one, so that each part finds those that it stands on. The zero Group is
// ready; add parts before Run.
type Group struct {
	Log *slog.Logger // nil: silent
	// Backoff is for the parts that are kept; zero: 0.5 s to 30 s.
	Backoff Backoff
	// Settled is how long a part must have run for its failures to be forgotten; zero: 10 s.
	Settled time.Duration
	// Patience is how long a part may take to end when it is told to; zero: 15 s. One that hangs
	// in a driver keeps the others from ending no longer than that.
	Patience time.Duration

	parts []*Part
}

// Part is one supervised part.
type Part struct {
	name string
	run  func(context.Context) error
	keep bool
	poke chan struct{}

	mu    sync.Mutex
	state State
}

// Must adds a part whose end, with or without an error, ends the group.
func (g *Group) Must(name string, run func(context.Context) error) *Part {
	return g.add(name, run, false)
}

// Keep adds a part that is started again whenever it returns, ever later and with
// jitter.
func (g *Group) Keep(name string, run func(context.Context) error) *Part {
	return g.add(name, run, true)
}

func (g *Group) add(name string, run func(context.Context) error, keep bool) *Part {
	p := &Part{name: name, run: run, keep: keep, poke: make(chan struct{}, 1)}
	p.state = State{Name: name, Phase: Idle}
	g.parts = append(g.parts, p)
	return p
}

// Poke ends the part's wait: something changed, so try now. It does nothing to a part
// that runs.
func (p *Part) Poke() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// State gives the part's state.
func (p *Part) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// States gives the state of each part, in their order.
func (g *Group) States() []State {
	s := make([]State, len(g.parts))
	for i, p := range g.parts {
		s[i] = p.State()
	}
	return s
}

// Run starts all parts, waits for ctx or for a Must part to end, and stops all. It
// returns after the last part is home: nil when ctx ended it, else the error of the
// part that ended it. A part that does not come home is left behind, and is an error too: all
// that is left to do then is to end the process.
func (g *Group) Run(ctx context.Context) error {
	if g.Log == nil {
		g.Log = slog.New(slog.DiscardHandler)
	}
	if g.Backoff == (Backoff{}) {
		g.Backoff = Backoff{500 * time.Millisecond, 30 * time.Second}
	}
	if g.Settled == 0 {
		g.Settled = 10 * time.Second
	}
	if g.Patience == 0 {
		g.Patience = 15 * time.Second
	}
	// Parts do not see ctx itself: they would all stop at once, in no order.
	uctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	failed := make(chan error, len(g.parts))
	var wg sync.WaitGroup
	stops := make([]func() error, 0, len(g.parts))
	for _, p := range g.parts {
		pctx, stop := context.WithCancel(uctx)
		done := make(chan struct{})
		stops = append(stops, func() error { stop(); return g.await(p, done) })
		wg.Go(func() {
			defer close(done)
			if err := g.life(pctx, p); err != nil {
				failed <- err
			}
			p.set(Idle, nil, 0)
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	var left error
	for _, stop := range slices.Backward(stops) {
		left = errors.Join(left, stop())
	}
	if left != nil {
		return errors.Join(err, left)
	}
	wg.Wait()
	return err
}

// await waits for a part that was told to end.
func (g *Group) await(p *Part, done <-chan struct{}) error {
	t := time.NewTimer(g.Patience)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		return fmt.Errorf("%s: did not end within %v and is left behind: does its device hang? (dmesg)", p.name, g.Patience)
	}
}

// life runs one part until its context ends; its error is one that ends the group.
func (g *Group) life(ctx context.Context, p *Part) error {
	tries := 0
	for ctx.Err() == nil {
		p.set(Running, p.State().Err, tries)
		begun := time.Now()
		err := p.run(ctx)
		if ctx.Err() != nil {
			return nil // it was told to end; what it says now matters to nobody
		}
		if !p.keep {
			if err == nil {
				err = errors.New("ended by itself")
			}
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if time.Since(begun) >= g.Settled {
			tries = 0
		}
		tries++
		if errors.Is(err, ErrPermanent) {
			p.set(Parked, err, tries)
			g.Log.Warn("parked until something changes", "part", p.name, "err", err)
			select {
			case <-p.poke:
				tries = 0
			case <-ctx.Done():
			}
			continue
		}
		d := g.Backoff.Delay(tries)
		p.set(Waiting, err, tries)
		g.Log.Debug("ended, will be started again", "part", p.name, "err", err, "in", d)
		_ = Sleep(ctx, d, p.poke) // the loop's condition sees the context
	}
	return nil
}

func (p *Part) set(ph Phase, err error, tries int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Phase != ph {
		p.state.Since = time.Now()
	}
	p.state.Phase, p.state.Err, p.state.Tries = ph, err, tries
}
