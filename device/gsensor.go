package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// Modes of a G-sensor: TRTCGSensorMode's, in the words of a box that has no screen to follow
// (https://pub.dev/documentation/tencent_rtc_sdk/latest/trtc_cloud_def/TRTCGSensorMode.html).
const (
	// GSensorDisable never opens the sensor: the picture is turned by hand alone.
	GSensorDisable = "disable"
	// GSensorAuto turns by quarters, so that what viewers see is always upright.
	GSensorAuto = "auto"
	// GSensorFixed180 turns a box that hangs upside down, and nothing else: the picture keeps
	// its shape. On its side it stays as it was.
	GSensorFixed180 = "fixed180"
)

// GSensorModes lists the modes.
func GSensorModes() []string { return []string{GSensorDisable, GSensorAuto, GSensorFixed180} }

// GSensorSettings are what a user chooses.
type GSensorSettings struct {
	Mode   string
	Place  hal.SensorPlace
	Matrix media.Matrix // in place of the sensor's own mount matrix; zero: the sensor's
}

// GSensorConfig is what a GSensor needs.
type GSensorConfig struct {
	Log     *slog.Logger
	Sensors hal.Accelerometers
	// Turned is called, on Run's goroutine, when Adds has changed. It may be nil.
	Turned func()
	// Events and Health are told of turns and faults. They may be nil.
	Events *Events
	Health *Health
}

// GSensor follows which way up the box is, by its accelerometer. Its faults change nothing:
// the last turn stays.
type GSensor struct {
	c     GSensorConfig
	again chan struct{} // the settings have changed

	mu       sync.Mutex
	set      GSensorSettings
	info     hal.SensorInfo // of the one that is open, or was
	open     bool
	o        Orientation
	adds     media.Rotation
	fault    error
	reads    uint64
	failures uint64
	taps     map[chan media.Vector]struct{}
}

// GSensorStatus says how a GSensor stands.
type GSensorStatus struct {
	OrientationState
	Settings GSensorSettings
	Info     hal.SensorInfo // zero: none was opened since the settings changed
	Open     bool
	Adds     media.Rotation
	Fault    error // why the sensor is not believed; nil: it is, or is not asked
	// Reads counts measurements, Failures requests that failed.
	Reads, Failures uint64
}

// Times of a GSensor.
const (
	measureEvery = 100 * time.Millisecond
	// mostFailures is how many requests may fail in a row before the sensor is opened anew: a
	// line next to a motor loses one now and then.
	mostFailures = 5
)

// NewGSensor makes a GSensor; nothing is opened before Run, and not then if the mode is
// GSensorDisable.
func NewGSensor(c GSensorConfig, s GSensorSettings) *GSensor {
	return &GSensor{c: c, set: s, again: make(chan struct{}, 1), taps: map[chan media.Vector]struct{}{}}
}

// Adds gives by how much the sensor wants the picture turned clockwise, besides what is turned
// by hand: nothing in GSensorDisable, from the moment that Set says so.
func (g *GSensor) Adds() media.Rotation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.adds
}

// Status gives how it stands now.
func (g *GSensor) Status() GSensorStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return GSensorStatus{OrientationState: g.o.State(), Settings: g.set, Info: g.info, Open: g.open, Adds: g.adds,
		Fault: g.fault, Reads: g.reads, Failures: g.failures}
}

// Set changes the settings.
func (g *GSensor) Set(s GSensorSettings) {
	g.mu.Lock()
	old := g.set
	g.set = s
	if s.Mode == GSensorDisable {
		g.adds, g.fault, g.o = media.Rotate0, nil, Orientation{}
	} else {
		if s.Place != old.Place {
			g.fault, g.info = nil, hal.SensorInfo{}
		}
		if s.Place != old.Place || s.Matrix != old.Matrix {
			g.o = Orientation{} // what it added stays until it knows better
		}
		g.follow()
	}
	g.mu.Unlock()
	select {
	case g.again <- struct{}{}:
	default:
	}
}

// follow lets adds follow the turn that was found. mu is held.
func (g *GSensor) follow() (changed bool) {
	s := g.o.State()
	sideways := s.Turn == media.Rotate90 || s.Turn == media.Rotate270
	to := s.Turn
	switch {
	case g.set.Mode == GSensorDisable:
		to = media.Rotate0
	case g.set.Mode == GSensorFixed180 && (sideways || !s.Known):
		to = g.adds
		if to == media.Rotate90 || to == media.Rotate270 { // the mode was another
			to = media.Rotate0
		}
	case !s.Known:
		to = g.adds
	}
	changed = to != g.adds
	g.adds = to
	return changed
}

// Run measures while the mode wants it, until the sensor fails or ctx ends.
func (g *GSensor) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-g.again: // what follows sees it
		default:
		}
		g.mu.Lock()
		set := g.set
		g.mu.Unlock()
		if set.Mode == GSensorDisable {
			g.failed(nil)
			select {
			case <-g.again:
			case <-ctx.Done():
			}
			continue
		}
		err := g.use(ctx, set)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			g.failed(err)
			return err
		}
	}
	return ctx.Err()
}

// failed notes why the sensor is not believed, or that nothing is wrong with it, and tells.
func (g *GSensor) failed(err error) {
	g.mu.Lock()
	if err != nil && g.set.Mode == GSensorDisable {
		err = nil // it is not wanted any more
	}
	g.fault = err
	g.mu.Unlock()
	if g.c.Health == nil {
		return
	}
	if err == nil {
		g.c.Health.Report("gsensor")
		return
	}
	g.c.Health.Report("gsensor", gsensorFact(err))
}

