package rtc

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"anchord/internal/media"
)

// world is a room without a network: it can be killed, muted and made to refuse.
type world struct {
	mu     sync.Mutex
	dead   bool          // connections are refused, media stops
	mute   bool          // nothing comes back
	noICE  bool          // answers, but no media gets through
	refuse error         // what Publish says
	cannot bool          // restart ICE
	half   bool          // ICE restarts are not answered
	slow   time.Duration // of answers
	calls  []*worldCall
	ways   []*worldWay
	tries  []time.Time
	rooms  []string

	notices []string
	states  []string
	s       *Session
	demand  media.Demand
}

type worldCall struct {
	w      *world
	events chan Event
	ended  int
}

type worldWay struct {
	w      *world
	say    func(kind)
	closed int
	up     bool
	quiet  bool
}

func (w *world) Publish(ctx context.Context, offer string) (Call, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries = append(w.tries, time.Now())
	if d := w.slow; d > 0 || w.mute {
		if w.mute {
			d = time.Hour
		}
		w.mu.Unlock()
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		w.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	switch {
	case w.dead:
		return nil, fmt.Errorf("enter the room: %w", syscall.ECONNREFUSED)
	case w.refuse != nil:
		return nil, w.refuse
	}
	c := &worldCall{w: w, events: make(chan Event, 8)}
	w.calls = append(w.calls, c)
	return c, nil
}

func (c *worldCall) Answer() string                                   { return "v=0" }
func (c *worldCall) ICEServers() []ICEServer                          { return nil }
func (c *worldCall) Trickle(context.Context, []Candidate, bool) error { return nil }
func (c *worldCall) Events() <-chan Event                             { return c.events }
func (c *worldCall) Restart(context.Context, string) (string, error)  { return "", nil }
func (c *worldCall) Hangup(ctx context.Context) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.ended++
	close(c.events)
	return nil
}

func (y *worldWay) Offer(context.Context) (string, error) { return "offer", nil }
func (y *worldWay) Path() string                          { return "" }
func (y *worldWay) Answer(_ context.Context, c Call) error {
	y.w.mu.Lock()
	defer y.w.mu.Unlock()
	if y.up = !y.w.noICE; y.up {
		time.AfterFunc(50*time.Millisecond, func() { y.say(evHeard); y.say(evUp) })
	}
	return nil
}

func (y *worldWay) Restart(ctx context.Context, c Call) error {
	y.w.mu.Lock()
	defer y.w.mu.Unlock()
	switch {
	case y.w.dead:
		return syscall.ECONNREFUSED
	case y.w.cannot:
		return ErrNoRestart
	case y.w.half:
		return fmt.Errorf("%w: no answer", errHalfway)
	case y.w.mute:
		y.w.mu.Unlock()
		<-ctx.Done()
		y.w.mu.Lock()
		return ctx.Err()
	}
	y.quiet = false
	time.AfterFunc(50*time.Millisecond, func() { y.say(evHeard) })
	return nil
}

func (y *worldWay) Close() {
	y.w.mu.Lock()
	defer y.w.mu.Unlock()
	y.closed++
	y.up = false
}

// lose makes every connection quiet, as after quietAfter without a packet.
func (w *world) lose() {
	w.mu.Lock()
	ways := append([]*worldWay(nil), w.ways...)
	w.mu.Unlock()
	for _, y := range ways {
		y.w.mu.Lock()
		on := y.up && !y.quiet
		y.quiet = y.quiet || on
		y.w.mu.Unlock()
		if on {
			y.say(evQuiet)
		}
	}
}

// back makes quiet connections heard again.
func (w *world) back() {
	w.mu.Lock()
	ways := append([]*worldWay(nil), w.ways...)
	w.mu.Unlock()
	for _, y := range ways {
		y.w.mu.Lock()
		on := y.up && y.quiet
		y.quiet = y.quiet && !on
		y.w.mu.Unlock()
		if on {
			y.say(evHeard)
		}
	}
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func newWorld() *world {
	w := &world{}
	w.s = New(Config{
		Dial:   func(t Target) (Signaller, error) { w.set(func() { w.rooms = append(w.rooms, t.Room) }); return w, nil },
		Demand: &w.demand,
		OnEvent: func(n Notice) {
			w.set(func() { w.notices = append(w.notices, fmt.Sprintf("%s %d", n.Name, n.Result)) })
		},
		OnState: func(from, to State, why string) {
			w.set(func() { w.states = append(w.states, fmt.Sprintf("%s>%s", from, to)) })
			if why == "" {
				panic("a change of state without a reason")
			}
		},
	})
	w.s.open = func(_ []ICEServer, say func(kind)) (way, error) {
		y := &worldWay{w: w, say: say}
		w.set(func() { w.ways = append(w.ways, y) })
		return y, nil
	}
	return w
}

func room(id string) Target {
	return Target{Address: Address{Scheme: Embedded}, Room: id, User: "cart-7"}
}

// live runs the session in a bubble of time while f acts on it, and checks what is
// left behind.
func live(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := w.s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		f(t, w)
		cancel()
		wg.Wait()
		synctest.Wait()
		w.leftNothing(t)
	})
}

func (w *world) leftNothing(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range w.calls {
		if c.ended != 1 {
			t.Errorf("call %d of %d was hung up %d times", i, len(w.calls), c.ended)
		}
	}
	for i, y := range w.ways {
		if y.closed != 1 {
			t.Errorf("connection %d of %d was closed %d times", i, len(w.ways), y.closed)
		}
	}
	if st := w.demand.Wish(); st.Subscribed {
		t.Errorf("still wanted upstream: %+v", st)
	}
	if w.s.status.State != Idle {
		t.Errorf("state %s after Run", w.s.status.State)
	}
}

func (w *world) mustBe(t *testing.T, want State) {
	t.Helper()
	synctest.Wait()
	if got := w.s.State(); got != want {
		t.Fatalf("state %s, want %s (%v)", got, want, w.s.Stats().Err)
	}
}

func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.notices
	w.notices = nil
	return n
}

func (w *world) made() []*worldCall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*worldCall(nil), w.calls...)
}

func (w *world) way(i int) *worldWay {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ways[i]
}

func (w *world) tried() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Time(nil), w.tries...)
}

func (w *world) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.states...)
}

func (w *world) dialled() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.rooms...)
}
