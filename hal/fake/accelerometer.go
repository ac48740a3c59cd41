package fake

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// Accelerometers are a fake accelerometer, which plays a script. They implement
// hal.Accelerometers.
type Accelerometers struct {
	mu     sync.Mutex
	script []Tilt
	begun  time.Time
	noise  *rand.Rand
	fault  Fault
	last   media.Vector // that was measured
	fails  int
	gone   bool
	open   int
	reads  int
	info   hal.SensorInfo
}

// Tilt is a step of a script: how the box stands, and for how long.
type Tilt struct {
	For time.Duration // 0: from then on
	// From and To are degrees clockwise, as seen from behind the lens; it turns evenly from one
	// to the other.
	From, To float64
	Flat     float64      // degrees that the lens looks up
	G        float64      // how strong it is, in g; 0 is 1
	Noise    float64      // of each axis, in m/s², one standard deviation
	Just     media.Vector // if it is not zero: this is measured, whatever the angles are
}

// TestTilt is the accelerometer that has nothing to measure: a box that is turned by a quarter
// clockwise every five seconds.
func TestTilt() *Accelerometers {
	var s []Tilt
	for d := 0.; d < 360; d += 90 {
		s = append(s, Tilt{For: 4 * time.Second, From: d, To: d, Noise: .02}, Tilt{For: time.Second, From: d, To: d + 90, Noise: .02})
	}
	return NewAccelerometers(s...)
}

// NewAccelerometers makes one that plays a script, again and again, from its first opening on.
func NewAccelerometers(script ...Tilt) *Accelerometers {
	return &Accelerometers{script: script, noise: rand.New(rand.NewPCG(1, 2)),
		info: hal.SensorInfo{Device: hal.Device{ID: "test", Name: "Test tilt", Node: "fake:tilt", Port: "fake"}, Mount: media.Identity(), Step: .01}}
}

// Play plays another script, from now on.
func (a *Accelerometers) Play(script ...Tilt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.script, a.begun = script, time.Now()
}

// Set makes it fail in the given way (Busy, Denied, Frozen), or Healthy again.
func (a *Accelerometers) Set(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = f
}

// Fail lets the next n requests fail.
func (a *Accelerometers) Fail(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails = n
}

// Unplug takes it off its bus, or puts it back.
func (a *Accelerometers) Unplug(yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = yes
}

// Counts gives how many are open now, and how many requests there were.
func (a *Accelerometers) Counts() (open, requests int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open, a.reads
}

// List implements hal.Accelerometers.
func (a *Accelerometers) List(context.Context) ([]hal.Device, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return nil, nil
	}
	return []hal.Device{a.info.Device}, nil
}

// Open implements hal.Accelerometers.
func (a *Accelerometers) Open(context.Context, hal.SensorPlace) (hal.Accelerometer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.request(); err != nil {
		return nil, fmt.Errorf("open test tilt: %w", err)
	}
	if a.begun.IsZero() {
		a.begun = time.Now()
	}
	a.open++
	return &accelerometer{a: a}, nil
}

// request counts one and says how it goes. mu is held.
func (a *Accelerometers) request() error {
	a.reads++
	switch {
	case a.fault == Busy:
		return hal.ErrBusy
	case a.fault == Denied:
		return hal.ErrDenied
	case a.gone:
		return hal.ErrGone
	case a.fails > 0:
		a.fails--
		return fmt.Errorf("it was told to fail")
	}
	return nil
}

type accelerometer struct{ a *Accelerometers }

// Info implements hal.Accelerometer.
func (s *accelerometer) Info() hal.SensorInfo { return s.a.info }

// Read implements hal.Accelerometer. A Frozen one measures the same again and again.
func (s *accelerometer) Read(ctx context.Context) (media.Vector, error) {
	if err := ctx.Err(); err != nil {
		return media.Vector{}, err
	}
	a := s.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.request(); err != nil {
		return media.Vector{}, fmt.Errorf("read test tilt: %w", err)
	}
	if a.fault != Frozen || a.last == (media.Vector{}) {
		a.last = a.now()
	}
	return a.last, nil
}

// Close implements hal.Accelerometer.
func (s *accelerometer) Close() error {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.a.open--
	return nil
}

// now gives what there is to measure. mu is held.
func (a *Accelerometers) now() media.Vector {
	var sum time.Duration
	again := true
	for _, t := range a.script {
		sum += t.For
		again = again && t.For > 0
	}
	at := time.Since(a.begun)
	if again && sum > 0 {
		at %= sum
	}
	for _, t := range a.script {
		if t.For > 0 && at >= t.For {
			at -= t.For
			continue
		}
		part := 0.
		if t.For > 0 {
			part = float64(at) / float64(t.For)
		}
		return t.up(t.From+part*(t.To-t.From), a.noise)
	}
	return media.Vector{Y: media.Gravity}
}

// up gives the way up as a box measures it that is turned clockwise by so many degrees.
func (t *Tilt) up(degrees float64, noise *rand.Rand) media.Vector {
	if t.Just != (media.Vector{}) {
		return t.Just
	}
	g := media.Gravity
	if t.G != 0 {
		g *= t.G
	}
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	tip, level := math.Sincos(t.Flat * math.Pi / 180)
	n := func() float64 { return t.Noise * noise.NormFloat64() }
	return media.Vector{X: -sin*level*g + n(), Y: cos*level*g + n(), Z: -tip*g + n()}
}