func gsensorFact(err error) Fact {
	f := Fact{Slug: GSensorFailed, Cause: err.Error()}
	for _, s := range []struct {
		is   error
		slug string
	}{{hal.ErrStuck, GSensorStuck}, {hal.ErrBusy, GSensorBusy}, {hal.ErrDenied, GSensorDenied}, {hal.ErrUnsupported, GSensorWrong}, {hal.ErrGone, GSensorNone}} {
		if errors.Is(err, s.is) {
			f.Slug = s.slug
			break
		}
	}
	return f
}

// use measures until the settings want something else, which is nil, or an error.
func (g *GSensor) use(ctx context.Context, set GSensorSettings) (err error) {
	a, err := g.c.Sensors.Open(ctx, set.Place)
	if err != nil {
		return err
	}
	info := a.Info()
	g.c.Log.Info("G-sensor measures", "sensor", info.ID, "name", info.Name, "at", info.Port)
	g.noteOpen(info, true)
	defer func() {
		g.noteOpen(info, false)
		err = errors.Join(err, a.Close())
	}()
	begun := time.Now()
	every := time.NewTicker(measureEvery)
	defer every.Stop()
	for failures := 0; ; {
		select {
		case <-every.C:
		case <-g.again:
			g.mu.Lock()
			now := g.set
			g.mu.Unlock()
			if now.Mode == GSensorDisable || now.Place != set.Place {
				return nil
			}
			continue
		case <-ctx.Done():
			return nil
		}
		v, err := a.Read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			g.mu.Lock()
			g.failures++
			g.mu.Unlock()
			if failures++; failures >= mostFailures || errors.Is(err, hal.ErrStuck) {
				return fmt.Errorf("%d failures in a row: %w", failures, err)
			}
			continue
		}
		failures = 0
		if g.took(v, info, time.Now()) == Stuck && time.Since(begun) >= sameLong {
			return fmt.Errorf("%w: accelerometer %s measures %v for more than %v, without any noise", hal.ErrStuck, info.ID, v, sameLong)
		}
	}
}

func (g *GSensor) noteOpen(info hal.SensorInfo, open bool) {
	g.mu.Lock()
	g.info, g.open = info, open
	g.mu.Unlock()
}

// took takes a measurement along the chip's axes.
func (g *GSensor) took(v media.Vector, info hal.SensorInfo, now time.Time) Posture {
	g.mu.Lock()
	g.reads++
	for tap := range g.taps {
		select {
		case tap <- v:
		default: // it has all that it wants, or is late
		}
	}
	if g.set.Mode == GSensorDisable { // said while it was measured
		g.mu.Unlock()
		return Unknown
	}
	g.o.Measure(now, g.matrix(info).Apply(v), info.Step)
	turned := g.follow()
	s, adds := g.o.State(), g.adds
	// A fault is over once a measurement could be used, not before.
	well := g.fault != nil && s.Posture != Stuck && s.Posture != Moving
	g.mu.Unlock()
	if well {
		g.failed(nil)
	}
	if turned {
		g.c.Log.Info("the box stands on another side", "angle", math.Round(s.Angle), "picture", int(adds))
		if g.c.Events != nil {
			g.c.Events.Publish(GSensorEvent, Detail{"adds", int(adds)}, Detail{"angle", int(math.Round(s.Angle)) % 360})
		}
		if g.c.Turned != nil {
			g.c.Turned()
		}
	}
	return s.Posture
}

// matrix gives the one that holds. mu is held.
func (g *GSensor) matrix(info hal.SensorInfo) media.Matrix {
	if g.set.Matrix.Zero() {
		return info.Mount
	}
	return g.set.Matrix
}

// Watch calls f with each measurement, along the chip's axes, until f says no or ctx ends.
func (g *GSensor) Watch(ctx context.Context, f func(at time.Duration, v media.Vector) bool) error {
	tap := make(chan media.Vector, 8)
	g.mu.Lock()
	if g.set.Mode == GSensorDisable {
		g.mu.Unlock()
		return ErrGSensorOff
	}
	g.taps[tap] = struct{}{}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.taps, tap)
		g.mu.Unlock()
	}()
	begun := time.Now()
	for {
		silence := time.NewTimer(2 * mostFailures * measureEvery)
		select {
		case v := <-tap:
			silence.Stop()
			if !f(time.Since(begun), v) {
				return nil
			}
		case <-silence.C:
			if err := g.Status().Fault; err != nil {
				return fmt.Errorf("the G-sensor gives nothing: %w", err)
			}
			return fmt.Errorf("the G-sensor gives nothing: %w", hal.ErrStuck)
		case <-ctx.Done():
			silence.Stop()
			return ctx.Err()
		}
	}
}

// RecordHead is the line above the numbers of a recording.
const RecordHead = "seconds,x,y,z"

// Record writes what is measured for so long, a line each, along the chip's axes, in m/s²:
// what a board's sensor did can be played in a test.
func (g *GSensor) Record(ctx context.Context, long time.Duration, w io.Writer) error {
	begun := false
	var failed error
	err := g.Watch(ctx, func(at time.Duration, v media.Vector) bool {
		if !begun {
			begun = true
			g.mu.Lock()
			info, m := g.info, g.matrix(g.info)
			g.mu.Unlock()
			_, failed = fmt.Fprintf(w, "# %s, %s, step %.4g m/s², matrix %v\n%s\n", info.ID, info.Name, info.Step, m, RecordHead)
		}
		if failed == nil {
			_, failed = fmt.Fprintf(w, "%.3f,%.4f,%.4f,%.4f\n", at.Seconds(), v.X, v.Y, v.Z)
		}
		return failed == nil && at < long
	})
	return errors.Join(err, failed)
}

// ErrGSensorOff says that the mode is GSensorDisable, in which nothing is measured.
var ErrGSensorOff = errors.New("the G-sensor is off, and not asked")
